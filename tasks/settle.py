"""Settling what computes new champions, once a fine-tuning on files of one's own has promoted them (tasks.backends)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from data_contracts.labelled import read_labelled
from tasks.backends import TEXTS, BackendConfig, head_of, settle_backends
from tasks.step import step

logger = logging.getLogger(__name__)


@step("try backends")
def settle_champions(
    bundles: Sequence[Path], config: BackendConfig, *, train: Mapping[str, Sequence[str]], token_budget: int
) -> str:
    """Settle what computes new champions on the dev files that chose them (`config.labelled`), which say more than the shipped ones.

    Eight bits are calibrated on texts of their training files. Returns and raises as `settle_backends` does.
    """
    from models.batching import drawn
    from models.bundle import load

    read = [
        head_of(bundle, task).text(example)
        for bundle in map(load, bundles)
        for task in bundle.heads
        for path in train.get(task, ())
        for example in read_labelled(Path(path), task).examples
    ]
    if not read:
        logger.info(
            "no text of the training files is read as one of a head, so what computes the models is settled by a night"
        )
        return ""
    return settle_backends(bundles, config, texts=drawn(read, TEXTS), token_budget=token_budget)

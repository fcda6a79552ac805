"""Settling, before a night or a file is scored, on which backend each model runs: models.backends.auto with what it has to be given.

Labelled examples come from files, those that a model has learnt left out where others are left: before a night the shipped ones, after a fine-tuning
on files of one's own their dev part. Real texts are those about to be scored, or of the training files. What was settled lies beside the model, so a
second night only looks it up. A first trial takes a good part of a minute: with less than WORTH characters to score, "auto" leaves it for a larger
night and takes float32 PyTorch, as it does where it has nothing to hold a backend against; the log says so.
On a cluster of other machines each looks up what was settled on a machine like itself; unknown ones take float32 PyTorch.

Not covered: tables, and what the backend then does (models.engine).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from data_contracts.labelled import Example, read_labelled

if TYPE_CHECKING:
    from models.backends.auto import Choice
    from models.bundle import Bundle
    from models.heads import Head

logger = logging.getLogger(__name__)

TEXTS = 256  # that a trial reads besides labelled examples
WORTH = 1_000_000  # characters, some 250,000 tokens: one to two minutes of float32 PyTorch on two cores

BackendName = Literal["auto", "torch", "torch-bf16", "torch-compile", "onnx", "onnx-int8", "openvino", "openvino-int8"]


@dataclass(frozen=True, kw_only=True)
class BackendConfig:
    """What computes the models: "auto" or one of models.backends.NAMES, and what it is held against.

    `labelled` are files of labelled examples by task, `cache` is a directory for exports where none can be written beside a bundle.
    """

    name: str = "torch"
    labelled: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    cache: Path | None = None


FLOAT32 = BackendConfig()


def settle_backends(
    bundles: Sequence[Path | str],
    config: BackendConfig,
    *,
    texts: Sequence[str],
    rows: int | None = None,
    token_budget: int,
) -> str:
    """Make sure that the backend named may serve these bundles here, or with "auto" that the fastest that may is known.

    Returns what computes them on a machine like this one: a backend's name, or where they differ one a trunk, joined by "+".

    Args:
        bundles: directories of the models; those that share a trunk are settled as one.
        config: the backend, and what it is held against.
        texts: real ones, to time, to compare and to calibrate eight bits on.
        rows: how many texts are about to be scored, of which `texts` are a sample; None where a trial is worth its time in any case.
        token_budget: of a batch, in tokens with their padding.

    Raises:
        BackendRefused: the backend wanted by name may not serve; the text has its figures, or what is missing.
    """
    from models.backends import AUTO, REFERENCE, BackendRefused
    from models.backends.agreement import CheckSet
    from models.backends.auto import remembered, settle
    from models.bundle import load
    from models.sharing import together

    if config.name == REFERENCE:
        return REFERENCE
    settled = []
    characters = WORTH if rows is None else rows * sum(map(len, texts)) // max(1, len(texts))
    for bundle in together([load(path) for path in bundles]):
        if config.name == AUTO and characters < WORTH and remembered(bundle, cache=config.cache) is None:
            logger.info(
                "%s is scored by %s: no backend has been tried, which pays from %d characters on, and these are %d",
                bundle.path,
                REFERENCE,
                WORTH,
                characters,
            )
            settled.append(REFERENCE)
            continue
        examples = {task: unlearnt(bundle, task, config.labelled.get(task, ())) for task in bundle.heads}
        check = CheckSet(examples=examples, texts=texts)
        try:
            choice = settle(bundle, check, wanted=config.name, token_budget=token_budget, cache=config.cache)
        except BackendRefused as refused:
            if config.name != AUTO:
                raise
            logger.warning("%s is scored by %s: %s", bundle.path, REFERENCE, refused)
            settled.append(REFERENCE)
        else:
            _tell(bundle, choice)
            settled.append(choice.backend)
    return "+".join(settled if len(set(settled)) > 1 else settled[:1])


def unlearnt(bundle: Bundle, task: str, paths: Sequence[Path]) -> Sequence[Example]:
    """A task's labelled examples in some files, without those that the bundle has learnt where there are others."""
    from models.contamination import part

    given = [example for path in paths for example in read_labelled(path, task).examples]
    head = head_of(bundle, task)
    fresh = part([head.text(example) for example in given], bundle.learnt()).fresh
    return [given[place] for place in fresh] or given


def head_of(bundle: Bundle, task: str) -> Head:
    """A head of the bundle's kind, to read its examples with."""
    from models.heads import head_class

    return head_class(task)(1, bundle.manifest.head_options())


def _tell(bundle: Bundle, choice: Choice) -> None:
    trial = choice.trial(choice.backend)
    held = trial.agreement.sentence() if trial is not None and trial.agreement is not None else "the reference itself"
    logger.info("%s (%s) is scored by %s: %s", bundle.path, ", ".join(bundle.heads), choice.backend, held)

"""A model measured on labelled files: the figures that the gate compares and that the report of a fine-tuning shows.

A candidate and the champion are measured on the same examples in the same run, never by figures remembered from other data. What the
figures mean is said in `models.metrics`. Not covered: significance of a difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from models.evaluation import Evaluation
from models.evaluation import evaluate as measure
from tasks.step import step
from tasks.train import MAX_REJECTED_SHARE, read_part


@step("evaluate")
def evaluate(
    bundle: str, *, task: str, dev: Sequence[str], storage: str, max_rejected_share: float = MAX_REJECTED_SHARE
) -> Evaluation:
    """The figures of a bundle for one task on labelled files; lines that are no example are left out as in training."""
    read = read_part(dev, task, rejects=Path(storage) / "rejected", max_rejected_share=max_rejected_share)
    return measure(bundle, task, read.examples)

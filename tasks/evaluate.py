"""A model measured on labelled files: the figures that the gate compares and that the report of a fine-tuning shows.

A candidate and the champion are measured on the same examples in the same run, never by figures remembered from other data; what either of
them has learnt from is left out for both, and counted. The figures are kept beside the bundle, outside of the files that its digest covers:
`evaluations/<task>-<data hash>/` holds evaluation.json and the page evaluation.html. What they mean is said in `models.metrics`. Not covered:
significance of a difference.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data_contracts.labelled import Example
from models.bundle import load, replace_directory
from models.contamination import LearntTexts
from models.evaluation import Evaluation, unlearnt
from models.evaluation import evaluate as measure
from tasks.report.evaluation import render_evaluation
from tasks.step import step
from tasks.train import MAX_REJECTED_SHARE, read_part

logger = logging.getLogger(__name__)

FOLDER, PAGE, FIGURES = "evaluations", "evaluation.html", "evaluation.json"


@dataclass(frozen=True, kw_only=True)
class Fresh:
    """Examples that no model in question has learnt, and how many were left out."""

    examples: tuple[Example, ...]
    left_out: int


@step("evaluate")
def evaluate(
    bundle: str,
    *,
    task: str,
    dev: Sequence[str],
    storage: str,
    beside: Sequence[str] = (),
    max_rejected_share: float = MAX_REJECTED_SHARE,
) -> Evaluation:
    """The figures of a bundle for one task on labelled files; lines that are no example are left out as in training.

    Args:
        bundle: the model's directory.
        task: what it is measured for.
        dev: labelled files.
        storage: where rejected lines are kept.
        beside: bundles that it is compared with; what any of them has learnt is left out.
        max_rejected_share: of a file's lines, 0 to 1.

    Raises:
        LearntTexts: every example was learnt by one of the models.
    """
    read = read_part(dev, task, rejects=Path(storage) / "rejected", max_rejected_share=max_rejected_share)
    fresh = without_learnt(read.examples, task, (bundle, *beside))
    figures = replace(measure(bundle, task, fresh.examples), left_out=fresh.left_out)
    keep(figures, Path(bundle))
    return figures


def without_learnt(examples: Sequence[Example], task: str, bundles: Sequence[str]) -> Fresh:
    """The examples whose texts none of some bundles was trained on.

    Raises:
        LearntTexts: no example is left.
    """
    learnt = {place for bundle in bundles for place in unlearnt(bundle, task, examples).learnt}
    if len(learnt) == len(examples):
        raise LearntTexts(
            f"each of the {len(examples)} {task} examples is among those that {' or '.join(bundles)} was trained on; "
            "give a file of others to measure on"
        )
    if learnt:
        logger.warning("%d of %d %s examples were trained on; left out", len(learnt), len(examples), task)
    fresh = tuple(example for place, example in enumerate(examples) if place not in learnt)
    return Fresh(examples=fresh, left_out=len(learnt))


def folder_of(figures: Evaluation, bundle: Path) -> Path:
    """Where an evaluation lies beside its bundle."""
    given = "-given" if figures.given_entities else ""
    return bundle / FOLDER / f"{figures.task}{given}-{figures.data_hash}"


def keep(figures: Evaluation, bundle: Path) -> Path | None:
    """Write the figures and their page beside the bundle; None, and a line in the log, where that cannot be written to."""
    target = folder_of(figures, bundle)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        draft.mkdir(parents=True, exist_ok=True)
        (draft / FIGURES).write_text(figures.to_json() + "\n", encoding="utf-8")
        (draft / PAGE).write_text(render_evaluation(figures, load(bundle)), encoding="utf-8")
        replace_directory(target, draft)
    except OSError as error:
        logger.warning("the evaluation is not kept beside %s: %s", bundle, error)
        return None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target

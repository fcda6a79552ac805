"""The page of one evaluation: figures with their intervals, classes, confusion, reliability, behaviour and where it all comes from.

One HTML file without script or outside asset, so that it opens from a disk, an attachment or MLflow's artifacts. Text from the data stands on
it only where a behavioural case failed, and those texts are our own. Not covered: two models side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from models.bundle import Bundle
from models.confusion import Confusion
from models.figures import Evaluation
from tasks.report.evaluation_charts import label_scores, reliability_diagram

TEMPLATE = Path(__file__).with_name("evaluation.html.j2")
KINDS = {"MFT": "what the answer must not be", "INV": "the answer must not change", "DIR": "which way it must move"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure as the page shows it."""

    name: str
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of the confusion matrix; `share` of its row, in [0, 1]."""

    count: int
    share: float
    right: bool


def render_evaluation(figures: Evaluation, bundle: Bundle) -> str:
    """The page as HTML."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    charts = {}
    if any(one.count for one in figures.reliability):
        charts["reliability"] = reliability_diagram(figures.reliability)
    if figures.labels:
        charts["labels"] = label_scores(figures.labels, figures.intervals)
    return template.render(
        figures=figures,
        rows=_rows(figures),
        confusion=[] if figures.confusion is None else _cells(figures.confusion),
        labels=() if figures.confusion is None else figures.confusion.labels,
        charts=charts,
        kinds=KINDS,
        provenance=_provenance(bundle, figures.task),
        recipe=dict(bundle.manifest.recipe),
    )


def _rows(figures: Evaluation) -> list[Row]:
    known = {
        "accuracy": figures.accuracy,
        figures.headline: figures.f1,
        "precision": figures.precision,
        "recall": figures.recall,
        "ece": figures.ece,
        **figures.more,
    }
    if figures.ece_before is not None:
        known["ece_before"] = figures.ece_before
    found = []
    for name, value in known.items():
        interval = figures.intervals.get(name)
        low, high = (None, None) if interval is None else (interval.low, interval.high)
        found.append(Row(name=name, value=value, low=low, high=high))
    return found


def _cells(matrix: Confusion) -> list[tuple[str, list[Cell]]]:
    found = []
    for place, (label, counts) in enumerate(zip(matrix.labels, matrix.counts, strict=True)):
        total = max(sum(counts), 1)
        cells = [Cell(count=n, share=n / total, right=column == place) for column, n in enumerate(counts)]
        found.append((label, cells))
    return found


def _provenance(bundle: Bundle, task: str) -> Mapping[str, Any]:
    manifest = bundle.manifest
    known = {
        "model": bundle.digest,
        "trunk": manifest.trunk,
        "made": manifest.created,
        "trained on": f"{manifest.examples.get(task, 0):,} examples of this task",
        "temperature": f"{manifest.temperatures[task]:.3f}",
        "reads": f"{manifest.reading}, windows of {manifest.max_length} tokens overlapping by {manifest.overlap}",
        "distilled from": ", ".join(manifest.teachers),
        "packages": ", ".join(f"{name} {version}" for name, version in manifest.packages.items()),
    }
    return {name: value for name, value in known.items() if value}

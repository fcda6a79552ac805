"""Evaluate a model on a labelled file, outside the flows. The file is held to the contract that training holds its files to.

The figures are kept beside the model and, where the registry has it, among its artifacts in MLflow. Texts that the model was trained on are never
measured unless that is insisted on: the few that public parts share are left out and counted, and a file of which they are more than
a quarter is refused with their lines, since it is then no test of that model.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from data_contracts.errors import Fatal
from flows.settings import Settings
from flows.showing import plain, show, tell
from tasks.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from data_contracts.labelled import Example
    from models.bundle import Bundle
    from models.evaluation import Evaluation

MAX_SEEN_SHARE = 0.25  # of a file's texts; with more of them learnt it is no test


def evaluate_file(
    task: str,
    data: Path,
    model: str,
    settings: Settings,
    *,
    given_entities: bool = False,
    exclude_seen: bool = False,
    allow_overlap: bool = False,
    page: Path | None = None,
) -> dict[str, Any]:
    """Evaluate on a labelled file; the mapping is what `nightdesk evaluate --json` prints.

    Raises:
        LearntTexts: the model was trained on more than a quarter of the texts, and neither `exclude_seen` nor `allow_overlap` is set.
        Fatal: no row of the file can be used, or there is no such model.
    """
    from models.bundle import load
    from tasks.evaluate import keep
    from tasks.report.evaluation import render_evaluation

    examples, places, rejected = _read(task, data)
    registry = Registry(settings.mlflow_uri, settings.home / "bundles")
    bundle = load(registry.resolve(f"{task}/champion" if model == "champion" else model))
    figures = _measured(bundle, task, examples, places, given_entities, exclude_seen, allow_overlap)
    folder = keep(figures, bundle.path)
    if folder is not None:
        registry.attach(task, bundle.digest, folder)
    if page is not None:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(render_evaluation(figures, bundle), encoding="utf-8")
        tell(f"the page is {page}")
    found: dict[str, Any] = json.loads(figures.to_json())
    return found | {"model_digest": bundle.digest, "rejected": rejected}


def _read(task: str, data: Path) -> tuple[list[Example], list[str], int]:
    """The examples of a file, the line each stands in, and how many lines were left out."""
    from data_contracts.labelled import read_labelled
    from tasks.train import held_to_contract

    labelled = read_labelled(data, task)
    lines = {id(example): line for example, line in zip(labelled.examples, labelled.lines, strict=True)}
    examples, rejected = held_to_contract(labelled)
    for row in rejected:
        tell(f"{data}:{row.line}: left out: {row.reason}")
    if not examples:
        raise Fatal(f"{data} holds no usable {task} example; {len(rejected)} rows were left out")
    return examples, [f"line {lines[id(example)]}" for example in examples], len(rejected)


def _measured(
    bundle: Bundle,
    task: str,
    examples: Sequence[Example],
    places: Sequence[str],
    given_entities: bool,
    exclude_seen: bool,
    allow_overlap: bool,
) -> Evaluation:
    """The figures, without the texts that the model has learnt where that is asked for."""
    from models.evaluation import evaluate, unlearnt
    from tasks.evaluate import without_learnt

    left_out = 0
    seen = len(unlearnt(bundle.path, task, examples).learnt)
    leave_out = seen > 0 and (exclude_seen or (not allow_overlap and seen <= MAX_SEEN_SHARE * len(examples)))
    if leave_out:
        fresh = without_learnt(examples, task, [str(bundle.path)])
        examples, left_out = fresh.examples, fresh.left_out
        tell(f"{left_out} examples left out, since the model was trained on their texts; {len(examples)} are measured")
    figures = evaluate(
        bundle.path,
        task,
        examples,
        allow_overlap=allow_overlap,
        given_entities=given_entities,
        places=None if leave_out else places,
    )
    return replace(figures, left_out=left_out)


def show_figures(figures: Mapping[str, Any]) -> None:
    """The figures as a table for people, with their intervals and the behavioural tests."""
    table = Table("metric", "value", "95% interval")
    for name, value in figures.items():
        if isinstance(value, str | int | float):
            known = figures["intervals"].get(name)
            shown = f"{known['low']:.4f} to {known['high']:.4f}" if known else ""
            table.add_row(*plain(name, f"{value:.4f}" if isinstance(value, float) else value, shown))
    for label in figures["labels"]:
        known = figures["intervals"].get(f"f1_{label['label']}")
        shown = f"{known['low']:.4f} to {known['high']:.4f}" if known else ""
        table.add_row(*plain(f"F1 of {label['label']} ({label['support']})", f"{label['f1']:.4f}", shown))
    for test in figures["behaviour"]:
        table.add_row(*plain(f"{test['test']} ({test['kind']})", f"{test['passed']} of {test['total']}", ""))
    show(table)

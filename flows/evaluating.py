"""Evaluate a model on a labelled file, outside the flows. The file is held to the contract that training holds its files to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.table import Table

from data_contracts.errors import Fatal
from flows.settings import Settings
from flows.showing import plain, show, tell
from tasks.registry import Registry


def evaluate_file(task: str, data: Path, model: str, settings: Settings) -> dict[str, Any]:
    """Evaluate on a labelled file; the mapping is what `nightdesk evaluate --json` prints.

    Raises:
        Fatal: no row of the file can be used, or there is no such model.
    """
    from data_contracts.labelled import read_labelled
    from models.bundle import load
    from models.evaluation import evaluate
    from tasks.train import held_to_contract

    examples, rejected = held_to_contract(read_labelled(data, task))
    for row in rejected:
        tell(f"{data}:{row.line}: left out: {row.reason}")
    if not examples:
        raise Fatal(f"{data} holds no usable {task} example; {len(rejected)} rows were left out")
    registry = Registry(settings.mlflow_uri, settings.home / "bundles")
    bundle = load(registry.resolve(f"{task}/champion" if model == "champion" else model))
    figures: dict[str, Any] = json.loads(evaluate(bundle.path, task, examples).to_json())
    return figures | {"model_digest": bundle.digest, "rejected": len(rejected)}


def show_figures(figures: dict[str, Any]) -> None:
    """The figures as a table for people."""
    table = Table("metric", "value")
    for name, value in figures.items():
        table.add_row(*plain(name, f"{value:.4f}" if isinstance(value, float) else value))
    show(table)

"""Measure an installation from the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from flows.commands.options import SettingsOption
from flows.settings import load
from flows.showing import plain, show, tell

if TYPE_CHECKING:
    from flows.benching import Benched
    from models.backends.auto import Trial

EXAMPLES = "Example:  nightdesk bench    nightdesk bench --backend openvino-int8 --json"


def bench(
    model: Annotated[
        str | None,
        typer.Option(
            help="champion, sentiment/3, or a bundle's directory; several with commas. Default: the settings'."
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(help="auto, torch, torch-bf16, openvino, openvino-int8, onnx, ...; else what the settings say."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as one JSON object on standard output.")] = False,
    settings: SettingsOption = None,
) -> None:
    """Measure how fast this machine scores, and say what limits it and which setting to change.

    Reads the shipped sample's sentences with the desk's own models.
    A minute on a quiet machine, and another one the first time, when every backend is tried on them.
    What nights are scored by stays as it is: copies are measured, which lie in the home's bench/.
    """
    from flows.benching import bench as measured

    found = measured(load(settings), model=model, backend=backend)
    typer.echo(json.dumps(found.fields())) if as_json else show_benched(found)


MEASURED = {
    "headlines": ("headlines, from Parquet to Parquet", "transformers' pipeline, same weights"),
    "engine": ("the engine, from table to tables", "its backend alone, on prepared batches"),
    "memory": ("the largest memory", "a tenth of the headlines"),
}


def show_benched(found: Benched) -> None:
    """Three tables: how fast, what could compute it, and what limits it."""
    from benchmarks.figure import number

    speeds = Table("how fast", "here", "against", "", "ratio")
    for one in found.figures:
        what, against = MEASURED[one.name]
        peer = "" if one.peer is None else f"{number(one.peer)} {one.unit}"
        ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
        speeds.add_row(*plain(what, f"{number(one.ours)} {one.unit}", against, peer, ratio))
    show(speeds)
    tried = Table("backend", "tokens/s", "answers as float32 does")
    for trial in sorted(found.trials, key=lambda trial: -trial.tokens_per_second):
        tried.add_row(*plain(trial.backend, number(trial.tokens_per_second), _agrees(trial)))
    show(tried)
    limits = Table("what limits it", "found", "what to change")
    for limit in found.limits:
        limits.add_row(*plain(limit.what, limit.found, limit.change))
    show(limits)
    for line in found.missing:
        tell(("not measured", "yellow"), f": {line}")


def _agrees(trial: Trial) -> str:
    if trial.agreement is None:
        return trial.refused or "not asked: a faster one serves, or it is float32 itself"
    task, worst = min(trial.agreement.tasks.items(), key=lambda one: one[1].f1_change)
    told = f"{task} F1 {100 * worst.f1_change:+.2f} points, {worst.changed} of {worst.examples} examples answered otherwise"
    return f"{'no' if trial.refused else 'yes'}: {told}"

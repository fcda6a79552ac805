"""Fine-tune at the command line: the flow with its gate, or a bundle in a directory of one's own, with a bar over the epochs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import typer

from flows.finetune import PlanName, Task, files_for, finetune, finetune_into
from flows.forms import LabelledForm, RecipeForm
from flows.settings import Settings
from flows.showing import bars, tell


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person asked to be trained."""

    task: str
    train: tuple[str, ...]
    auxiliary: tuple[str, ...]
    dev: str | None
    output: Path | None
    plan: str
    seeds: int | None
    trunk: str
    workers: int


def settings_of(changes: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE words as a mapping; a value is JSON where it can be read as such, else text."""
    found: dict[str, Any] = {}
    for change in changes:
        name, sign, value = change.partition("=")
        if not sign:
            raise typer.BadParameter(f"{change!r}; allowed: NAME=VALUE, such as crf=true", param_hint="--set")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def finetune_files(asked: Request, *, recipe: RecipeForm, settings: Settings, settings_file: str | None) -> None:
    """Fine-tune through the registry and its gate, or into a bundle in the directory that was asked for."""
    from models.plans import plan_for

    form = None
    if asked.dev:
        form = LabelledForm(train=list(asked.train), dev=[asked.dev], auxiliary=list(asked.auxiliary))
    forms = {asked.task: form} if form else {}
    if asked.output is None:
        with bars():
            decisions = finetune(
                task=cast(Task, asked.task),
                plan=cast(PlanName, asked.plan),
                recipe=recipe,
                seeds=asked.seeds,
                trunk=asked.trunk,
                workers=asked.workers,
                settings_file=settings_file,
                **forms,
            )
        for decision in decisions:
            tell(f"{decision.task}/{decision.version}: {decision.reason}")
        return
    files = files_for(asked.task, forms)
    with bars():
        figures = finetune_into(
            asked.output,
            files,
            storage=settings.home / "training",
            cluster=settings.cluster,
            plan=plan_for(tuple(files), asked.plan, seeds=asked.seeds, **recipe.changes()),
            trunk=asked.trunk,
            workers=asked.workers,
            allow_hub=settings.allow_hub,
        )
    for name, found in figures.items():
        measured = f"{found.average} F1 {found.f1:.4f}, accuracy {found.accuracy:.4f} on {found.n} dev examples"
        tell(f"{name}: {measured} -> {asked.output}")

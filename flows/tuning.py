"""Fine-tune at the command line: the flow with its gate, or a bundle in a directory of one's own, with a bar over the epochs."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from flows.finetune import Task, files_for, finetune, finetune_into
from flows.forms import LabelledForm, RecipeForm
from flows.settings import Settings
from flows.showing import bars, tell


def finetune_files(
    task: str,
    train: list[Path],
    dev: Path | None,
    output: Path | None,
    *,
    workers: int,
    recipe: RecipeForm,
    settings: Settings,
    settings_file: str | None,
) -> None:
    """Fine-tune through the registry and its gate, or, with `output`, into a bundle in that directory."""
    form = LabelledForm(train=[str(path) for path in train], dev=[str(dev)]) if dev else None
    if output is None:
        with bars():
            decisions = finetune(
                task=cast(Task, task),
                sentiment=form if task == "sentiment" else None,
                ner=form if task == "ner" else None,
                recipe=recipe,
                workers=workers,
                settings_file=settings_file,
            )
        for decision in decisions:
            tell(f"{decision.task}/{decision.version}: {decision.reason}")
        return
    with bars():
        figures = finetune_into(
            output,
            files_for(task, {task: form} if form else {}),
            storage=settings.home / "training",
            cluster=settings.cluster,
            recipe=recipe,
            workers=workers,
            allow_hub=settings.allow_hub,
        )
    for name, found in figures.items():
        measured = f"{found.average} F1 {found.f1:.4f}, accuracy {found.accuracy:.4f} on {found.n} dev examples"
        tell(f"{name}: {measured} -> {output}")

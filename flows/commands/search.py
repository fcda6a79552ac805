"""Search a recipe from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from flows.commands.options import SettingsOption, Task

EXAMPLES = (
    "Examples:  nightdesk search --task sentiment --trials 24 --max-epochs 5    nightdesk search --task ner --train mine.jsonl --dev dev.jsonl "
    "--space learning_rate=5e-5:5e-4:log --space crf=true,false"
)


def search(
    task: Annotated[Task, typer.Option(help="What to train.")] = Task.sentiment,
    train: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True, dir_okay=False, metavar="FILE...", help="Labelled JSONL to fit. Default: the shipped sample."
        ),
    ] = None,
    dev: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Labelled JSONL to choose by, and nothing else is looked at."),
    ] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=...",
            help="What to search: NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=A,B,C; may be given again. Default: rates, batch size and the like.",
        ),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Recipes tried.")] = 16,
    max_epochs: Annotated[int, typer.Option(min=1, help="Epochs that a trial gets at most.")] = 6,
    grace_epochs: Annotated[int, typer.Option(min=1, help="Epochs before a trial may be stopped.")] = 1,
    reduction: Annotated[float, typer.Option(help="One in so many goes on at each rung. Above 1.")] = 3.0,
    concurrent: Annotated[int, typer.Option(min=1, help="Trials at a time, a CPU each.")] = 2,
    recipe: Annotated[str, typer.Option(help="What trials change: default or best.")] = "default",
    trunk: Annotated[str, typer.Option(help="minilm, a directory, or a hub name if the settings allow it.")] = "minilm",
    seed: Annotated[int, typer.Option(min=0, help="Of the parameters drawn.")] = 0,
    settings: SettingsOption = None,
) -> None:
    """Search the recipe of a fine-tuning: many trials, the bad ones stopped early; the best becomes a candidate at the gate.

    The figures that it prints are on dev, by which the best was chosen: texts that chose nothing give less.
    """
    if bool(train) != bool(dev):
        raise typer.BadParameter("--train and --dev go together", param_hint="--train")
    if recipe not in ("default", "best"):
        raise typer.BadParameter(f"{recipe!r}; allowed: default, best", param_hint="--recipe")
    from flows.forms import LabelledForm
    from flows.forms_search import SearchForm, written_space
    from flows.search import search as flow
    from flows.showing import bars, tell

    try:
        extent = SearchForm(
            trials=trials,
            max_epochs=max_epochs,
            grace_epochs=grace_epochs,
            reduction=reduction,
            concurrent=concurrent,
            seed=seed,
        )
        parameters = written_space(space or [])
    except ValidationError as error:
        first = error.errors()[0]
        raise typer.BadParameter(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    with bars():
        decisions = flow(
            task=task.value,
            labelled=LabelledForm(train=[str(path) for path in train or ()], dev=[str(dev)]) if dev else None,
            space=parameters,
            extent=extent,
            plan="best" if recipe == "best" else "default",
            trunk=trunk,
            settings_file=settings,
        )
    for decision in decisions:
        tell(f"{decision.task}/{decision.version}: {decision.reason}")

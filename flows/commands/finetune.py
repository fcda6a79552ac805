"""Fine-tune from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from flows.commands.options import SettingsOption, Task
from flows.settings import load

EXAMPLES = (
    "Examples:  nightdesk finetune --task sentiment --train a.jsonl b.jsonl --dev dev.jsonl --recipe best --output bundle    "
    "nightdesk finetune --task ner --train mine.jsonl --auxiliary news.jsonl --dev dev.jsonl --recipe best    nightdesk finetune"
)
Files = Annotated[
    list[Path] | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        metavar="FILE...",
        help="Labelled JSONL to fit: one file or several, and may be given again. Default: the shipped sample.",
    ),
]
Auxiliary = Annotated[
    list[Path] | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        metavar="FILE...",
        help="Labelled JSONL that joins in the recipe's first epochs only: other sources, other annotators.",
    ),
]


def finetune(
    task: Annotated[
        Task | None, typer.Option(help="Default: sentiment and ner in one trunk, on the shipped sample.")
    ] = None,
    train: Files = None,
    auxiliary: Auxiliary = None,
    dev: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Labelled JSONL to choose by: one file.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(file_okay=False, help="Leave a bundle here, outside the registry.")
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(help="default: quick. best: what measured best for the task, and takes several times as long."),
    ] = "default",
    trunk: Annotated[
        str,
        typer.Option(
            help="minilm, bilstm, a directory (one that adapt or distil left), or a hub name if the settings allow it."
        ),
    ] = "minilm",
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Trainings whose weights are averaged. Default: the recipe's.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Ray Train workers; 0 trains in this process.")] = 1,
    epochs: Annotated[int | None, typer.Option(min=1, help="Default: the recipe's.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Above 0. Default: the recipe's.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The random seed.")] = 0,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Any other field of the recipe, such as crf=true; may be given again."
        ),
    ] = None,
    settings: SettingsOption = None,
) -> None:
    """Fine-tune a model. Without --output it goes through the registry and its gate; with it, into a directory."""
    if recipe not in ("default", "best"):
        raise typer.BadParameter(f"{recipe!r}; allowed: default, best", param_hint="--recipe")
    if task is None and (train or dev or auxiliary):
        raise typer.BadParameter("files hold one task's labels; name the task", param_hint="--task")
    if bool(train) != bool(dev):
        raise typer.BadParameter("--train and --dev go together", param_hint="--train")
    from flows.forms import RecipeForm
    from flows.tuning import Request, finetune_files, settings_of

    given = {"epochs": epochs, "learning_rate": learning_rate, "seed": seed, **settings_of(changes or [])}
    try:
        form = RecipeForm.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        raise typer.BadParameter(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", param_hint="--set") from error
    finetune_files(
        Request(
            task=task.value if task else "all",
            train=tuple(map(str, train or ())),
            auxiliary=tuple(map(str, auxiliary or ())),
            dev=str(dev) if dev else None,
            output=output,
            plan=recipe,
            seeds=seeds,
            trunk=trunk,
            workers=workers,
        ),
        recipe=form,
        settings=load(settings),
        settings_file=settings,
    )

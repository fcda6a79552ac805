"""Teach a smaller model from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from flows.commands.options import SettingsOption, Task
from flows.settings import load
from flows.showing import bars, tell

EXAMPLES = (
    "Examples:  nightdesk distil --teacher a b c --student layers:3 --task sentiment --train t.jsonl --dev d.jsonl --output student    "
    "nightdesk distil --teacher champion --student bilstm --task ner --train t.jsonl --dev d.jsonl --unlabelled news.jsonl"
)


def distil(
    teacher: Annotated[
        list[str],
        typer.Option(
            metavar="MODEL...", help="champion, sentiment/3, or a bundle's directory; several answer together."
        ),
    ],
    task: Annotated[Task, typer.Option(help="What is taught.")],
    train: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True, dir_okay=False, metavar="FILE...", help="Labelled JSONL. Default: the shipped sample."
        ),
    ] = None,
    dev: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Labelled JSONL to choose by: one file.")
    ] = None,
    unlabelled: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE...",
            help="Texts without labels: .txt (a line a text), .jsonl, .json, .csv, also .gz.",
        ),
    ] = None,
    column: Annotated[str | None, typer.Option(help="Of CSV files: the text's column, or its number from 1.")] = None,
    output: Annotated[
        Path | None, typer.Option(file_okay=False, help="Leave the student here, outside the registry.")
    ] = None,
    student: Annotated[
        str,
        typer.Option(
            help="bilstm, layers:3 (the default trunk cut to so many layers), minilm, a directory, a hub name."
        ),
    ] = "layers:3",
    alpha: Annotated[float, typer.Option(min=0, max=1, help="The labels' share of the loss.")] = 0.5,
    temperature: Annotated[float, typer.Option(help="Above 0: softens what teachers and student say.")] = 2.0,
    hidden: Annotated[float, typer.Option(min=0, help="Weight of the distance between last hidden states.")] = 0.0,
    recipe: Annotated[str, typer.Option(help="default, or best, which takes several times as long.")] = "default",
    seeds: Annotated[int | None, typer.Option(min=1, help="Trainings whose weights are averaged.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Ray Train workers; 0 trains in this process.")] = 1,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="A field of the recipe, such as epochs=8; may be given again."
        ),
    ] = None,
    settings: SettingsOption = None,
) -> None:
    """Teach a smaller model what others have learnt. Without --output it goes through the registry and its gate."""
    from flows.compressing import checked, labelled_form, recipe_form
    from flows.distil import distil as flow
    from flows.distil import distil_into
    from flows.finetune import PlanName
    from flows.forms_distil import TeachingForm
    from models.plans import plan_for

    files = labelled_form(task.value, train, dev)
    form = recipe_form(changes)
    teaching = checked(
        TeachingForm,
        {
            "teachers": teacher,
            "unlabelled": [str(path) for path in unlabelled or ()],
            "column": column,
            "alpha": alpha,
            "temperature": temperature,
            "hidden": hidden,
        },
    )
    plan = plan_for((task.value,), recipe, seeds=seeds, **form.changes())
    with bars():
        if output is None:
            decisions = flow(
                teaching=teaching,
                task=task.value,
                student=student,
                files=files,
                plan=cast(PlanName, recipe),
                recipe=form,
                seeds=seeds,
                workers=workers,
                settings_file=settings,
            )
        else:
            found = distil_into(
                output,
                task.value,
                files,
                teaching=teaching,
                student=student,
                plan=plan,
                settings=load(settings),
                workers=workers,
            )
    if output is None:
        for decision in decisions:
            tell(f"{decision.task}/{decision.version}: {decision.reason}")
    else:
        tell(f"{task.value}: {found.headline} {found.f1:.4f}, accuracy {found.accuracy:.4f} on {found.n} -> {output}")

"""Make a model smaller from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, cast

import typer

from flows.commands.options import ModelOption, SettingsOption, Task
from flows.settings import load
from flows.showing import bars, tell

EXAMPLES = (
    "Examples:  nightdesk compress --method int8 --task sentiment --model bundle --dev d.jsonl --train t.jsonl --output small    "
    "nightdesk compress --method structured --share 0.3 --task ner --train t.jsonl --dev d.jsonl"
)


def compress(
    task: Annotated[
        Task, typer.Option(help="What the model is compressed for; of a joint model only this head is taken.")
    ],
    model: ModelOption = "champion",
    method: Annotated[
        str,
        typer.Option(
            help="int8: weights of eight bits. magnitude: small weights put to 0. structured: whole heads and neurons cut."
        ),
    ] = "int8",
    share: Annotated[float, typer.Option(help="Left out by magnitude or structured; above 0, below 1.")] = 0.3,
    taught: Annotated[
        bool, typer.Option("--taught", help="The original teaches while a pruned model learns again.")
    ] = False,
    train: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE...",
            help="Labelled JSONL to learn again from after pruning. Default: the shipped sample.",
        ),
    ] = None,
    dev: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Labelled JSONL to calibrate and measure on.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(file_okay=False, help="Leave the bundle here, outside the registry.")
    ] = None,
    recipe: Annotated[str, typer.Option(help="How a pruned model learns again: default, or best.")] = "default",
    workers: Annotated[int, typer.Option(min=0, help="Ray Train workers; 0 trains in this process.")] = 1,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="A field of the recipe, such as epochs=2; may be given again."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --output: one JSON object on the last line.")] = False,
    settings: SettingsOption = None,
) -> None:
    """Make a model smaller; size, speed and the change of F1 are told. Without --output it goes through the registry and its gate."""
    from flows.compress import compress as flow
    from flows.compress import compress_into
    from flows.compressing import checked, labelled_form, recipe_form
    from flows.finetune import PlanName
    from flows.forms_distil import CompressionForm
    from models.plans import plan_for

    if train is None and dev is not None and method == "int8":
        train = [dev]  # which int8 does not look at
    files = labelled_form(task.value, train, dev)
    form = recipe_form(changes)
    compression = checked(CompressionForm, {"method": method, "share": share, "taught": taught})
    name = f"{task.value}/champion" if model == "champion" else model
    if output is None:
        with bars():
            decisions = flow(
                task=task.value,
                model=name,
                compression=compression,
                files=files,
                plan=cast(PlanName, recipe),
                recipe=form,
                workers=workers,
                settings_file=settings,
            )
        for decision in decisions:
            tell(f"{decision.task}/{decision.version}: {decision.reason}")
        return
    with bars():
        report = compress_into(
            output,
            task.value,
            name,
            files,
            compression=compression,
            plan=plan_for((task.value,), recipe, **form.changes()),
            settings=load(settings),
            workers=workers,
        )
    typer.echo(json.dumps(json.loads(report.to_json()))) if as_json else tell(f"{report.sentence()} -> {output}")

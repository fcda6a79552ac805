"""Make one model of several from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from flows.commands.options import SettingsOption, Task
from flows.settings import load
from flows.showing import bars, tell

EXAMPLES = (
    "Examples:  nightdesk combine --how ensemble --task sentiment --model a b c --dev d.jsonl --output together    "
    "nightdesk combine --how soup --task ner --model ner/1 ner/2 --dev d.jsonl"
)


def combine(
    model: Annotated[
        list[str],
        typer.Option(metavar="MODEL...", help="Two or more of champion, sentiment/3, and bundles' directories."),
    ],
    task: Annotated[Task, typer.Option(help="What they answer; of joint models only this head is taken.")],
    how: Annotated[
        str,
        typer.Option(help="ensemble: asks them all. soup: averages the weights of models fine-tuned from one start."),
    ] = "ensemble",
    dev: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Labelled JSONL to calibrate and measure on. Default: the sample."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option(file_okay=False, help="Leave the bundle here, outside the registry.")
    ] = None,
    settings: SettingsOption = None,
) -> None:
    """Make one model of several. Without --output it goes through the registry and its gate; with it, into a directory."""
    if how not in ("ensemble", "soup"):
        raise typer.BadParameter(f"{how!r}; allowed: ensemble, soup", param_hint="--how")
    from flows.combine import How, combine_into
    from flows.combine import combine as flow
    from flows.finetune import sample_files

    names = [f"{task.value}/champion" if name == "champion" else name for name in model]
    files = [str(dev)] if dev else list(sample_files(task.value).dev)
    if output is None:
        with bars():
            decisions = flow(models=names, task=task.value, how=cast(How, how), dev=files, settings_file=settings)
        for decision in decisions:
            tell(f"{decision.task}/{decision.version}: {decision.reason}")
        return
    with bars():
        found = combine_into(output, task.value, names, files, how=cast(How, how), settings=load(settings))
    tell(f"{task.value}: {found.headline} {found.f1:.4f}, accuracy {found.accuracy:.4f} on {found.n} -> {output}")

"""Run a range of nights from the command line."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import typer

from flows.commands.options import DATE, By, LakeOption, SettingsOption

EXAMPLES = "Example:  nightdesk backfill --first 2022-12-20 --last 2023-01-05 --settings crypto.toml"


def backfill(
    first: Annotated[dt.datetime, typer.Option(formats=DATE, help="The earliest night.")],
    last: Annotated[dt.datetime, typer.Option(formats=DATE, help="The latest night.")],
    settings: SettingsOption = None,
    lake: LakeOption = None,
    by: Annotated[
        By, typer.Option(help="published: an article belongs to the night of its publication.")
    ] = By.published,
    redo: Annotated[bool, typer.Option("--redo", help="Run again what is published already.")] = False,
    rescore: Annotated[
        bool, typer.Option("--rescore", help="Score published nights again; what was read is kept, unless --redo.")
    ] = False,
    nights_at_once: Annotated[int, typer.Option(min=1, max=366, help="So many nights are scored together.")] = 8,
) -> None:
    """Run every night of a range over files, skipping what is done; a failed night does not stop the others."""
    from flows.running import run_range

    run_range(
        first.date(),
        last.date(),
        settings_file=settings,
        lake=lake,
        by=by.value,
        redo=redo,
        rescore=rescore,
        nights_at_once=nights_at_once,
    )

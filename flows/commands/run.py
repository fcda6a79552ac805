"""Run nights from the command line."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import typer

from flows.commands.options import DATE, By, LakeOption, SettingsOption

EXAMPLES = "Examples:  nightdesk run    nightdesk run --night 2026-03-02 --night 2026-03-03    nightdesk run --settings desk.toml --rescore"


def run(
    night: Annotated[
        list[dt.datetime] | None,
        typer.Option(
            formats=DATE, help="A night, by the date it ends on; may be given again. Default: the last one ended."
        ),
    ] = None,
    settings: SettingsOption = None,
    lake: LakeOption = None,
    by: Annotated[
        By, typer.Option(help="first_seen: live feeds. published: only what was published within the night.")
    ] = By.first_seen,
    rescore: Annotated[
        bool, typer.Option("--rescore", help="Score a published night again; what was read is kept.")
    ] = False,
) -> None:
    """Run nights: ingest, contract, score, watch, publish, report, notify."""
    from flows.running import run_nights

    nights = [one.date() for one in night or ()]
    run_nights(nights, settings_file=settings, lake=lake, by=by.value, rescore=rescore)

"""Write a report from the command line."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import typer

from flows.commands.options import DATE, LakeOption, SettingsOption
from flows.settings import load

EXAMPLES = "Example:  nightdesk report --night 2026-03-03"


def report(
    night: Annotated[dt.datetime | None, typer.Option(formats=DATE, help="Default: the last published night.")] = None,
    lake: LakeOption = None,
    settings: SettingsOption = None,
) -> None:
    """Write a night's report again from the published tables, and print its path."""
    from flows.querying import write_report

    typer.echo(write_report(night.date() if night else None, load(settings, lake=lake)))

"""Show the desk's programs at the command line."""

from __future__ import annotations

import datetime as dt
import json
from typing import Annotated

import typer
from rich.table import Table

from flows.commands.options import SettingsOption
from flows.settings import home_of
from flows.showing import plain, show, tell

EXAMPLES = "Examples:  nightdesk status    nightdesk status --json"


def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array on standard output.")] = False,
    settings: SettingsOption = None,
) -> None:
    """Show each program that `nightdesk up` keeps running. Exits with 1 unless all of them answer."""
    from flows.operate.health import health

    home = home_of(settings)
    found = health(home)
    if as_json:
        typer.echo(json.dumps([one.fields() for one in found]))
    elif not found:
        tell(f"nothing runs in {home}; start it with `nightdesk up`")
    else:
        table = Table("program", "state", "process", "for", "where")
        for one in found:
            uptime = dt.timedelta(seconds=round(one.uptime_seconds))
            table.add_row(*plain(one.name, one.state, one.pid or "", uptime if one.pid else "", one.url))
        show(table)
    if not found or not all(one.answers for one in found):
        raise typer.Exit(1)

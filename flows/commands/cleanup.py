"""Remove old runs from the Prefect server, from the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands.options import SettingsOption
from flows.sections import LEAST_DAYS_KEPT

EXAMPLES = "Example:  nightdesk cleanup --keep-days 30 --dry-run"


def cleanup(
    keep_days: Annotated[
        int | None,
        typer.Option(
            min=LEAST_DAYS_KEPT,
            help="Runs that ended within so many days are kept; the watchdog needs those of the last three. Default: the settings'.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count them and remove nothing.")] = False,
    server: Annotated[
        str | None,
        typer.Option(help="The Prefect server's address; else PREFECT_API_URL, else this home's own while it runs."),
    ] = None,
    settings: SettingsOption = None,
) -> None:
    """Remove finished runs from the server once they are old, with their logs and artifacts; never anything in the lake."""
    import datetime as dt

    from flows.cleanup import clean
    from flows.operate.server import connected, file_for
    from flows.settings import load
    from flows.showing import tell

    chosen = load(file_for(settings, server))
    before = dt.datetime.now(dt.UTC) - dt.timedelta(days=keep_days or chosen.operate.keep_runs_days)
    with connected(server, chosen) as client:
        cleaned = clean(client, before=before, dry_run=dry_run)
    tell(f"{'would remove' if dry_run else 'removed'} {cleaned.said}")

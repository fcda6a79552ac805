"""Bring deployments, queues, automations and notification blocks to a Prefect server from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import SettingsOption

EXAMPLES = "Examples:  nightdesk deploy    nightdesk deploy --server http://127.0.0.1:4200/api --settings desk.toml"
COLOURS = {"made": "green", "changed": "yellow", "removed": "red", "unchanged": "dim"}


def deploy(
    server: Annotated[
        str | None,
        typer.Option(help="The Prefect server's address; else PREFECT_API_URL, else this home's own while it runs."),
    ] = None,
    settings: SettingsOption = None,
    file: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="The deployments. Default: the checkout's deployments/prefect.yaml."),
    ] = None,
) -> None:
    """Bring work pool, queues, deployments, schedules, automations and notification blocks to a Prefect server; may be run again.

    The running desk's own server gets what the desk's own settings file says, also where none is named, and only for the desk's own pool.
    """
    from rich.table import Table

    from flows.operate.declared import FILE, declared
    from flows.operate.deploy import apply
    from flows.operate.server import choose, connected, file_for
    from flows.settings import find_file, inherited, load
    from flows.showing import plain, show, tell

    settings = file_for(settings, server)
    found = load(settings)
    chosen = choose(server, found.home)
    tell(f"deploying to {chosen.url}: {chosen.why}")
    if other := chosen.passed_over():
        tell(("not to the desk that runs here", "bold yellow"), f": {other}")
    chosen.require_pool(found.operate.pool)
    wanted = declared(found, file or FILE)
    with connected(server, found) as client:
        changes = apply(client, wanted, found)
        where = str(client.api_url).rstrip("/")
    table = Table("", "kind", "name", "details")
    for change in changes:
        table.add_row(f"[{COLOURS[change.what]}]{change.what}[/]", *plain(change.kind, change.name, change.details))
    show(table)
    done = ", ".join(f"{n} {what}" for what in COLOURS if (n := sum(one.what == what for one in changes)))
    tell(f"{where}, by the settings in {find_file(settings, inherited())}: {done}")

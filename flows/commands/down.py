"""Stop the desk's programs from the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands.options import SettingsOption
from flows.settings import home_of
from flows.showing import tell

EXAMPLES = "Examples:  nightdesk down    nightdesk down --wait 0"


def down(
    wait: Annotated[
        float,
        typer.Option(min=0, metavar="MINUTES", help="How long runs under way may go on; then they are cancelled."),
    ] = 10,
    settings: SettingsOption = None,
) -> None:
    """Stop what `nightdesk up` started; runs under way may end first. Everything that was recorded stays."""
    from flows.operate.stopping import down as stop

    home = home_of(settings)
    tell("everything is stopped" if stop(home, wait, tell) else f"nothing runs in {home}")

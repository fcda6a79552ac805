"""Take a champion back from the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands.options import SettingsOption, Task

EXAMPLES = 'Example:  nightdesk rollback sentiment --reason "calls every merger negative"'


def rollback(
    task: Annotated[Task, typer.Argument(help="Whose champion is taken back.")],
    reason: Annotated[str, typer.Option(help="Why; kept with the version.")],
    settings: SettingsOption = None,
) -> None:
    """Let the champion before the present one serve again."""
    from flows.promote import rollback as rollback_flow
    from flows.showing import tell

    tell(rollback_flow(task.value, reason, settings_file=settings))

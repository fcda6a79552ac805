"""Promote by hand from the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands.options import SettingsOption

EXAMPLES = 'Example:  nightdesk promote sentiment/3 --reason "shadowed for a week"'


def promote(
    version: Annotated[str, typer.Argument(help="A registered version, such as sentiment/3.")],
    reason: Annotated[str, typer.Option(help="Why; kept with the version.")],
    settings: SettingsOption = None,
) -> None:
    """Let a registered version serve, whatever the gate said of it."""
    from typing import cast

    from flows.promote import TaskName
    from flows.promote import promote as promote_flow
    from flows.showing import tell

    task, _, number = version.partition("/")
    if not number.isdecimal():
        raise typer.BadParameter(f"{version!r}; allowed: TASK/NUMBER, such as sentiment/3", param_hint="VERSION")
    tell(promote_flow(cast(TaskName, task), int(number), reason, settings_file=settings))

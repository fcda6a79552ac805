"""Check an installation from the command line."""

from __future__ import annotations

import typer
from rich.table import Table

from flows.commands.options import LakeOption, SettingsOption
from flows.showing import plain, show

EXAMPLES = "Example:  nightdesk doctor --settings desk.toml"


def doctor(settings: SettingsOption = None, lake: LakeOption = None) -> None:
    """Say what is installed, found and writable, and what to do about what is not."""
    from flows.doctor import examine

    findings = examine(settings, lake)
    table = Table("", "what", "found", "what to do", show_lines=False)
    for finding in findings:
        table.add_row(
            "[green]ok[/]" if finding.good else ("[red]no[/]" if finding.needed else "[yellow]--[/]"),
            *plain(finding.what, finding.found, finding.remedy),
        )
    show(table)
    if any(not finding.good and finding.needed for finding in findings):
        raise typer.Exit(1)

"""Check an installation from the command line."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from flows.commands.options import LakeOption, SettingsOption
from flows.showing import plain, show

if TYPE_CHECKING:
    from flows.findings import Finding

EXAMPLES = (
    "Examples:  nightdesk doctor --settings desk.toml    nightdesk doctor --send-test    nightdesk doctor --deep --json"
)


def doctor(
    settings: SettingsOption = None,
    lake: LakeOption = None,
    send_test: Annotated[
        bool, typer.Option("--send-test", help="Send every sink one message that says it is a test.")
    ] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Start Ray as well, which takes seconds and memory.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, as the last line.")] = False,
) -> None:
    """Hold the settings against the real world, and say what to do about what a night cannot do with."""
    from flows.doctor import examine

    findings = []
    for finding in examine(settings, lake, send_test=send_test, deep=deep):
        findings.append(finding)
        show(_line(finding), stderr=as_json)
    good = all(finding.good for finding in findings if finding.needed)
    if as_json:
        typer.echo(json.dumps({"good": good, "findings": [asdict(finding) for finding in findings]}))
    if not good:
        raise typer.Exit(1)


def _line(finding: Finding) -> Table:
    """One finding, shown as soon as it is found: some of what is asked takes its time."""
    line = Table.grid(padding=(0, 2, 0, 0))
    for width in (2, 22, None):
        line.add_column(min_width=width)
    mark = "[green]ok[/]" if finding.good else ("[red]no[/]" if finding.needed else "[yellow]--[/]")
    said = f"{finding.found} -> {finding.remedy}" if finding.remedy else finding.found
    line.add_row(mark, *plain(finding.what, said))
    return line

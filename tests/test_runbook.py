"""Who is woken finds a section: each alert that can be raised, each automation, and each place that the documents and rules point to."""

import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from flows.__main__ import COMMANDS
from flows.operate import automations
from flows.operate.troubles import Kind
from flows.sections import MONITORS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^#{2,3} (.+)$", TEXT, re.MULTILINE)
ANCHORS = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in HEADINGS}
NOT_OF_A_RUN = {
    "FetchBusy": "a source failed: source_failed",
    "SinkFailed": "a sink failed: AlertsUndelivered",
    "Cancelled": "whoever cancels a run knows",
    "GivenRefused": "only `nightdesk evaluate`, which is no run",
    "NotExplained": "only `nightdesk explain`, which is no run",
    "TableRefused": "only `nightdesk score`, which is no run",
}
EVERY_MONITOR = sorted(path.stem for path in (ROOT / "tasks" / "monitors").glob("[a-z]*.py"))


@pytest.mark.parametrize(
    "monitor", sorted({*EVERY_MONITOR, *MONITORS, *(f"pipeline_{kind}" for kind in get_args(Kind))})
)
def test_every_alert_has_a_section(monitor: str) -> None:
    assert monitor in HEADINGS


@pytest.mark.parametrize(
    "name", [automations.SILENT_RUN, automations.NEVER_BEGUN, automations.LONG_NIGHT, automations.SILENT_WATCHDOG]
)
def test_every_automation_has_a_section(name: str) -> None:
    assert name in HEADINGS


def errors_that_end_a_run() -> set[str]:
    """Every error of ours that is neither left out nor told otherwise, by its class, of whatever depth."""
    files = [*(ROOT / "flows").glob("*.py"), ROOT / "flows" / "operate" / "databases.py"]
    for room in ("tasks", "models", "data_contracts"):
        files += (ROOT / room).rglob("*.py")
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    bases = dict(re.findall(r"^class (\w+)\((\w+)\):", text, re.MULTILINE))
    found = {"Fatal", "Retriable"}
    while more := {name for name, base in bases.items() if base in found} - found:
        found |= more
    return found - {"Retriable"} - NOT_OF_A_RUN.keys()


def test_every_error_that_a_run_can_end_with_says_what_to_do() -> None:
    errors = errors_that_end_a_run()
    assert {"ContractBroken", "LakeUnreachable", "TrunkRefused", "NightsFailed", "DatabaseRefused"} <= errors
    table = re.search(r"^### pipeline_failed$.*?^### ", TEXT, re.MULTILINE | re.DOTALL)
    assert table is not None
    assert {one for one in errors if f"`{one}`" not in table[0]} == set()


def test_the_table_of_errors_names_none_that_there_is_not() -> None:
    table = re.search(r"^### pipeline_failed$.*?^Then run it again", TEXT, re.MULTILINE | re.DOTALL)
    assert table is not None
    rows = [row.split(" | ")[0] for row in table[0].splitlines() if row.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert len(named) == len(set(named)), "each stands in one row"
    assert set(named) == errors_that_end_a_run()


def test_every_picture_is_shown_by_a_document_with_a_word_of_what_is_seen() -> None:
    shown = set()
    for file in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for said, name in re.findall(r"!\[([^\]]*)\]\(([\w/.-]+)\)", file.read_text(encoding="utf-8")):
            assert len(said.split()) >= 3, f"{file.name}: {name}"
            assert (file.parent / name).is_file(), f"{file.name}: {name}"
            shown.add((file.parent / name).name)
    assert {path.name for path in (ROOT / "docs").glob("*.png")} == shown


def test_what_points_into_the_runbook_finds_its_place() -> None:
    pointed = set(re.findall(r"\]\(#([\w-]+)\)", TEXT))
    for group in yaml.safe_load((ROOT / "deployments" / "prometheus.rules.yaml").read_text(encoding="utf-8"))["groups"]:
        pointed |= {rule["annotations"]["runbook"].partition("docs/runbook.md#")[2] for rule in group["rules"]}
    assert pointed
    assert pointed <= ANCHORS, pointed - ANCHORS


def test_the_commands_of_the_runbook_are_there() -> None:
    named = set(
        re.findall(r"nightdesk ([a-z]+)(?= |`|$)", "\n".join(re.findall(r"`[^`]+`|^nightdesk .*$", TEXT, re.MULTILINE)))
    )
    assert named
    assert named <= set(COMMANDS), named - set(COMMANDS)

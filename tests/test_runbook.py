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


def test_every_error_of_the_flows_own_says_what_to_do() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "flows").glob("*.py")]
    errors = {"DatabaseRefused", *re.findall(r"^class (\w+)\(Fatal\)", "\n".join(texts), re.MULTILINE)}
    table = re.search(r"^### pipeline_failed$.*?^### ", TEXT, re.MULTILINE | re.DOTALL)
    assert table is not None
    assert {one for one in errors if f"`{one}`" not in table[0]} == set()


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

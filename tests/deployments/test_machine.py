"""One machine: what systemd is told, and what `make clean` stops; nothing is started."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from flows.__main__ import COMMANDS
from flows.operate.starting import START_SECONDS
from flows.operate.stopping import CANCEL_SECONDS
from tests.deployments.manifests import DEPLOYMENTS, ROOT


def test_the_unit_starts_and_stops_the_desk_and_waits_for_both() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign] # names of systemd have capitals
    unit.read(DEPLOYMENTS / "nightdesk.service")
    service = unit["Service"]
    called = [service[name].split() for name in ("ExecStart", "ExecStop")]
    assert [command for _, command in called] == ["up", "down"]
    assert {command for _, command in called} <= set(COMMANDS)
    assert {program for program, _ in called} == {f"{service['WorkingDirectory']}/.venv/bin/nightdesk"}
    assert (service["Type"], service["RemainAfterExit"]) == ("oneshot", "yes"), "`up` returns, what it started stays"
    assert float(service["TimeoutStartSec"]) > START_SECONDS
    assert float(service["TimeoutStopSec"]) > 10 * 60 + CANCEL_SECONDS
    assert service["User"] != "root"
    assert (service["Restart"], float(service["RestartSec"])) == ("on-failure", 30), "a database may be late at boot"


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    if not (verify := shutil.which("systemd-analyze")):
        pytest.skip("needs systemd-analyze (Debian: apt install systemd)")
    unit = tmp_path / "nightdesk.service"
    text = (DEPLOYMENTS / unit.name).read_text(encoding="utf-8")
    unit.write_text(text.replace("/opt/nightdesk/.venv/bin/nightdesk", "/bin/true"), encoding="utf-8")
    told = subprocess.run([verify, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (told.returncode, unit.name in told.stderr) == (0, False), told.stderr


def test_make_clean_stops_what_runs_in_the_checkout_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of the environment or of a settings file is somebody else's."""
    if not (make := shutil.which("make")):
        pytest.skip("needs make")
    monkeypatch.setenv("NIGHTDESK_HOME", "/srv/another")
    told = subprocess.run([make, "--dry-run", "clean"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    [home] = re.findall(r"NIGHTDESK_HOME='([^']*)' \S+/nightdesk down", told)
    assert home == str(ROOT / ".nightdesk")

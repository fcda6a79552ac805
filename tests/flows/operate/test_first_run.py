"""What somebody sees who has just installed it: `make up`, `make deploy` in a checkout, and a night started from the UI is published."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import psutil
import pytest

from flows.operate import supervised
from flows.sections import Operate
from tests.flows.operate import tiny
from tests.flows.operate.nights import ENDED, NIGHT, ask, pause
from tests.flows.operate.running import ROOT, RunningDesk, desk_at
from tests.flows.test_night import tables
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]
TRAINING_SECONDS = 1500  # the first night fine-tunes the champions on the shipped sample


CHECKOUT = (
    *("flows", "tasks", "models", "data_contracts", "deployments"),
    *("Makefile", "pyproject.toml", "constraints.txt", "README.md"),
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout in another place, as a clone would have it: what git does not track is not in it, what is edited is as edited."""
    folder = tmp_path_factory.mktemp("first") / "nightdesk"
    folder.mkdir()
    tracked = listed("--cached")
    for name in tracked:
        if (ROOT / name).is_file():  # and not deleted here
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for name in () if tracked else CHECKOUT:  # no git here: an unpacked archive
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def listed(*which: str) -> list[str]:
    """The files of the checkout that git lists so; none where there is no git, or where it knows nothing of this folder."""
    command = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), "ls-files", "-z", *which, "--", *CHECKOUT]
    with contextlib.suppress(FileNotFoundError, subprocess.CalledProcessError):
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return [name for name in told.split("\0") if name and "__pycache__" not in name]
    return []


def untracked() -> str:
    """What may be missing in the copy, for the text of a failure."""
    return f"files that git does not track, and a clone lacks: {listed('--others') or 'none'}"


def make(target: str, checkout: Path, desk: RunningDesk) -> None:
    """`make` in the checkout, with the environment that is installed already."""
    installed = f"VENV={Path(sys.executable).parent.parent}"
    command = ["make", installed, f"--old-file={Path(sys.executable).parent.parent / '.installed'}", target]
    done = subprocess.run(
        command, cwd=checkout, env=desk.environ, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, f"{untracked()}\n{done.stderr[-6000:]}"


@pytest.fixture(scope="module")
def desk(checkout: Path) -> Iterator[RunningDesk]:
    """A desk without a settings file."""
    path = os.pathsep.join(filter(None, (str(checkout), os.environ.get("PYTHONPATH"))))
    first = desk_at(checkout.parent / "home", PYTHONPATH=path)
    try:
        make("up", checkout, first)
        make("deploy", checkout, first)
        yield first
    finally:
        first.stop()


def test_the_next_nights_are_scheduled_at_their_local_time(desk: RunningDesk) -> None:
    zone, asked = ZoneInfo("America/New_York"), {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    nightly = {"deployments": {"name": {"any_": ["nightly"]}}}

    def scheduled() -> list[dt.datetime]:
        found = ask(desk, "POST", "/flow_runs/filter", asked | nightly)
        return sorted(dt.datetime.fromisoformat(one["expected_start_time"]).astimezone(zone) for one in found)

    until(lambda: len(scheduled()) >= 3, lambda: tiny.logs(desk))
    due = scheduled()
    minute, hour = map(int, Operate().schedule.split()[:2])
    assert {moment.time() for moment in due} == {dt.time(hour, minute)}
    assert [moment.date() for moment in due] == [due[0].date() + dt.timedelta(days=i) for i in range(len(due))]
    assert due[0] > dt.datetime.now(zone)


def test_a_night_started_from_the_ui_is_published_by_a_worker_that_works_elsewhere(
    desk: RunningDesk, checkout: Path
) -> None:
    worker = psutil.Process(supervised.states(desk.home)["worker"].pid)
    assert not Path(worker.cwd()).is_relative_to(checkout)
    found = ask(desk, "GET", "/deployments/name/nightly/nightly")
    pause(desk, found["id"])
    once = {"parameters": {"night": NIGHT}, "idempotency_key": "first"}
    run = ask(desk, "POST", f"/deployments/{found['id']}/create_flow_run", once)["id"]

    def state() -> str:
        return str(ask(desk, "GET", f"/flow_runs/{run}")["state"]["type"])

    until(lambda: state() in ENDED, lambda: tiny.logs(desk), seconds=TRAINING_SECONDS)
    assert state() == "COMPLETED", f"{untracked()}\n{tiny.logs(desk)}"
    published = tables(desk.lake, NIGHT)
    assert published["scored_articles"].height == published["articles"].height > 0
    assert (desk.home / "alerts.jsonl").exists() == (published["alerts"].height > 0)
    with httpx.Client(base_url=desk.pages_url, trust_env=False, timeout=60) as pages:
        assert pages.get(f"/reports/{NIGHT}/report.html").status_code == 200
    assert not Path(desk.environ["GUARD_LOG"]).exists(), "nothing may leave this machine"

"""`nightdesk down`: what becomes of runs under way, that nothing is left, and that what was recorded is there again after `up`."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.operate import tiny
from tests.flows.operate.running import RunningDesk, desk_at, lives

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDesk]:
    """A desk of the test's own, which it starts and stops."""
    own = desk_at(tmp_path_factory.mktemp("stops") / "home")
    try:
        yield own
    finally:
        own.stop()


def down(desk: RunningDesk, *arguments: str) -> str:
    done = desk.call("down", *arguments)
    assert done.returncode == 0, done.stderr
    assert desk.processes() == [], [process.cmdline() for process in desk.processes()]
    assert not (desk.home / "operate" / "supervisor.sock").exists()
    return done.stderr


def test_runs_end_before_the_programs_and_what_was_recorded_stays(desk: RunningDesk, tmp_path: Path) -> None:
    desk.up()
    key = desk.auth
    deployment = tiny.deploy(desk, tmp_path / "waited")
    run = tiny.start(desk, deployment, seconds=120)
    tiny.began(tmp_path / "waited")
    assert "waiting for 1 runs" in down(desk, "--wait", "5")
    assert (tmp_path / "waited" / "finally").exists()

    desk.up()
    assert desk.auth == key
    assert tiny.state(desk, run) == "COMPLETED"
    with desk.client() as client:
        assert client.get("/work_pools/nightdesk").json()["is_paused"] is False
    (tmp_path / "waited" / "finally").unlink()
    (tmp_path / "waited" / "began.json").unlink()
    long = tiny.start(desk, deployment, seconds=600)
    tiny.began(tmp_path / "waited")
    assert "cancelling 1 runs" in down(desk, "--wait", "0")
    assert (tmp_path / "waited" / "finally").exists(), "a flow that is cancelled cleans up"
    assert tiny.recorded(desk, long) == "CANCELLED"


def test_what_a_dead_supervisor_left_is_taken_over_and_an_orphaned_run_is_ended(
    desk: RunningDesk, tmp_path: Path
) -> None:
    desk.up()
    run = tiny.start(desk, tiny.deploy(desk, tmp_path / "orphan"), seconds=600)
    flow = tiny.began(tmp_path / "orphan")["pid"]
    supervisor = int((desk.home / "operate" / "supervisord.pid").read_text(encoding="utf-8"))
    os.kill(supervisor, signal.SIGKILL)
    assert "everything runs" in desk.up().stderr
    assert lives(flow), "a run goes on without its worker"
    assert "ending 1 runs that a dead worker left" in down(desk, "--wait", "0")
    assert not lives(flow)
    assert tiny.recorded(desk, run) in ("CANCELLED", "CRASHED")


def test_a_run_that_a_dead_worker_took_holds_nobody_up_and_does_not_stand_for_ever(
    desk: RunningDesk, tmp_path: Path
) -> None:
    desk.up()
    deployment = tiny.deploy(desk, tmp_path / "taken")
    with desk.client() as client:
        asked = {"state": {"type": "PENDING"}, "parameters": {"folder": str(tmp_path)}}
        reply = client.post(f"/deployments/{deployment}/create_flow_run", json=asked)
        run = str(reply.raise_for_status().json()["id"])
    assert tiny.state(desk, run) == "PENDING"
    assert "marking 1 runs as crashed" in down(desk, "--wait", "20")
    assert tiny.recorded(desk, run) == "CRASHED"

"""Old runs go, with all that hangs on them; runs under way, young ones and those of others stay. On a real server, by a real worker."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from typing import Any

import pytest

from flows.cleanup import BATCH, clean
from flows.operate.server import connected
from flows.sections import LEAST_DAYS_KEPT
from flows.settings import load
from tests.flows.operate.bare import KEY, Bare, bare_server
from tests.waiting import until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    with bare_server(tmp_path_factory.mktemp("cleanup")) as bare:
        done = bare.call("deploy")
        assert done.returncode == 0, done.stderr
        yield bare


def a_run(server: Bare, flow: str, state: str) -> str:
    """A run of the flow in that state, with a task run, a log line and an artifact."""
    flow_id = server.post("/flows/", {"name": flow})["id"]
    run = str(server.post("/flow_runs/", {"flow_id": flow_id, "state": {"type": "PENDING"}})["id"])
    server.post("/task_runs/", {"flow_run_id": run, "task_key": "step", "dynamic_key": "0"})
    server.post("/artifacts/", {"key": "counts", "type": "markdown", "data": "1", "flow_run_id": run})
    line = {
        "name": "n",
        "level": 20,
        "message": "m",
        "timestamp": dt.datetime.now(dt.UTC).isoformat(),
        "flow_run_id": run,
    }
    server.post("/logs/", [line])
    server.post(f"/flow_runs/{run}/set_state", {"state": {"type": state}, "force": True})
    return run


def left(server: Bare, runs: list[str]) -> dict[str, int]:
    """How much there still is of these runs."""
    of_runs = {"flow_run_id": {"any_": runs}}
    return {
        "runs": len(server.post("/flow_runs/filter", {"flow_runs": {"id": {"any_": runs}}})),
        "task runs": len(server.post("/task_runs/filter", {"flow_runs": {"id": {"any_": runs}}})),
        "artifacts": len(server.post("/artifacts/filter", {"artifacts": of_runs})),
        "logs": len(server.post("/logs/filter", {"logs": of_runs})),
    }


def test_runs_that_ended_long_ago_go_with_all_that_hangs_on_them(server: Bare) -> None:
    from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings

    old = [a_run(server, "nightly", state) for state in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")]
    flow_id = server.post("/flows/", {"name": "nightly"})["id"]
    many = [
        server.post("/flow_runs/", {"flow_id": flow_id, "state": {"type": "COMPLETED"}})["id"] for _ in range(BATCH)
    ]
    stays = {"under way": a_run(server, "nightly", "RUNNING"), "of others": a_run(server, "theirs", "COMPLETED")}
    now = dt.datetime.now(dt.UTC)
    with temporary_settings({PREFECT_API_AUTH_STRING: KEY}), connected(server.api_url, load()) as client:
        assert clean(client, before=now - dt.timedelta(days=1)).runs == 0
        would = clean(client, before=now + dt.timedelta(days=1), dry_run=True)
        assert (would.runs, would.artifacts) == (len(old + many), len(old)), "counted, and not guessed"
        assert left(server, old)["runs"] == len(old)
        cleaned = clean(client, before=now + dt.timedelta(days=1))
        assert clean(client, before=now + dt.timedelta(days=1)).runs == 0
    assert (cleaned.runs, cleaned.artifacts) == (len(old + many), len(old))
    until(lambda: not any(left(server, old).values()), lambda: str(left(server, old)))
    assert not left(server, many)["runs"]
    for run in stays.values():
        assert left(server, [run]) == {"runs": 1, "task runs": 1, "artifacts": 1, "logs": 1}


def test_a_worker_elsewhere_runs_the_deployment(server: Bare) -> None:
    found = server.get("/deployments/name/cleanup/cleanup")
    asked: dict[str, Any] = {"parameters": {"keep_days": LEAST_DAYS_KEPT, "dry_run": True}}
    fewer = {"parameters": {"keep_days": LEAST_DAYS_KEPT - 1}}
    assert server.ask("POST", f"/deployments/{found['id']}/create_flow_run", fewer).status_code == 409
    run = server.post(f"/deployments/{found['id']}/create_flow_run", asked)["id"]

    def state() -> str:
        return str(server.get(f"/flow_runs/{run}")["state"]["type"])

    with server.worker():
        until(lambda: state() in ("COMPLETED", "FAILED", "CRASHED"), server.logs)
    assert state() == "COMPLETED", server.logs()
    assert re.fullmatch(r"cleanup \d{4}-\d\d-\d\d \d\d:\d\d UTC", server.get(f"/flow_runs/{run}")["name"])
    (page,) = server.post("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}})
    assert "would remove 0 runs" in page["data"]

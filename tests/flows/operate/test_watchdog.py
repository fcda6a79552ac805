"""Each way in which a night can die is provoked on a real server, and reaches a file and a message service, once."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

from flows.operate.watchdog import Watchdog
from flows.settings import Settings, load
from tests.flows.operate.bare import KEY, Bare, Posted, bare_server, kill, posted, started
from tests.waiting import until

pytestmark = pytest.mark.slow

FLOWS = '''
"""Nights that do as they are told, so that each way to die takes seconds; what the server sees of them is what it sees of a real one."""
import time
from prefect import flow

@flow
def nightly(night: str = "", fail: bool = False, seconds: float = 0) -> None:
    if fail:
        raise ValueError("the feed is gone")
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.1)
'''
DECLARED = """
definitions:
  pool: {name: nightdesk}
  queues: {writers: {priority: 1, concurrency_limit: 1}}
deployments:
  - name: nightly
    entrypoint: nights_of_a_test.nightly
    description: A night that does as it is told.
    work_pool: {name: nightdesk, work_queue_name: writers, job_variables: {env: {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: "30"}}}
    schedules: [{cron: "0 0 * * *", timezone: UTC, slug: nightly}]
"""
LONG_AGO = "2026-03-0"  # a month of nights that no schedule knows


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A server with the deployment, its settings, and the two places where people look."""

    server: Bare
    settings: Settings
    place: Posted

    @property
    def told(self) -> list[str]:
        """The keys of the alerts in the file, in order."""
        path = self.server.home / "alerts.jsonl"
        return [json.loads(line)["alert_key"] for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def sent(self) -> str:
        """All that the message service was sent."""
        return "\n".join(message["message"] for message in self.place.messages)

    def start(self, **parameters: object) -> str:
        found = self.server.get("/deployments/name/nightly/nightly")
        return str(self.server.post(f"/deployments/{found['id']}/create_flow_run", {"parameters": parameters})["id"])

    def state(self, run: str) -> dict[str, Any]:
        return dict(self.server.get(f"/flow_runs/{run}")["state"])

    def reaches(self, run: str, kind: str) -> None:
        until(lambda: self.state(run)["type"] == kind, lambda: f"{self.state(run)}\n{self.server.logs()}")

    def look(self, now: dt.datetime | None = None) -> None:
        """As a watchdog would that was started just now, so that nothing is left in its own memory."""
        Watchdog(self.settings, server=self.server.api_url).look(now or dt.datetime.now(dt.UTC))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings

    folder = tmp_path_factory.mktemp("watched")
    (folder / "nights_of_a_test.py").write_text(FLOWS, encoding="utf-8")
    (folder / "prefect.yaml").write_text(DECLARED, encoding="utf-8")
    with posted() as place, bare_server(folder) as server, pytest.MonkeyPatch.context() as patch:
        (folder / "nightdesk.toml").write_text(
            '[[sources]]\nname = "files"\nkind = "csv"\nlocation = "{night}.csv"\ntimezone = "UTC"\n'
            # a little more than the half minute between two heartbeats; a night's time is as short as the server allows, times three
            "[operate]\nsilent_minutes = 1.0\nnight_minutes = 0.5\nlate_minutes = 60\n"
            '[alerting.sinks.jsonl]\npath = "{home}/alerts.jsonl"\n'
            f'[alerting.sinks.apprise.urls]\ndesk = "{place.url}"\n',
            encoding="utf-8",
        )
        done = server.call("deploy", "--file", str(folder / "prefect.yaml"))
        assert done.returncode == 0, done.stderr
        patch.setenv("NIGHTDESK_HOME", str(server.home))
        settings = load(str(folder / "nightdesk.toml"))
        with temporary_settings({PREFECT_API_AUTH_STRING: KEY}):
            yield Watched(server=server, settings=settings, place=place)


def test_a_night_that_fails_twice_is_told_once_in_both_places(watched: Watched) -> None:
    with watched.server.worker():
        for _ in range(2):
            watched.reaches(watched.start(night=f"{LONG_AGO}1", fail=True), "FAILED")
            watched.look()
    watched.look()
    assert watched.told.count(f"pipeline failed night {LONG_AGO}1") == 1
    assert watched.sent.count(f"Night {LONG_AGO}1 failed") == 1
    assert "the feed is gone" in watched.sent


def test_a_killed_night_is_told_as_crashed_by_a_watchdog_that_was_killed_too(watched: Watched) -> None:
    with watched.server.worker():
        run = watched.start(night=f"{LONG_AGO}2", seconds=600)
        watched.reaches(run, "RUNNING")
        _of_run(run).kill()
        watched.reaches(run, "CRASHED")
    with _watchdog(watched) as dog:
        key = f"pipeline crashed night {LONG_AGO}2"
        until(lambda: key in watched.told and f"Night {LONG_AGO}2 crashed" in watched.sent)
        kill(dog)
    with _watchdog(watched):
        until(lambda: _signs(watched) >= 2, lambda: str(_signs(watched)))
    watched.look()
    assert watched.told.count(key) == 1
    assert watched.sent.count(f"Night {LONG_AGO}2 crashed") == 1


def test_a_night_that_takes_too_long_is_cancelled_by_the_server_and_told(watched: Watched) -> None:
    with watched.server.worker():
        run = watched.start(night=f"{LONG_AGO}3", seconds=600)
        watched.reaches(run, "CANCELLED")
    for _ in range(2):
        watched.look()
    assert watched.told.count(f"pipeline timed_out night {LONG_AGO}3") == 1
    assert watched.sent.count(f"Night {LONG_AGO}3 took longer") == 1


def test_a_night_whose_process_and_worker_died_is_set_crashed_and_told_as_dead(watched: Watched) -> None:
    with _nights_may_be_long(watched), watched.server.worker() as worker:
        run = watched.start(night=f"{LONG_AGO}4", seconds=600)
        watched.reaches(run, "RUNNING")
        until(lambda: _events(watched, "prefect.flow-run.heartbeat", run))
        flow = _of_run(run)
        kill(worker)
        with contextlib.suppress(psutil.NoSuchProcess):
            flow.kill()
        assert watched.state(run)["type"] == "RUNNING"
        watched.reaches(run, "CRASHED")
    for _ in range(2):
        watched.look()
    assert watched.told.count(f"pipeline zombie night {LONG_AGO}4") == 1
    assert watched.sent.count(f"Night {LONG_AGO}4 is dead") == 1


def test_a_night_without_a_worker_is_told_as_late_and_one_without_a_run_as_missing(watched: Watched) -> None:
    due = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=61)
    found = watched.server.get("/deployments/name/nightly/nightly")
    state = {"type": "SCHEDULED", "state_details": {"scheduled_time": due.isoformat()}}
    body = {"parameters": {"night": f"{LONG_AGO}5"}, "state": state}
    watched.server.post(f"/deployments/{found['id']}/create_flow_run", body)
    watched.server.post(f"/deployments/{found['id']}/pause_deployment", {})  # its runs to come are gone
    to_come = {"flow_runs": {"expected_start_time": {"after_": dt.datetime.now(dt.UTC).isoformat()}}}
    until(lambda: not watched.server.post("/flow_runs/filter", to_come))
    tomorrow = dt.datetime.now(dt.UTC) + dt.timedelta(hours=26)
    for _ in range(2):
        watched.look(tomorrow)
    assert watched.told.count(f"pipeline late night {LONG_AGO}5") == 1
    missing = [key for key in watched.told if key.startswith("pipeline missing")]
    assert missing
    assert len(missing) == len(set(missing))
    assert "paused" in watched.sent
    watched.server.post(f"/deployments/{found['id']}/resume_deployment", {})


def test_a_server_that_does_not_answer_is_told_after_a_while_once(watched: Watched) -> None:
    noon = dt.datetime.now(dt.UTC).replace(hour=12)  # the alert is one a day
    dog, now = Watchdog(watched.settings, server="http://127.0.0.1:9/api"), noon
    dog.look(now)
    assert not [key for key in watched.told if key.startswith("pipeline server")]
    for minutes in (2, 3, 4):
        dog.look(now + dt.timedelta(minutes=minutes))
    assert len([key for key in watched.told if key.startswith("pipeline server")]) == 1
    assert watched.sent.count("has not answered") == 1
    assert KEY not in watched.sent


def test_the_server_itself_tells_of_a_watchdog_that_fell_silent_but_not_of_one_that_was_stopped(
    watched: Watched,
) -> None:
    silent = "the watchdog is silent"
    with _watchdog(watched) as stopped:
        before = _signs(watched)
        until(lambda: _signs(watched) > before)
        stopped.terminate()
        stopped.wait(60)
    until(lambda: _events(watched, "nightdesk.watchdog.stopped", "nightdesk.watchdog") > 0)
    titles = [message["title"] for message in watched.place.messages]
    with _watchdog(watched) as dog:
        before = _signs(watched)
        until(lambda: _signs(watched) > before)
        kill(dog)
    until(
        lambda: (
            len([one for one in watched.place.messages if silent in one["title"]])
            > sum(silent in one for one in titles)
        ),
        watched.server.logs,
    )


@contextlib.contextmanager
def _watchdog(watched: Watched) -> Iterator[Any]:
    """The watchdog as `nightdesk up` starts it."""
    folder = watched.server.folder
    with started(("-m", "flows", "watchdog", "--every", "1"), folder / "watchdog.log", watched.server.environ) as dog:
        yield dog


def _of_run(run: str) -> psutil.Process:
    """The innermost process of a run: the flow itself."""
    found: list[tuple[int, int]] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("PREFECT__FLOW_RUN_ID", "").replace("-", "") == run.replace("-", ""):
                found.append((len(process.parents()), process.pid))
    return psutil.Process(max(found)[1])


def _events(watched: Watched, name: str, resource: str) -> int:
    asked = {
        "filter": {
            "event": {"name": [name]},
            "resource": {"id": [resource if "." in resource else f"prefect.flow-run.{resource}"]},
        }
    }
    return int(watched.server.post("/events/filter", asked)["total"])


def _signs(watched: Watched) -> int:
    return _events(watched, "nightdesk.watchdog.alive", "nightdesk.watchdog")


@contextlib.contextmanager
def _nights_may_be_long(watched: Watched) -> Iterator[None]:
    """Without the automation that cancels long nights, which here are half a minute."""
    found = next(one for one in watched.server.post("/automations/filter", {}) if "too long" in one["name"])

    def enabled(value: bool) -> None:
        watched.server.ask("PATCH", f"/automations/{found['id']}", {"enabled": value}).raise_for_status()

    enabled(False)
    try:
        yield
    finally:
        enabled(True)

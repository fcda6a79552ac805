"""A desk whose nights take seconds: a tiny model over a few hundred articles, on Ray, with alerts that go to a file and over HTTP.

Runs are started, tried again and cancelled over the REST API, as the UI does it. Every night has a lake and a place for its messages of its
own, so that nights do not share what a test counts.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import random
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import httpx
import psutil

from flows.operate import places, supervised
from flows.operate.leftovers import RUN
from flows.operate.probes import works
from tasks import processes
from tasks.lake import Lake
from tests.flows.operate import tiny
from tests.flows.operate.bare import Posted, posted
from tests.flows.operate.running import RunningDesk, desk_at, running
from tests.flows.test_night import tables
from tests.tasks.conftest import NAMES, WORDS
from tests.waiting import until as wait_until

NIGHT = "2026-03-02"
ARTICLES, ROWS_PER_SHARD = 320, 8
PATIENCE_SECONDS = 420
RAY_WORKER = "ray::MapWorker"
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
UNDER_WAY = ("PENDING", "RUNNING", "CANCELLING")
SETTINGS = """
timezone = "UTC"
cutoff = "22:00"
[limits]
max_failed_share = 0.9
[scoring]
model = "{bundle}"
backend = "torch"
[cluster]
min_rows = 1
rows_per_shard = {rows_per_shard}
workers = 2
threads_per_worker = 1
[operate]
catch_up_nights = 0
[[sources]]
name = "wire"
kind = "json"
location = "{folder}/wire.jsonl"
[[sources]]
name = "gone"
kind = "json"
location = "{folder}/gone.jsonl"
[alerting.monitors.source_failed]
[alerting.monitors.contract_failures]
max_share = 0.001
min_failed = 1
[alerting.sinks.jsonl]
[alerting.sinks.apprise.urls]
desk = "{place}"
"""


@dataclass(frozen=True, kw_only=True)
class ShortNights:
    """A running desk, and what it takes to make a night of its own."""

    desk: RunningDesk
    folder: Path
    bundle: Path
    temporary: Path
    place: Posted  # where the watchdog tells of runs

    @contextlib.contextmanager
    def fresh(self, name: str) -> Iterator[ShortNight]:
        """A night that nobody has run."""
        with posted() as place:
            settings = self.folder / f"{name}.toml"
            settings.write_text(settings_of(self.folder, self.bundle, place.url), encoding="utf-8")
            yield ShortNight(of=self, lake=self.folder / name, settings=settings, place=place)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask the server."""
        return ask(self.desk, method, path, body)

    def under_way(self) -> list[str]:
        """The runs that the server takes for alive."""
        found = self.ask("POST", "/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": UNDER_WAY}}}})
        return [f"{one['name']}: {one['state']['type']}" for one in found]

    def left_of_ray(self) -> list[str]:
        """The folders that sessions of Ray have left."""
        return [path.name for path in self.temporary.glob("nd-*")]

    def events(self, event: str, run: str) -> int:
        """How many events of this name about a run the server has heard."""
        about = {"event": {"name": [event]}, "any_resource": {"id": [f"prefect.flow-run.{run}"]}}
        return int(self.ask("POST", "/events/filter", {"filter": about})["total"])

    def pid(self, program: str) -> int:
        """The process of one of the desk's programs."""
        return self.desk.pid(program)

    def await_back(self, program: str, before: int) -> None:
        """Wait until a program that was ended answers again."""
        where = places.recall(self.desk.home)
        assert where is not None

        def back() -> bool:
            state = supervised.states(self.desk.home)[program]
            return state.pid not in (0, before) and works(where, state)

        wait_until(back, lambda: tiny.logs(self.desk), seconds=PATIENCE_SECONDS)


@dataclass(kw_only=True)
class ShortNight:
    """A night in a lake of its own, and the run of it that is looked at."""

    of: ShortNights
    lake: Path
    settings: Path
    place: Posted
    run: str = ""
    told: list[str] = field(default_factory=list)

    def start(self, deployment: str = "nightly/nightly", **given: object) -> str:
        """Start a run as the UI does, by default of the night; returns its id."""
        parameters = {"settings_file": str(self.settings), **(given or {"night": NIGHT, "lake": str(self.lake)})}
        found = self.of.ask("GET", f"/deployments/name/{deployment}")
        once = {"parameters": parameters, "idempotency_key": uuid4().hex}
        self.run = str(self.of.ask("POST", f"/deployments/{found['id']}/create_flow_run", once)["id"])
        return self.run

    def set_state(self, kind: str, name: str, run: str | None = None) -> None:
        """Try a run again or cancel it, as the UI does."""
        state = {"type": kind, "name": name, "message": "from a test"}
        done = self.of.ask("POST", f"/flow_runs/{run or self.run}/set_state", {"state": state})
        assert done["status"] == "ACCEPT", done

    def retry(self) -> None:
        """Let the run be tried again."""
        self.set_state("SCHEDULED", "AwaitingRetry")

    def state(self, run: str | None = None) -> dict[str, Any]:
        """The state of a run; nothing while the server is away."""
        with contextlib.suppress(httpx.HTTPError), self.of.desk.client() as client:
            return dict(client.get(f"/flow_runs/{run or self.run}").raise_for_status().json()["state"])
        return {"type": "", "message": "the server does not answer"}

    def reaches(self, among: Collection[str], run: str | None = None) -> str:
        """Wait until a run's state is one of these; returns it."""
        return str(
            wait_until(
                lambda: found if (found := self.state(run)["type"]) in among else None,
                lambda: f"{self.state(run)}\n{self.said(run)}\n{tiny.logs(self.of.desk)}",
                seconds=PATIENCE_SECONDS,
            )
        )

    def said(self, run: str | None = None) -> str:
        """The log of a run on its page."""
        asked = {"logs": {"flow_run_id": {"any_": [run or self.run]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
        return "\n".join(str(one["message"]) for one in self.of.ask("POST", "/logs/filter", asked))

    def processes(self, run: str | None = None) -> list[psutil.Process]:
        """Every process of a run, Ray's too, wherever it hangs in the tree."""
        found = []
        for process in self.of.desk.processes():
            with contextlib.suppress(psutil.Error):
                if _plain(process.environ().get(RUN, "")) == _plain(run or self.run):
                    found.append(process)
        return found

    def flow(self) -> list[psutil.Process]:
        """The process that the worker started for the run."""
        of_run = {process.pid: process for process in self.processes()}
        found = []
        for process in of_run.values():
            with contextlib.suppress(psutil.Error):
                if process.ppid() not in of_run and "prefect." in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def ray(self, *names: str, run: str | None = None) -> list[psutil.Process]:
        """Ray's processes of a run that are called so."""
        found = []
        for process in self.processes(run):
            with contextlib.suppress(psutil.Error):
                called = process.name().startswith(names) or " ".join(process.cmdline()).startswith(names)
                if called and processes.lives(process):
                    found.append(process)
        return found

    def shards(self) -> int:
        """How many shards are scored."""
        return sum(name.endswith("-articles") for name in Lake.open(str(self.lake)).stage(_night()).names())

    def alerts(self) -> list[str]:
        """The keys in the file, in order."""
        path = self.lake / "_alerts" / "alerts.jsonl"
        return [json.loads(line)["alert_key"] for line in path.read_text().splitlines()] if path.exists() else []

    def assert_as(self, undisturbed: ShortNight) -> None:
        """Published as if nothing had happened, and nothing left of what did."""
        expected = tables(undisturbed.lake, NIGHT)
        for name, frame in tables(self.lake, NIGHT).items():
            assert frame.equals(expected[name]), f"{name} differs: {self.told}"
        assert self.alerts() == undisturbed.alerts(), self.told
        self.assert_sent_at_most_once(len(undisturbed.place.messages))
        self.assert_nothing_runs()
        lake = Lake.open(str(self.lake))
        with lake.lock(_night(), run_id="test"):
            assert lake.stage(_night()).names() == []
            stray = [path for path in (self.lake / "_tmp").rglob("*") if path.is_file()]
            assert self.told or not stray, "nothing was killed"
            assert lake.repair() == []  # it sweeps what a process left that was killed after the run had done so
            assert [path for path in (self.lake / "_tmp").rglob("*") if path.is_file()] == []

    def assert_sent_at_most_once(self, once: int) -> None:
        """A message service cannot be asked what arrived; so what a killed run was sending then is not sent again, and noted."""
        sent = len(self.place.messages)
        noted = Lake.open(str(self.lake)).read_state("notified apprise/desk.json") or ""
        assert sent == once or (sent < once and "uncertain" in noted), (self.place.messages, self.told)

    def assert_nothing_runs(self) -> None:
        """No process of the run, no folder of a killed Ray, and no run that the server takes for alive."""
        wait_until(lambda: not self.processes(), lambda: str([one.cmdline() for one in self.processes()]))
        assert self.of.left_of_ray() == [], self.told
        wait_until(lambda: not self.of.under_way(), lambda: str(self.of.under_way()))


@contextlib.contextmanager
def scoring_held(night: ShortNight) -> Iterator[None]:
    """The actors that score stand still for the length of the block, so that what happens in it happens while a night is scored."""
    done, held = Event(), set[psutil.Process]()

    def hold() -> None:
        while not done.wait(0.05):
            for process in set(night.ray(RAY_WORKER)) - held:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.suspend()
                    held.add(process)

    thread = Thread(target=hold)
    thread.start()
    try:
        wait_until(lambda: held, lambda: f"{night.state()} {night.said()}", seconds=PATIENCE_SECONDS)
        yield
    finally:
        done.set()
        thread.join()
        for process in held:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


def ask(desk: RunningDesk, method: str, path: str, body: object = None) -> Any:
    """Ask the server, which may be away for a while."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        with contextlib.suppress(httpx.TransportError), desk.client() as client:
            answer = client.request(method, path, json=body)
            assert answer.is_success, answer.text
            return answer.json() if answer.content else None
        assert time.monotonic() < end, tiny.logs(desk)
        time.sleep(0.5)


def pause(desk: RunningDesk, deployment: str) -> None:
    """Let no schedule start a run while a test does."""
    ask(desk, "POST", f"/deployments/{deployment}/pause_deployment", {})


def settings_of(folder: Path, bundle: Path, place: str) -> str:
    """The settings file's text."""
    return SETTINGS.format(folder=folder, bundle=bundle, place=place, rows_per_shard=ROWS_PER_SHARD)


@contextlib.contextmanager
def short_nights(folder: Path, bundle: Path, **environ: str) -> Iterator[ShortNights]:
    """The desk up and deployed inside the block, and nothing of it afterwards."""
    (folder / "wire.jsonl").write_text(_news(), encoding="utf-8")
    temporary = Path(tempfile.mkdtemp(prefix="nk-", dir="/tmp"))  # short enough for Ray's sockets
    given = {"NIGHTDESK_SETTINGS": str(folder / "desk.toml"), "TMPDIR": str(temporary), "PREFECT_WORKER_QUERY_SECONDS": "2"}  # fmt: skip
    try:
        with posted() as place:
            (folder / "desk.toml").write_text(settings_of(folder, bundle, place.url), encoding="utf-8")
            with running(desk_at(folder / "home", **given, **environ)) as desk:
                done = desk.call("deploy")
                assert done.returncode == 0, done.stderr[-4000:]
                for one in ask(desk, "POST", "/deployments/filter", {}):
                    pause(desk, one["id"])
                yield ShortNights(desk=desk, folder=folder, bundle=bundle, temporary=temporary, place=place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _news() -> str:
    """Articles of words that the model knows, and two lines that are none."""
    luck, lines = random.Random(11), []
    for number in range(ARTICLES):
        words, name = WORDS[luck.choice(list(WORDS))], luck.choice(NAMES["ORG"])
        body = f"{name} {luck.choice(words)} today in a quarter. " * luck.randint(1, 12)
        time = f"{NIGHT}T{number % 20:02d}:{number % 60:02d}:00Z"
        row = {"title": f"{name} said {luck.choice(words)} {number}", "body": body, "published": time}
        lines.append(json.dumps(row | {"url": f"https://news.example/{number}"}))
    return "\n".join([*lines, "{cut", '{"title": ""}', ""])


def _night() -> dt.date:
    return dt.date.fromisoformat(NIGHT)


def _plain(run: str) -> str:
    return run.replace("-", "").lower()

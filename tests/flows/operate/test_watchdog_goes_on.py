"""What must not end or silence the watchdog: an odd run, a lake that cannot be opened, settings that change, a part that fails.

And that one which fails at every look is seen. No server is needed.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import ObjectNotFound
from prefect.server.schemas.schedules import CronSchedule

from flows.cleanup import cleanup
from flows.forms import schema_of
from flows.operate import watchdog
from flows.operate.probes import mark
from flows.operate.server import ServerUnreachable
from flows.operate.watchdog import HORIZON, Watchdog
from flows.sections import LEAST_DAYS_KEPT
from flows.settings import Settings, load

SOURCES = '[[sources]]\nname = "files"\nkind = "csv"\nlocation = "{night}.csv"\ntimezone = "UTC"\n'
NOW = dt.datetime.now(dt.UTC)
NIGHTLY = uuid4()


class Server:
    """As much of a client of a Prefect server as the watchdog asks for."""

    def __init__(self) -> None:
        self.runs: list[FlowRun] = []
        self.nightly: Any = None
        self.answers = True
        self.signs = 0

    def fails(self, night: str) -> None:
        state = State(type=StateType.FAILED, name="Failed", message="no feed", timestamp=NOW)
        given = {"parameters": {"night": night}, "expected_start_time": NOW, "deployment_id": NIGHTLY, "state": state}
        self.runs.append(FlowRun(flow_id=uuid4(), name=f"nightly {night}", **given))

    def read_flow_runs(self, **asked: Any) -> list[FlowRun]:
        return self.runs

    def read_deployments(self, **asked: Any) -> list[Any]:
        return [SimpleNamespace(id=NIGHTLY, name="nightly")]

    def read_deployment_by_name(self, name: str) -> Any:
        if self.nightly is None:
            raise ObjectNotFound(ValueError(name))
        return self.nightly

    def request(self, *asked: Any, **given: Any) -> None:
        """Takes a sign of life."""
        self.signs += 1


class Steps:
    """Stands for the flag that ends a watch: at each pause one of these is done, and after the last the watch ends."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self._left = list(steps)
        self._ended = False

    def is_set(self) -> bool:
        return self._ended

    def wait(self, seconds: float) -> None:
        if self._left:
            self._left.pop(0)()
        else:
            self._ended = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    there = Server()

    @contextmanager
    def connected(given: str | None, settings: Settings) -> Iterator[Server]:
        if not there.answers:
            raise ServerUnreachable("no Prefect server answers")
        yield there

    monkeypatch.setattr(watchdog, "connected", connected)
    return there


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings file whose alerts go to a file beside it."""
    monkeypatch.setenv("NIGHTDESK_HOME", str(tmp_path / "home"))
    path = tmp_path / "desk.toml"
    write(path, tmp_path / "told.jsonl")
    return path


def write(path: Path, told: Path | str, operate: str = "") -> None:
    path.write_text(f'{SOURCES}[operate]\n{operate}[alerting.sinks.jsonl]\npath = "{told}"\n', encoding="utf-8")


def told(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line)["alert_key"] for line in lines]


@pytest.mark.parametrize("night", ["2026-02-31", "latest", ""])
def test_a_run_of_a_night_that_is_no_date_is_told_like_any_other(
    server: Server, file: Path, tmp_path: Path, night: str
) -> None:
    server.fails(night)
    server.fails("2026-03-01")
    Watchdog(load(str(file))).look(NOW)
    found = [key for key in told(tmp_path / "told.jsonl") if key.startswith("pipeline failed")]
    assert len(found) == 2
    assert "pipeline failed night 2026-03-01" in found


def test_a_lake_that_is_too_new_keeps_no_other_place_from_being_told(
    server: Server, file: Path, tmp_path: Path
) -> None:
    spoil(load(str(file)))
    server.fails("2026-03-01")
    Watchdog(load(str(file))).look(NOW)
    assert "pipeline failed night 2026-03-01" in told(tmp_path / "told.jsonl")


def test_a_place_in_a_lake_that_is_too_new_is_told_once_the_lake_can_be_opened(server: Server, file: Path) -> None:
    write(file, "_alerts/alerts.jsonl")
    settings = load(str(file))
    mark = spoil(settings)
    server.fails("2026-03-01")
    dog = Watchdog(settings)
    (outcome,) = [one for one in dog.look(NOW) if one.failed]
    assert "layout version 99" in str(outcome.error)
    mark.unlink()
    dog.look(NOW + dt.timedelta(days=1))
    assert "pipeline failed night 2026-03-01" in told(Path(settings.lake) / "_alerts" / "alerts.jsonl")


def spoil(settings: Settings) -> Path:
    mark = Path(settings.lake) / "_lake.json"
    mark.parent.mkdir(parents=True)
    mark.write_text('{"format": 99}', encoding="utf-8")
    return mark


def test_changed_settings_are_gone_by_and_broken_ones_are_logged_once(
    server: Server, file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, watchdog.__name__)
    logging.getLogger(watchdog.__name__).addHandler(caplog.handler)
    dog = Watchdog(load(str(file)), file=file)
    try:
        dog.watch(
            Steps(  # type: ignore[arg-type]
                lambda: (server.fails("2026-03-01"), file.write_text("alerting = [", encoding="utf-8")),
                lambda: server.fails("2026-03-02"),
                lambda: (server.fails("2026-03-03"), write(file, tmp_path / "elsewhere.jsonl")),
                lambda: (server.fails("2026-03-04"), file.unlink()),
            ),
            every_seconds=1,
        )
    finally:
        logging.getLogger(watchdog.__name__).removeHandler(caplog.handler)
    assert [f"pipeline failed night 2026-03-0{day}" in told(tmp_path / "told.jsonl") for day in (1, 2, 3, 4)] == [
        True, True, False, False,
    ]  # fmt: skip
    assert [f"pipeline failed night 2026-03-0{day}" in told(tmp_path / "elsewhere.jsonl") for day in (3, 4)] == [
        True, True,
    ]  # fmt: skip
    said = {record.getMessage() for record in caplog.records if "not gone by" in record.getMessage()}
    assert len(said) == 2
    assert any("is not TOML" in one for one in said)
    assert any("is not there" in one for one in said)


def test_a_schedule_that_has_moved_makes_no_night_before_a_missing_one(
    server: Server, file: Path, tmp_path: Path
) -> None:
    moved = f"{NOW.minute} {NOW.hour} * * *"
    weekly = f"{NOW.minute} {NOW.hour} * * {(NOW.isoweekday() + 2) % 7}"  # the last time was five days ago
    server.nightly = deployed(moved)
    write(file, tmp_path / "told.jsonl", f'schedule = "{weekly}"\n')
    dog = Watchdog(load(str(file)), file=file)
    change = Steps(lambda: write(file, tmp_path / "told.jsonl", f'schedule = "{moved}"\n'))
    dog.watch(change, every_seconds=1)  # type: ignore[arg-type]
    assert told(tmp_path / "told.jsonl") == []
    dog.look(NOW + HORIZON)
    assert any(key.startswith("pipeline missing") for key in told(tmp_path / "told.jsonl"))


def test_a_missing_night_says_where_the_server_has_another_schedule(server: Server, file: Path, tmp_path: Path) -> None:
    server.nightly = deployed("0 1 * * *")
    Watchdog(load(str(file))).look(NOW)
    assert "nightdesk deploy" in (tmp_path / "told.jsonl").read_text(encoding="utf-8")


def deployed(cron: str) -> SimpleNamespace:
    schedule = SimpleNamespace(active=True, schedule=CronSchedule(cron=cron, timezone="UTC"))
    return SimpleNamespace(created=NOW - dt.timedelta(days=30), paused=False, schedules=[schedule])


def test_a_schedule_that_is_no_cron_is_not_gone_by_and_a_failed_night_is_told(
    server: Server, file: Path, tmp_path: Path
) -> None:
    dog = Watchdog(load(str(file)), file=file)

    def change() -> None:
        write(file, tmp_path / "elsewhere.jsonl", 'schedule = "15 25 * * *"\n')
        server.fails("2026-03-01")

    dog.watch(Steps(change), every_seconds=1)  # type: ignore[arg-type]
    assert "pipeline failed night 2026-03-01" in told(tmp_path / "told.jsonl")
    assert told(tmp_path / "elsewhere.jsonl") == []


def test_a_part_that_fails_keeps_no_other_from_being_told_but_its_look_is_no_sign_of_life(
    server: Server, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(str(file))
    mark(settings.home).parent.mkdir(parents=True)
    server.fails("2026-03-01")
    with monkeypatch.context() as patch:
        patch.setattr(Watchdog, "_due", lambda *given: 1 / 0)
        Watchdog(settings).look(NOW)
    assert told(tmp_path / "told.jsonl") == ["pipeline failed night 2026-03-01"]
    assert server.signs == 0
    assert not mark(settings.home).exists()
    Watchdog(settings).look(NOW)
    assert server.signs == 1
    assert mark(settings.home).exists()


def test_a_server_is_silent_since_it_answered_last_and_its_watchdog_works_meanwhile(
    server: Server, file: Path, tmp_path: Path
) -> None:
    settings = load(str(file))
    mark(settings.home).parent.mkdir(parents=True)
    server.nightly = deployed(settings.operate.schedule)
    server.nightly.created = NOW
    dog = Watchdog(settings)
    for minutes, server.answers in ((0, False), (4, False), (6, True), (8, False), (12, False)):
        dog.look(NOW + dt.timedelta(minutes=minutes))
        assert told(tmp_path / "told.jsonl") == []
    assert mark(settings.home).exists()
    dog.look(NOW + dt.timedelta(minutes=14))
    assert [key[: len("pipeline server")] for key in told(tmp_path / "told.jsonl")] == ["pipeline server"]


def test_no_clean_up_takes_away_a_run_that_the_watchdog_looks_for(file: Path) -> None:
    assert dt.timedelta(days=LEAST_DAYS_KEPT) > HORIZON
    assert schema_of(cleanup)["properties"]["keep_days"]["minimum"] == LEAST_DAYS_KEPT
    command = [sys.executable, "-m", "flows", "cleanup", "--keep-days", str(LEAST_DAYS_KEPT - 1)]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr

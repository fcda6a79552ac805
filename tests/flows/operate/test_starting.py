"""`nightdesk up`, `down` and `status` in the odd cases that need no program: settings changed meanwhile, an odd home or host, a change of mind."""

from __future__ import annotations

import datetime as dt
import json
import os
import socket
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from flows.operate import pages, places, probes, starting, stopping
from flows.operate.automations import NO_BEGIN
from flows.operate.places import HomeRefused, Places
from flows.operate.programs import environment, places_of
from flows.operate.starting import CannotListen, OtherDesk, await_all, cannot_listen, programs, up
from flows.operate.stopping import down
from flows.operate.supervised import NotStarted, State
from flows.settings import Settings, load
from tasks.secrecy import keep

SOURCES = '[[sources]]\nname = "files"\nkind = "csv"\nlocation = "{night}.csv"\ntimezone = "UTC"\n'


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with a short name: a home's path must leave room for a socket's."""
    return tmp_path_factory.mktemp("up")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NIGHTDESK_HOME", str(tmp_path / "home"))
    path = tmp_path / "desk.toml"
    path.write_text(SOURCES, encoding="utf-8")
    return path


@pytest.fixture
def settings(file: Path) -> Settings:
    return load(str(file))


@pytest.fixture
def running(settings: Settings, file: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """A desk of which all that is asked here is answered as by one that runs."""
    where = places_of(settings, file)
    places.make(settings.home)
    places.write(where)
    monkeypatch.setattr(places, "alive", lambda home: True)
    monkeypatch.setattr(starting, "await_all", lambda *given, **named: None)
    return where


def test_up_says_where_a_running_desk_has_other_settings_than_the_file_has_now(running: Places, file: Path) -> None:
    said: list[str] = []
    up(load(str(file)), file, {}, said.append)
    assert said == []
    file.write_text(f"{SOURCES}[operate]\nlate_minutes = 7\n", encoding="utf-8")
    for _ in range(2):
        where, ran = up(load(str(file)), file, {}, said.append)
        assert ran
        assert where == running
    assert len(said) == 2
    assert "nightdesk down" in said[0]
    file.write_text(f'{SOURCES}[operate]\npool = "another"\n', encoding="utf-8")
    with pytest.raises(OtherDesk, match="pool is nightdesk, asked is another"):
        up(load(str(file)), file, {}, said.append)


def test_what_an_older_version_wrote_of_a_running_desk_is_read(running: Places, file: Path) -> None:
    path = places.folder(Path(running.home)) / "places.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    del written["settings_digest"]
    path.write_text(json.dumps(written), encoding="utf-8")
    assert places.recall(Path(running.home)) == replace(running, settings_digest="")
    said: list[str] = []
    up(load(str(file)), file, {}, said.append)
    assert said == []


LAKES = ("s3://key:${A_LAKES}@bucket/lake", "s3://bucket/lake?secret_key=${A_LAKES}", "s3://bucket/${A_LAKES}/lake")


@pytest.fixture(params=LAKES, ids=["password", "query", "path"])
def secretive(request: pytest.FixtureRequest, file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings file of a desk whose lake and MLflow are reached with secrets; it runs as far as is asked here."""
    monkeypatch.setenv("A_LAKES", "first-of-the-lake")
    monkeypatch.setenv("A_TRACKERS", "first-of-mlflow")
    monkeypatch.setattr(starting, "await_all", lambda *given, **named: None)
    monkeypatch.setattr(starting.leftovers, "await_ports", lambda ports: None)
    monkeypatch.setattr(starting, "cannot_listen", lambda *given: None)
    monkeypatch.setattr(starting.supervised, "start", lambda *given: None)
    tracker = 'tracking_uri = "http://desk:${A_TRACKERS}@mlflow.example"'
    file.write_text(f'lake = "{request.param}"\n{tracker}\n{SOURCES}', encoding="utf-8")
    _, ran = up(load(str(file)), file, {}, print)
    assert not ran
    monkeypatch.setattr(places, "alive", lambda home: True)
    return file


def test_no_secret_of_an_address_is_written_and_the_programs_have_it_all_the_same(secretive: Path) -> None:
    settings = load(str(secretive))
    written = (places.folder(settings.home) / "places.json").read_text(encoding="utf-8")
    assert "first-of" not in written
    assert "s3://bucket/" in written
    assert "http://mlflow.example" in written
    where, ran = up(settings, secretive, {}, print)
    assert ran
    assert "first-of" not in str(where)
    given = environment(settings, where, {"NIGHTDESK_LAKE": "as it is"})
    assert "first-of-the-lake" in given["NIGHTDESK_LAKE"]


@pytest.mark.parametrize("name", ["A_LAKES", "A_TRACKERS"])
def test_a_new_secret_is_said_to_be_one_and_neither_it_nor_the_old_one_is_shown(
    secretive: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "second-one")
    with pytest.raises(
        OtherDesk, match=r"with another user, key or query .*after a new secret, `nightdesk down`"
    ) as told:
        up(load(str(secretive)), secretive, {}, print)
    assert "asked is" not in str(told.value), "it is the same place"
    assert not [one for one in ("first-of", "second-one") if one in str(told.value)]


def test_what_an_older_version_wrote_with_secrets_is_read_without_and_is_there_no_more(secretive: Path) -> None:
    settings = load(str(secretive))
    path = places.folder(settings.home) / "places.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    written.pop("secrets_digest", None)
    path.write_text(json.dumps(written | {"lake": settings.lake, "mlflow_url": settings.mlflow_uri}), encoding="utf-8")
    assert "first-of" not in str(places.recall(settings.home))
    _, ran = up(settings, secretive, {}, print)
    assert ran
    assert "first-of" not in path.read_text(encoding="utf-8")


def test_another_lake_is_told_without_its_secrets(secretive: Path) -> None:
    settings = load(str(secretive))
    other = settings.model_copy(update={"lake": settings.lake.replace("bucket", "pail")})
    with pytest.raises(OtherDesk, match=r"lake is s3://bucket/.*, asked is s3://pail/") as told:
        up(other, secretive, {}, print)
    assert "first-of" not in str(told.value)


def test_nobody_else_may_look_into_what_an_earlier_command_made(tmp_path: Path) -> None:
    (tmp_path / "prefect").mkdir(mode=0o755)
    places.make(tmp_path)
    for path in (tmp_path / "prefect", places.folder(tmp_path), places.folder(tmp_path) / "logs"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["100%", "desk #2", "desk ;2", "desk\t#2", "a\nb"])
def test_a_home_that_the_supervisor_cannot_be_told_is_refused_before_it_is_made(name: str, settings: Settings) -> None:
    home = settings.home / name
    with pytest.raises(HomeRefused, match="NIGHTDESK_HOME"):
        up(settings.model_copy(update={"home": home}), Path("desk.toml"), {}, print)
    assert not home.exists()


@pytest.mark.parametrize("name", ["desk#2", "desk;2", "our desk", "a'b"])
def test_a_home_that_is_merely_unusual_is_allowed(name: str, tmp_path: Path) -> None:
    places.control(Path("/h") / name)


def test_whoever_interrupts_down_has_a_pool_that_goes_on(running: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*given: Any) -> None:
        (places.folder(Path(running.home)) / starting.PAUSED).touch()
        raise KeyboardInterrupt

    asked: list[tuple[str, object]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.url.path, json.loads(request.content)))
        return httpx.Response(204)

    monkeypatch.setattr(stopping, "_drain", interrupted)
    _answer_with(answer, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        down(Path(running.home), 0, print)
    assert asked == [("/api/work_pools/nightdesk", {"is_paused": False})]
    assert not (places.folder(Path(running.home)) / starting.PAUSED).exists()
    assert places.recall(Path(running.home)) == running


@dataclass
class Clock:
    """Stands in for the module `time`: sleeping takes no time."""

    now: float

    def time(self) -> float:
        return self.now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(("seconds_ago", "waited"), [(3600, 0), (10, 50)], ids=["long ago", "just now"])
def test_a_run_that_was_taken_and_not_begun_is_waited_for_as_long_as_a_worker_needs_and_then_given_up(
    seconds_ago: float, waited: float, running: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = dt.datetime(2026, 3, 2, 4, 0, tzinfo=dt.UTC)
    clock, set_to = Clock(now=began.timestamp()), []
    taken = {"id": "lost", "state": {"timestamp": (began - dt.timedelta(seconds=seconds_ago)).isoformat()}}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/set_state"):
            set_to.append((request.url.path, json.loads(request.content)))
        return httpx.Response(200, json=[taken] if request.url.path.endswith("/filter") else {"is_paused": True})

    monkeypatch.setattr(stopping, "time", clock)
    monkeypatch.setattr(stopping.leftovers, "runs", lambda home: {})
    _answer_with(answer, monkeypatch)
    said: list[str] = []
    stopping._drain(Path(running.home), running, 10, said.append)
    assert clock.now - began.timestamp() == pytest.approx(waited, abs=3)
    ((path, asked),) = set_to
    assert path == "/api/flow_runs/lost/set_state"
    assert (asked["state"]["type"], asked["state"]["message"], asked["force"]) == ("CRASHED", NO_BEGIN, False)
    assert "never began" in said[-1]


def test_a_run_that_has_a_process_is_waited_for_and_never_given_up(
    running: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = dt.datetime(2026, 3, 2, 4, 0, tzinfo=dt.UTC)
    clock, asked = Clock(now=began.timestamp()), []
    taken = {"id": "slow", "state": {"timestamp": (began - dt.timedelta(hours=1)).isoformat()}}

    def here() -> bool:
        return clock.now < began.timestamp() + 300

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(
            200, json=([taken] if here() else []) if request.url.path.endswith("/filter") else {"is_paused": True}
        )

    monkeypatch.setattr(stopping, "time", clock)
    monkeypatch.setattr(stopping.leftovers, "runs", lambda home: {"slow": []} if here() else {})
    _answer_with(answer, monkeypatch)
    stopping._drain(Path(running.home), running, 10, print)
    assert clock.now - began.timestamp() == pytest.approx(300, abs=3)
    assert not [path for path in asked if path.endswith("/set_state")]


@pytest.mark.parametrize(
    ("seconds_ago", "began", "works"),
    [(10, 3600, True), (600, 3600, False), (50, 3600, True), (10, 5, False), (2, 5, True)],
    ids=["lately", "long ago", "the one before", "before it began", "since it began"],
)
def test_a_worker_works_while_it_has_been_heard_of_lately(
    seconds_ago: float, began: float, works: bool, running: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = dt.datetime(2026, 3, 2, 4, 0, tzinfo=dt.UTC)
    heard = [{"last_heartbeat_time": (now - dt.timedelta(seconds=seconds_ago)).isoformat()}]
    monkeypatch.setattr(probes, "time", SimpleNamespace(time=now.timestamp))
    _answer_with(lambda request: httpx.Response(200, json=heard), monkeypatch)
    worker = State(name="worker", state="RUNNING", pid=7, began=now.timestamp() - began, uptime_seconds=began, error="")
    assert probes.works(running, worker) is works


@pytest.mark.parametrize(
    ("seconds_ago", "began", "works"),
    [(10, 3600, True), (600, 3600, False), (50, 40, False), (None, 3600, False)],
    ids=["lately", "long ago", "the one before", "never"],
)
def test_a_watchdog_works_while_it_has_looked_lately(
    seconds_ago: float | None, began: float, works: bool, running: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = dt.datetime(2026, 3, 2, 4, 0, tzinfo=dt.UTC).timestamp()
    if seconds_ago is not None:
        mark = probes.mark(Path(running.home))
        mark.touch()
        os.utime(mark, (now - seconds_ago, now - seconds_ago))
    monkeypatch.setattr(probes, "time", SimpleNamespace(time=lambda: now))
    dog = State(name="watchdog", state="RUNNING", pid=7, began=now - began, uptime_seconds=began, error="")
    assert probes.works(running, dog) is works


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_a_host_that_is_none_of_this_machine_is_blamed_and_no_port(host: str, settings: Settings, file: Path) -> None:
    operate = settings.operate.model_copy(update={"host": host})
    with pytest.raises(CannotListen, match=r"server cannot listen on .*; set operate\.host to an address") as refused:
        up(settings.model_copy(update={"operate": operate}), file, {}, print)
    assert host in str(refused.value)
    assert "port" not in str(refused.value).partition(host)[2]


def test_a_port_that_is_taken_is_blamed_with_who_has_it(settings: Settings, file: Path) -> None:
    first, *_ = programs(settings, places_of(settings, file))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        program = replace(first, port=other.getsockname()[1])
        refused = cannot_listen("127.0.0.1", program)
    assert refused is not None
    assert f"process {os.getpid()} has it" in refused[0]
    assert "operate.server_port" in refused[1]
    assert cannot_listen("127.0.0.1", program) is None


def test_the_end_of_a_log_is_shown_without_secrets(
    settings: Settings, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = places_of(settings, file)
    places.make(settings.home)
    keep(["hunter2-of-the-database"])
    log = places.folder(settings.home) / "logs" / "server.log"
    log.write_text(f"no route to desk:hunter2-of-the-database@db\nkey {where.auth.partition(':')[2]}\n", "utf-8")
    dead = State(name="server", state="FATAL", pid=0, began=0, uptime_seconds=0, error="")
    monkeypatch.setattr(starting.supervised, "states", lambda home: {"server": dead})
    with pytest.raises(NotStarted) as refused:
        await_all(where, starting.programs(settings, where), print, fresh=True)
    assert "no route to desk:***@db" in str(refused.value)
    assert "key ***" in str(refused.value)


def test_the_ui_asks_the_address_at_which_it_was_found_unless_a_person_chose_another(
    settings: Settings, file: Path
) -> None:
    where = places_of(settings, file)
    places.make(settings.home)
    assert environment(settings, where, {})["PREFECT_SERVER_UI_API_URL"] == "/api"
    chosen = {"PREFECT_UI_API_URL": "https://desk.example/api"}
    assert "PREFECT_SERVER_UI_API_URL" not in environment(settings, where, chosen)


def test_lines_for_a_collector_do_not_pass_through_what_draws_lines_for_people(settings: Settings, file: Path) -> None:
    where = places_of(settings, file)
    places.make(settings.home)
    console = "PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS"
    assert environment(settings, where, {})[console] == "flows.operate.logs.Console"
    for_machines = settings.model_copy(update={"operate": settings.operate.model_copy(update={"log_format": "json"})})
    assert console not in environment(for_machines, where, {})


def test_the_pages_log_is_written_as_the_settings_say(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setenv("NIGHTDESK_SETTINGS", str(file))
    monkeypatch.setattr(pages, "quiet", lambda: None)
    monkeypatch.setattr(pages.uvicorn, "run", lambda app, **named: given.update(named))
    pages.main()
    assert given["log_config"] is None, "uvicorn's own would take the place of Prefect's"


def _answer_with(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the Prefect API of any desk answer so."""

    def client(self: Places, timeout_seconds: float = 30) -> httpx.Client:
        return httpx.Client(base_url=self.api_url, transport=httpx.MockTransport(answer))

    monkeypatch.setattr(Places, "client", client)

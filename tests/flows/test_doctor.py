"""The doctor finds what is wrong: each finding is provoked in the real world, and none shows a secret."""

import datetime as dt
import http.server
import json
import os
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from flows import doctor, doctor_clock, doctor_models, doctor_news, doctor_places, doctor_server
from flows.commands.doctor import doctor as command
from flows.doctor import examine
from flows.findings import Finding
from flows.operate import places
from flows.operate.deploy import told
from flows.operate.places import Places
from flows.operate.programs import places_of
from flows.settings import Settings
from tasks.lake import Lake
from tests.flows.conftest import WIRE, Made
from tests.flows.operate.running import RunningDesk, desk_at, running
from tests.flows.test_commands import call
from tests.loopback import free_ports
from tests.rows import ticks
from tests.tasks.conftest import ner_examples, sentiment_examples, tiny_bundle, tiny_trunk
from tests.waiting import until

__all__ = ["ner_examples", "sentiment_examples", "tiny_bundle", "tiny_trunk"]  # fixtures

NOW = dt.datetime(2026, 3, 3, 12, 0, tzinfo=dt.UTC)
NIGHT = dt.date(2026, 3, 2)
PROGRAMS = ("server", "worker", "mlflow", "pages", "watchdog")
SECRET = "hunter2-is-no-password"


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with a short name: a home's path must leave room for a socket's."""
    return tmp_path_factory.mktemp("d")


def only(findings: Iterator[Finding], what: str) -> Finding:
    found = [finding for finding in findings if finding.what == what]
    assert len(found) == 1, found
    return found[0]


# The machine


def test_without_a_lock_the_packages_are_not_said_to_be_as_locked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "constraints.txt" not in only(doctor._machine(), "packages").found
    monkeypatch.setattr(doctor, "LOCK", tmp_path / "constraints.txt")
    found = only(doctor._machine(), "packages")
    assert "no constraints.txt" in found.found
    assert not found.good
    assert not found.needed


# The places


def test_a_home_that_cannot_be_written_is_found(made: Made, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    found = only(doctor_places.examine(made(home=tmp_path / "file" / "home")), "home")
    assert not found.good
    assert found.needed
    assert str(tmp_path / "file") in found.found


def test_looking_leaves_nothing_behind(made: Made, tmp_path: Path) -> None:
    settings = made(top='lake = "lake"')
    before = sorted(tmp_path.rglob("*"))
    assert only(doctor_places.examine(settings), "lake").good
    assert sorted(tmp_path.rglob("*")) == before


def test_a_lake_in_a_store_is_written_to_and_left_as_it_was(made: Made) -> None:
    settings = made(top='lake = "memory://doctor/lake"')
    Lake.open(settings.lake).commit({"ticks": ticks(1)}, night=NIGHT, run_id="r")
    filesystem = Lake.open(settings.lake).filesystem
    before = filesystem.find("/doctor")
    found = only(doctor_places.examine(settings), "lake")
    assert found.good
    assert "writable: 1 published nights" in found.found
    assert filesystem.find("/doctor") == before


@pytest.mark.parametrize("lake", ["lake", "memory://damaged/lake"])
def test_a_lake_whose_log_is_torn_is_found_though_it_can_be_written(made: Made, lake: str) -> None:
    settings = made(top=f'lake = "{lake}"')
    kept = Lake.open(settings.lake)
    kept.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r")
    (record,) = kept.filesystem.find(f"{kept.root.removeprefix('memory:/')}/_commits")
    kept.filesystem.pipe_file(record, b"torn")
    found = only(doctor_places.examine(settings), "lake")
    assert not found.good
    assert found.needed
    assert "cannot be read" in found.found
    assert "lost disk" in found.remedy


def test_a_lake_that_is_too_new_is_the_lakes_finding_and_the_plugins_are_well(made: Made) -> None:
    settings = made()
    Path(settings.lake).mkdir(parents=True)
    (Path(settings.lake) / "_lake.json").write_text('{"format": 99}', encoding="utf-8")
    found = only(doctor_places.examine(settings), "lake")
    assert not found.good
    assert "layout version 99" in found.found
    assert "Upgrade" in found.remedy
    assert doctor._plugins(settings).good


def test_a_lake_that_cannot_be_reached_is_found_without_its_credentials(made: Made) -> None:
    found = only(
        doctor_places.examine(made(top=f'lake = "ftp://desk:{SECRET}@127.0.0.1:{free_ports(1)[0]}/lake"')), "lake"
    )
    assert not found.good
    assert found.needed
    assert SECRET not in found.found


@pytest.mark.parametrize(
    ("free_gib", "good", "needed"), [(100.0, True, False), (2.0, False, False), (0.1, False, True)]
)
def test_a_disk_is_found_short_of_room_before_it_is_full(
    made: Made, monkeypatch: pytest.MonkeyPatch, free_gib: float, good: bool, needed: bool
) -> None:
    usage = type("Usage", (), {"free": free_gib * 2**30})()
    monkeypatch.setattr(doctor_places.shutil, "disk_usage", lambda path: usage)
    found = only(doctor_places.examine(made()), "disk")
    assert (found.good, found.needed) == (good, needed)
    assert "home and lake" in found.found


def test_a_database_that_does_not_answer_is_found_without_its_password(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESK_DATABASE_PASSWORD", SECRET)
    more = f'[operate]\ndatabase = "postgresql://desk:${{DESK_DATABASE_PASSWORD}}@127.0.0.1:{free_ports(1)[0]}"\n'
    findings = [one for one in doctor_places.examine(made(WIRE + more)) if one.what.startswith("database")]
    assert [one.what for one in findings] == ["database prefect", "database mlflow"]
    for found in findings:
        assert not found.good
        assert found.needed
        assert "nightdesk_" in found.found
        assert SECRET not in found.found + found.remedy


# The models


def test_no_champion_is_needed_where_the_next_night_trains_one_and_else_it_is(made: Made) -> None:
    assert not only(doctor_models.examine(made(), deep=False), "champion ner").needed
    settings = made(WIRE + "[scoring]\ntrain_if_missing = false\n")
    found = only(doctor_models.examine(settings, deep=False), "champion ner")
    assert found.needed
    assert not found.good
    assert not settings.home.exists(), "looking makes no registry"


def test_a_model_is_asked_about_a_sentence(made: Made, tiny_bundle: Path) -> None:
    found = only(doctor_models.examine(made(f'{WIRE}[scoring]\nmodel = "{tiny_bundle}"\n'), deep=False), "model")
    assert found.good, found
    assert "ner, sentiment of a sentence" in found.found


def test_a_model_whose_weights_are_damaged_is_found(made: Made, tiny_bundle: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_bundle, broken)
    weights = max((path for path in broken.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    weights.write_bytes(weights.read_bytes()[:-100])
    found = only(doctor_models.examine(made(f'{WIRE}[scoring]\nmodel = "{broken}"\n'), deep=False), "model")
    assert not found.good
    assert found.needed
    assert "rollback" in found.remedy


def test_a_backend_that_may_not_serve_is_found_and_nothing_is_left_beside_the_model(
    made: Made, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTDESK_SCORING__BACKEND", "openvino")
    monkeypatch.setitem(sys.modules, "openvino", None)  # as where it is not installed
    own = tmp_path / "own"
    shutil.copytree(tiny_bundle, own, ignore=shutil.ignore_patterns("exports"))
    before = sorted(own.rglob("*"))
    found = only(doctor_models.examine(made(f'{WIRE}[scoring]\nmodel = "{own}"\n'), deep=False), "model")
    assert not found.good
    assert found.needed
    assert "openvino" in found.found
    assert "scoring.backend" in found.remedy
    assert sorted(own.rglob("*")) == before


def test_labelled_files_of_one_part_alone_and_a_folder_that_is_not_there_are_found(made: Made, tmp_path: Path) -> None:
    settings = made()
    labelled = settings.home / "labelled"
    assert "nothing yet" in only(doctor_models.examine(settings, deep=False), "labelled").found
    labelled.mkdir(parents=True)
    (labelled / "ner.train.jsonl").touch()
    found = only(doctor_models.examine(settings, deep=False), "labelled")
    assert (found.good, found.needed) == (False, False)
    assert "ner.dev.jsonl is not" in found.found
    (labelled / "ner.dev.jsonl").touch()
    assert only(doctor_models.examine(settings, deep=False), "labelled").good
    elsewhere = made(f'{WIRE}[operate]\nlabelled = "{tmp_path / "gone"}"\n')
    found = only(doctor_models.examine(elsewhere, deep=False), "labelled")
    assert not found.good
    assert "operate.labelled" in found.remedy


def test_the_registry_is_not_asked_where_its_database_has_just_not_answered(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(f'{WIRE}[operate]\ndatabase = "postgresql://desk@127.0.0.1:{free_ports(1)[0]}"\n')
    monkeypatch.setattr("tasks.registry.Registry.champion", lambda *given: pytest.fail("it was asked"))
    found = only(examine(str(tmp_path / "desk.toml"), None), "champions")
    assert not found.good
    assert "not asked" in found.found


# The feeds and the clock


@contextmanager
def feed(ahead: dt.timedelta) -> Iterator[str]:
    """A feed on the loopback whose server's clock is ahead of ours by so much."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def date_time_string(self, timestamp: float | None = None) -> str:
            return format_datetime(dt.datetime.now(dt.UTC) + ahead, usegmt=True)

        def do_GET(self) -> None:
            body = b'{"title": "acme rose", "published": "2026-03-02T12:00:00Z"}\n'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/feed.jsonl"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def source(location: str) -> str:
    return (
        f'[[sources]]\nname = "wire"\nkind = "json"\nlocation = "{location}"\nallow_private = true\ndelay_seconds = 0\n'
    )


def test_a_source_that_is_not_there_is_found_and_no_night_waits_for_it(made: Made) -> None:
    found = only(doctor_news.sources(made(source("gone.jsonl")), NIGHT, []), "source wire")
    assert not found.good
    assert not found.needed


def test_a_source_s_secret_is_not_shown_where_it_fails(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESK_TOKEN", SECRET)
    place = f"http://desk:${{DESK_TOKEN}}@127.0.0.1:{free_ports(1)[0]}/${{DESK_TOKEN}}/feed?token=${{DESK_TOKEN}}"
    settings = made(source(place) + "timeout_seconds = 2\n")
    found = only(doctor_news.sources(settings, NIGHT, []), "source wire")
    assert not found.good
    assert SECRET not in found.found + found.remedy


@pytest.mark.parametrize(
    ("ahead", "good", "said"),
    [(0, True, "1 answers' clocks"), (-600, False, "600 s ahead"), (3600, False, "s behind")],
)
def test_a_clock_unlike_the_feeds_is_found(made: Made, ahead: int, good: bool, said: str) -> None:
    witnesses: list[doctor_clock.Witness] = []
    with feed(dt.timedelta(seconds=ahead)) as url:
        settings = made(source(url))
        assert only(doctor_news.sources(settings, NIGHT, witnesses), "source wire").good
    found = only(doctor_clock.examine(settings, dt.datetime.now(dt.UTC), witnesses), "clock")
    assert found.good == good, found
    if ahead != -600:  # a busy machine may take a second to answer
        assert said in found.found
    assert good or "127.0.0.1" in found.found


def test_an_answer_out_of_a_cache_is_no_witness() -> None:
    date = {"date": "Mon, 02 Mar 2026 12:00:00 GMT"}
    assert list(doctor_clock.witness("feed", date))
    assert not list(doctor_clock.witness("feed", date | {"age": "7200"}))
    assert not list(doctor_clock.witness("feed", {"date": "yesterday"}))
    assert not list(doctor_clock.witness("feed", {}))


def test_a_clock_that_was_set_back_is_found_by_the_lake_and_by_the_program(made: Made) -> None:
    settings = made()
    future = NOW + dt.timedelta(hours=1)
    Lake.open(settings.lake, clock=lambda: future).commit({"ticks": ticks(1)}, night=NIGHT, run_id="r")
    found = only(doctor_clock.examine(settings, NOW, []), "time of the lake")
    assert not found.good
    assert "2026-03-03 13:00:00" in found.found
    assert not [one for one in doctor_clock.examine(settings, future, []) if one.what == "time of the lake"]
    assert not only(doctor_clock.examine(settings, dt.datetime(1970, 1, 1, tzinfo=dt.UTC), []), "clock").good


# The sinks


def test_a_sink_gets_a_message_when_it_is_asked_for_and_not_before(made: Made, tmp_path: Path) -> None:
    settings = made(f'{WIRE}[alerting.sinks.jsonl]\npath = "{tmp_path / "alerts.jsonl"}"\n')
    assert only(doctor_news.sinks(settings, NIGHT, NOW, send_test=False), "sink jsonl").good
    assert not (tmp_path / "alerts.jsonl").exists()
    for minutes in (0, 1):
        now = NOW + dt.timedelta(minutes=minutes)
        assert only(doctor_news.sinks(settings, NIGHT, now, send_test=True), "sink jsonl").good
    lines = [json.loads(line) for line in (tmp_path / "alerts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["message"] for line in lines] == [doctor_news.TEST_MESSAGE] * 2
    assert Lake.open(settings.lake).read_state("notified jsonl.json") is None, "a test is not remembered"


def test_a_sink_that_does_not_take_a_message_is_found_without_its_address(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESK_WEBHOOK", f"json://desk:{SECRET}@127.0.0.1:{free_ports(1)[0]}/{SECRET}")
    settings = made(f'{WIRE}[alerting.sinks.apprise]\nurls = {{ desk = "${{DESK_WEBHOOK}}" }}\n')
    found = only(doctor_news.sinks(settings, NIGHT, NOW, send_test=True), "sink apprise/desk")
    assert not found.good
    assert found.needed
    assert SECRET not in found.found + found.remedy


def test_a_desk_without_a_sink_is_told_so(made: Made) -> None:
    found = only(doctor_news.sinks(made(), NIGHT, NOW, send_test=False), "sinks")
    assert not found.good
    assert not found.needed


# The server and the last night


def test_without_a_server_nights_are_run_by_hand_and_the_ports_are_looked_at(made: Made) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        server, pages = free_ports(2)
        more = f"[operate]\nserver_port = {server}\nmlflow_port = {taken}\npages_port = {pages}\n"
        findings = list(doctor_server.examine(made(WIRE + more), NOW, []))
    assert {one.what: one.good for one in findings} == {
        "port of server": True,
        "port of mlflow": False,
        "port of pages": True,
        "Prefect server": False,
    }
    assert not any(one.needed for one in findings)
    assert "operate.mlflow_port" in findings[1].remedy
    assert f"process {os.getpid()}" in findings[1].found


def test_a_host_that_is_none_of_this_machine_is_found_and_no_port_is_called_free(made: Made) -> None:
    settings = made(f'{WIRE}[operate]\nhost = "no.such.host.invalid"\n')
    findings = [one for one in doctor_server.examine(settings, NOW, []) if one.what.startswith("port of")]
    assert len(findings) == 3
    for found in findings:
        assert not found.good
        assert "operate.host" in found.remedy


@pytest.mark.parametrize(
    ("seconds_ago", "good", "said"),
    [((), False, "0 of 0"), ((500,), False, "0 of 1"), ((10, 500), True, "1 of 2 in the pool nightdesk alive, last heard of 2026-03-03 11:59:50")],
)  # fmt: skip
def test_a_worker_of_whom_the_server_has_heard_lately_is_found(
    seconds_ago: tuple[float, ...], good: bool, said: str
) -> None:
    heard = [{"last_heartbeat_time": (NOW - dt.timedelta(seconds=one)).isoformat()} for one in seconds_ago]
    client: Any = SimpleNamespace(request=lambda *given, **asked: answer(200, heard))
    found = doctor_server._worker(client, "nightdesk", NOW)
    assert (found.good, found.needed) == (good, True)
    assert said in found.found


def test_a_pool_that_the_server_does_not_know_is_found() -> None:
    client: Any = SimpleNamespace(request=lambda *given, **asked: answer(404, {}))
    found = doctor_server._worker(client, "nightdesk", NOW)
    assert not found.good
    assert "no work pool nightdesk" in found.found
    assert "nightdesk deploy" in found.remedy


def answer(status: int, body: object) -> httpx.Response:
    return httpx.Response(status, json=body, request=httpx.Request("POST", "http://server/api"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schedule": "0 1 * * *"}, "schedule is '15 22 * * *', told was '0 1 * * *'"),
        ({"timezone": "Asia/Tokyo"}, "timezone is 'UTC', told was 'Asia/Tokyo'"),
        ({"night_minutes": 7}, "night_minutes is 240.0, told was 7"),
        (None, "told nothing yet"),
    ],
)
def test_a_server_that_was_told_something_else_than_the_settings_say_is_found(
    made: Made, change: dict[str, object] | None, said: str
) -> None:
    settings = made()
    kept = None if change is None else SimpleNamespace(value=told(settings) | change)
    found = doctor_server._told(client_with(kept), settings)
    assert not found.good
    assert said in found.found
    assert "nightdesk deploy" in found.remedy
    assert doctor_server._told(client_with(SimpleNamespace(value=told(settings))), settings).good


def client_with(variable: object) -> Any:
    return SimpleNamespace(read_variable_by_name=lambda name: variable)


def test_the_running_desks_settings_are_looked_at_and_others_are_said_to_be_others(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, own = made(), str(tmp_path / "desk.toml")
    rest = dict.fromkeys(("lake", "pool", "ui_url", "pages_url", "mlflow_url"), "")
    desk = Places(home=str(settings.home), settings_file=own, api_url="http://127.0.0.1:9/api", **rest)
    monkeypatch.setattr(places, "running", lambda home: desk)
    monkeypatch.setattr(doctor, "_of", lambda settings, file, now, **asked: iter([looked_at(file)]))
    assert only(examine(None, None), "file").found == own
    other = tmp_path / "other.toml"
    other.write_text(WIRE, encoding="utf-8")
    findings = list(examine(str(other), None))
    assert only(iter(findings), "file").found == str(other)
    found = only(iter(findings), "the desk's settings")
    assert (found.good, found.needed) == (False, False)
    assert own in found.found


def looked_at(file: str | None) -> Finding:
    return Finding(what="file", good=True, found=str(file))


def test_a_server_that_is_named_and_does_not_answer_is_found(made: Made) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_ports(1)[0]}/api"}):
        found = only(doctor_server.examine(made(), NOW, []), "Prefect server")
    assert not found.good
    assert found.needed, "a run would fail"


@pytest.mark.parametrize(
    ("published", "hours_later", "good", "said"),
    [
        (None, 1, False, "no night is published yet"),
        (NIGHT, 14, True, f"night {NIGHT} is published"),
        (NIGHT - dt.timedelta(days=1), 1, True, f"night {NIGHT} is due until 2026-03-03 03:00 UTC"),
        (NIGHT - dt.timedelta(days=1), 14, False, f"night {NIGHT} is missing"),
    ],
)
def test_a_night_that_should_be_published_and_is_not_is_found(
    made: Made, published: dt.date | None, hours_later: int, good: bool, said: str
) -> None:
    settings = made()
    if published:
        Lake.open(settings.lake).commit({"ticks": ticks(1)}, night=published, run_id="r")
    now = dt.datetime(2026, 3, 2, 22, tzinfo=dt.UTC) + dt.timedelta(hours=hours_later)
    found = only(doctor_server.last_night(settings, NIGHT, now), "last night")
    assert found.good == good
    assert said in found.found
    assert good or found.remedy == f"nightdesk run --night {NIGHT}"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDesk]:
    with running(desk_at(tmp_path_factory.mktemp("doctor") / "home")) as desk:
        yield desk


def said_of(desk: RunningDesk, **environ: str) -> dict[str, dict[str, object]]:
    done = desk.call("doctor", "--json", **environ)
    assert desk.auth.partition(":")[2] not in done.stdout + done.stderr
    return {one["what"]: one for one in json.loads(done.stdout.splitlines()[-1])["findings"]}


@pytest.mark.slow
def test_a_running_desk_is_found_well_once_its_deployments_are_there(desk: RunningDesk) -> None:
    before: dict[str, dict[str, object]] = {}

    def well() -> bool:  # on a busy machine one of them may be slow to answer
        before.update(said_of(desk))
        return all(before[what]["good"] for what in ("Prefect server", *(f"program {name}" for name in PROGRAMS)))

    until(well, lambda: str(before))
    if not before["schedule"]["good"]:  # `up` may deploy by itself
        assert "nightdesk deploy" in str(before["schedule"]["remedy"])
        assert desk.call("deploy").returncode == 0
    after = said_of(desk)
    assert after["schedule"]["good"], after["schedule"]
    assert "the next night is due" in str(after["schedule"]["found"])
    assert after["worker"]["good"], after["worker"]
    assert httpx.get(f"{desk.pages_url}/metrics", trust_env=False, timeout=300).status_code == 200

    assert after["deployed"]["good"], after["deployed"]
    changed = said_of(desk, NIGHTDESK_OPERATE__SCHEDULE="1 2 * * *")["deployed"]
    assert not changed["good"]
    assert "schedule is '1 2 * * *', told was '15 22 * * *'" in str(changed["found"])


@pytest.mark.slow
def test_the_running_desks_server_is_given_no_other_settings(desk: RunningDesk, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text(f"{WIRE}[operate]\nschedule = '1 2 * * *'\n", encoding="utf-8")
    refused = desk.call("deploy", NIGHTDESK_SETTINGS=str(tmp_path / "other.toml"))
    assert refused.returncode == 1
    assert "OtherDesk" in refused.stderr
    (tmp_path / "other.toml").rename(tmp_path / "nightdesk.toml")  # found by whoever stands there
    done = desk.call("deploy", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "changed" not in done.stdout.replace("unchanged", "")


@pytest.mark.slow
def test_a_wrong_key_is_found_and_not_shown(desk: RunningDesk) -> None:
    found = said_of(desk, PREFECT_API_URL=desk.api_url, PREFECT_API_AUTH_STRING=f"nightdesk:{SECRET}")
    assert not found["Prefect server"]["good"]
    assert "does not let us in" in str(found["Prefect server"]["found"])
    assert SECRET not in json.dumps(found)


# All of it


@pytest.mark.slow
def test_ray_is_started_when_it_is_asked_for(made: Made) -> None:
    assert "Ray" not in {one.what for one in doctor_models.examine(made(), deep=False)}
    found = only(doctor_models.examine(made(), deep=True), "Ray")
    assert found.good, found


def test_settings_that_are_wrong_are_the_last_thing_found(tmp_path: Path) -> None:
    file = tmp_path / "desk.toml"
    file.write_text("cutof = 1\n", encoding="utf-8")
    *_, last = examine(str(file), None)
    assert (last.what, last.good, last.needed) == ("settings", False, True)


def test_what_is_found_is_shown_as_soon_as_it_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = Finding(what="lake", good=False, found="[damaged]", remedy="mend it", needed=False)
    shown: list[str] = []

    def found(*given: object, **asked: object) -> Iterator[Finding]:
        yield first
        shown.append(capsys.readouterr().out)
        yield replace(first, what="home", good=True, remedy="")

    monkeypatch.setattr(doctor, "examine", found)
    command()
    assert shown[0].split() == ["--", "lake", "[damaged]", "->", "mend", "it"]
    assert capsys.readouterr().out.split() == ["ok", "home", "[damaged]"]


@pytest.mark.slow
def test_the_last_line_is_json_and_the_exit_code_says_whether_a_night_can_run(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    (tmp_path / "desk.toml").write_text(f'{WIRE}[scoring]\nmodel = "{tiny_bundle}"\n', encoding="utf-8")
    (tmp_path / "wire.jsonl").write_text('{"title": "acme rose"}\n', encoding="utf-8")
    arguments = ("doctor", "--json", "--settings", str(tmp_path / "desk.toml"))
    for home, good in (("home", True), ("desk.toml/home", False)):
        done = call(*arguments, NIGHTDESK_HOME=str(tmp_path / home), PREFECT_HOME=str(tmp_path / "prefect"))
        said = json.loads(done.stdout.splitlines()[-1])
        assert said["good"] is good, done.stderr
        assert done.returncode == (0 if good else 1)
        assert all({"what", "good", "found", "remedy", "needed"} == set(one) for one in said["findings"])
        assert "Traceback" not in done.stderr


# What a running desk was started with


@pytest.fixture
def started(made: Made, monkeypatch: pytest.MonkeyPatch) -> Callable[[Settings], None]:
    """Let a desk of these settings run, as far as the doctor can tell; nothing answers there."""

    def start(settings: Settings) -> None:
        places.make(settings.home)
        desk = places_of(settings, settings.home.parent / "desk.toml")
        monkeypatch.setattr(places, "running", lambda home: desk)

    return start


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("NIGHTDESK_OPERATE__POOL", "another", "pool is another, asked is nightdesk"),
        ("NIGHTDESK_LAKE", "memory://another", "lake is memory://another, asked is "),
        ("NIGHTDESK_OPERATE__PAGES_PORT", "8399", "pages_url is http://127.0.0.1:8399, asked is "),
    ],
)
def test_a_desk_that_was_started_with_other_variables_is_found(
    made: Made,
    started: Callable[[Settings], None],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    said: str,
) -> None:
    with monkeypatch.context() as patched:
        patched.setenv(variable, value)
        settings = made()
        started(settings)
        assert only(doctor_server.examine(settings, NOW, []), "the running desk").good
    found = only(doctor_server.examine(made(), NOW, []), "the running desk")
    assert (found.good, found.needed) == (False, False)
    assert said in found.found
    assert "nightdesk up" in found.remedy


def test_a_desk_that_was_started_with_another_secret_of_its_lake_is_found_and_none_is_shown(
    made: Made, started: Callable[[Settings], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_LAKES", "first-of-the-lake")
    top = 'lake = "s3://key:${A_LAKES}@bucket/lake"'
    started(made(top=top))
    assert only(doctor_server.examine(made(top=top), NOW, []), "the running desk").good
    monkeypatch.setenv("A_LAKES", "second-of-the-lake")
    found = only(doctor_server.examine(made(top=top), NOW, []), "the running desk")
    assert not found.good
    assert "of-the-lake" not in found.found + found.remedy


@pytest.mark.slow
def test_a_lake_that_a_running_desk_was_not_started_with_is_found(desk: RunningDesk, tmp_path: Path) -> None:
    assert said_of(desk)["the running desk"]["good"]
    found = said_of(desk, NIGHTDESK_LAKE=str(tmp_path / "another"))["the running desk"]
    assert not found["good"]
    assert f"lake is {desk.lake}, asked is {tmp_path / 'another'}" in str(found["found"])


@pytest.mark.slow
def test_nothing_is_deployed_into_a_pool_for_which_no_worker_was_started(desk: RunningDesk) -> None:
    done = desk.call("deploy", NIGHTDESK_OPERATE__POOL="another")
    assert done.returncode == 1
    assert "was started for the pool nightdesk, given is another" in done.stderr
    with desk.client() as client:
        assert client.get("/work_pools/another").status_code == 404

"""What `nightdesk up` starts: who can reach it, that it comes back whatever dies, and that a run from the UI ends well."""

import datetime as dt
import json
import os
import signal
import socket
import stat
from pathlib import Path
from typing import Any

import httpx
import psutil
import pyarrow as pa
import pytest

from flows.settings import quiet
from tasks.lake import Lake
from tests.flows.operate import tiny
from tests.flows.operate.running import RunningDesk, desk_at, holding
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
NIGHT = dt.date(2026, 3, 2)


def programs(desk: RunningDesk) -> dict[str, dict[str, Any]]:
    done = desk.call("status", "--json")
    return {one["name"]: one for one in json.loads(done.stdout)}


def test_everything_answers_and_says_where_it_is(running_desk: RunningDesk) -> None:
    def answering() -> dict[str, bool]:  # on a busy machine one of them may be slow to
        return {name: one["answers"] for name, one in programs(running_desk).items()}

    expected = dict.fromkeys(("server", "worker", "mlflow", "pages", "watchdog"), True)
    until(lambda: answering() == expected, lambda: f"{answering()} {tiny.logs(running_desk)}")
    done = until(lambda: (one := running_desk.call("status")).returncode == 0 and one, lambda: str(answering()))
    for url in (running_desk.api_url.removesuffix("/api"), running_desk.mlflow_url, running_desk.pages_url):
        assert url in done.stdout
    ui = httpx.get(f"{running_desk.api_url.removesuffix('/api')}/ui-settings", trust_env=False).json()
    assert ui["api_url"] == "/api", "a browser on another machine asks the address at which it found the page"


def test_up_again_changes_nothing_and_says_so(running_desk: RunningDesk) -> None:
    before = {name: one["pid"] for name, one in programs(running_desk).items()}
    done = running_desk.up()
    assert "runs already" in done.stderr
    assert running_desk.pages_url in done.stderr
    assert str(running_desk.home / "operate" / "auth") in done.stderr
    assert {name: one["pid"] for name, one in programs(running_desk).items()} == before


def test_a_desk_with_other_settings_is_refused_while_one_runs(running_desk: RunningDesk) -> None:
    done = running_desk.call("up", NIGHTDESK_OPERATE__POOL="another")
    assert done.returncode == 1
    assert "pool is nightdesk, asked is another" in done.stderr


def test_everything_listens_on_the_loopback_alone(running_desk: RunningDesk) -> None:
    listening = set()
    for process in running_desk.processes():
        try:
            connections = process.net_connections("inet")
        except psutil.NoSuchProcess:
            continue
        listening |= {(line.laddr.ip, line.laddr.port) for line in connections if line.status == psutil.CONN_LISTEN}
    urls = (running_desk.api_url, running_desk.mlflow_url, running_desk.pages_url)
    assert {("127.0.0.1", httpx.URL(url).port) for url in urls} <= listening
    assert {ip for ip, _ in listening} <= {"127.0.0.1", "::1"}
    assert not Path(running_desk.environ["GUARD_LOG"]).exists(), "nothing may leave this machine"


def test_the_api_refuses_without_its_key(running_desk: RunningDesk) -> None:
    url = f"{running_desk.api_url}/flows/filter"
    assert httpx.post(url, json={}, trust_env=False).status_code == 401
    assert httpx.post(url, json={}, auth=("nightdesk", "wrong"), trust_env=False).status_code == 401
    with running_desk.client() as client:
        assert client.post("/flows/filter", json={}).status_code == 200


def test_the_key_is_for_its_owner_and_nowhere_else(running_desk: RunningDesk) -> None:
    folder = running_desk.home / "operate"
    assert stat.S_IMODE((folder / "auth").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "supervisor.sock").stat().st_mode) == 0o700
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    key = running_desk.auth.partition(":")[2].encode()
    shown = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    assert [line for line in shown if key.decode() in line] == []
    assert holding(running_desk.home, key) == [folder / "auth"]


def test_commands_of_this_home_talk_to_its_server_unless_told_otherwise(running_desk: RunningDesk) -> None:
    environ = {"NIGHTDESK_HOME": str(running_desk.home)}
    quiet(environ)
    assert environ["PREFECT_API_URL"] == running_desk.api_url
    assert environ["PREFECT_API_AUTH_STRING"] == running_desk.auth
    other = {"NIGHTDESK_HOME": str(running_desk.home), "PREFECT_API_URL": "http://127.0.0.1:1/api"}
    quiet(other)
    assert other["PREFECT_API_URL"] == "http://127.0.0.1:1/api"
    assert "PREFECT_API_AUTH_STRING" not in other


def test_a_run_from_the_api_is_completed_by_a_worker_that_works_elsewhere(
    running_desk: RunningDesk, tmp_path: Path
) -> None:
    folder = tmp_path / "plain"
    run = tiny.start(running_desk, tiny.deploy(running_desk, folder))
    assert tiny.ended(running_desk, run) == "COMPLETED"
    saw = tiny.began(folder)
    assert saw["NIGHTDESK_HOME"] == str(running_desk.home)
    assert saw["NIGHTDESK_LAKE"] == str(running_desk.lake)
    assert Path(saw["NIGHTDESK_SETTINGS"]).is_file()
    assert saw["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"


def test_pages_show_the_nights_of_the_lake_and_refuse_other_names(running_desk: RunningDesk) -> None:
    with httpx.Client(base_url=running_desk.pages_url, trust_env=False, timeout=300) as client:
        assert client.get("/healthz").text == "ok"
        assert client.get(f"/reports/{NIGHT}/report.html").status_code == 404
        lake = Lake.open(str(running_desk.lake))
        lake.commit({"ticks": pa.table({"value": [1]})}, night=NIGHT, run_id="r1")
        lake.write_file(f"_reports/{NIGHT}/report.html", b"<h1>that night</h1>")
        assert f"/reports/{NIGHT}/report.html" in client.get("/").text
        page = client.get(f"/reports/{NIGHT}/report.html")
        assert page.text == "<h1>that night</h1>"
        assert page.headers["content-type"].startswith("text/html")
        assert client.get("/reports/..%2f_commits").status_code == 404
        assert client.get("/reports/../nightdesk.toml").status_code == 404
        assert client.get("/", headers={"Host": "rebound.example"}).status_code == 400
        assert client.get("/metrics").status_code == 200, "the first time it imports MLflow"
        assert "nightdesk_nights_published 1.0" in client.get("/metrics").text


@pytest.mark.parametrize("name", ["pages", "mlflow", "server"])
def test_a_program_that_is_killed_comes_back(running_desk: RunningDesk, name: str) -> None:
    before = running_desk.pid(name)
    os.kill(before, signal.SIGKILL)
    _await_another(running_desk, name, before)


def test_a_killed_worker_comes_back_and_its_run_goes_on(running_desk: RunningDesk, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    run = tiny.start(running_desk, tiny.deploy(running_desk, folder), seconds=15)
    flow = tiny.began(folder)["pid"]
    before = running_desk.pid("worker")
    os.kill(before, signal.SIGKILL)
    _await_another(running_desk, "worker", before)
    assert tiny.ended(running_desk, run) == "COMPLETED"
    assert (folder / "finally").exists()
    assert flow != before


def _await_another(desk: RunningDesk, name: str, before: int) -> None:
    def back() -> bool:
        now = programs(desk)[name]
        return bool(now["answers"] and now["pid"] != before)

    until(back, lambda: f"{programs(desk)[name]}: {tiny.logs(desk)}")


def test_a_taken_port_is_named_with_the_setting_before_anything_starts(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    desk = desk_at(tmp_path_factory.mktemp("d") / "home")  # short: a socket is made in it
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", httpx.URL(desk.mlflow_url).port or 0))
        taken.listen()
        done = desk.call("up")
    assert done.returncode == 1
    assert f"127.0.0.1:{httpx.URL(desk.mlflow_url).port}" in done.stderr
    assert "operate.mlflow_port" in done.stderr
    assert f"process {os.getpid()}" in done.stderr
    assert desk.processes() == []


def test_a_program_that_cannot_work_is_named_with_the_end_of_its_log_and_nothing_is_left(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    desk = desk_at(tmp_path_factory.mktemp("d") / "home")  # short: a socket is made in it
    (desk.home / "prefect" / "prefect.db").mkdir(parents=True)
    done = desk.call("up")
    try:
        assert done.returncode == 1
        assert "server died while it started" in done.stderr
        assert "unable to open database file" in done.stderr
        assert "Traceback" not in done.stderr.partition("its log ends")[0]
        assert desk.processes() == []
        assert "nothing runs" in desk.call("status").stderr
    finally:
        desk.stop()


def test_down_and_status_say_so_when_nothing_runs(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    desk = desk_at(tmp_path_factory.mktemp("d") / "home")  # short: a socket is made in it
    down, status = desk.call("down"), desk.call("status")
    assert (down.returncode, status.returncode) == (0, 1)
    assert "nothing runs" in down.stderr
    assert "nightdesk up" in status.stderr


def test_a_home_too_deep_for_a_socket_is_refused_with_a_sentence(tmp_path: Path) -> None:
    desk = desk_at(tmp_path / ("deep" * 30))
    done = desk.call("up")
    assert done.returncode == 1
    assert "too long a path" in done.stderr

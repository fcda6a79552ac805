"""A desk on PostgreSQL by one setting: a real server, started here, with a password that must be seen nowhere."""

import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from sqlalchemy import NullPool, create_engine, text

from tests.flows.operate import tiny
from tests.flows.operate.nights import ENDED, short_nights
from tests.flows.operate.running import RunningDesk, desk_at, holding
from tests.loopback import free_ports
from tests.tasks.conftest import ner_examples, sentiment_examples, tiny_bundle, tiny_trunk

__all__ = ["ner_examples", "sentiment_examples", "tiny_bundle", "tiny_trunk"]  # fixtures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
BINARIES = Path("/usr/lib/postgresql")
SETTINGS = """
[[sources]]
name = "wire"
kind = "csv"
location = "wire.csv"
[sources.fields]
title = "title"

[operate]
database = "postgresql://desk:${{DESK_PASSWORD}}@127.0.0.1:{port}?sslmode=disable"
"""


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """A running PostgreSQL server with a role `desk` that may make databases."""

    port: int
    password: str


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A server of this module's own, on the loopback; it refuses to run as root, so then it runs as its own user."""
    found = sorted(BINARIES.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        pytest.skip(f"needs PostgreSQL (Debian's package postgresql), whose programs are not in {BINARIES}")
    programs = found[-1].parent
    user: dict[str, object] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    port, password = free_ports(1)[0], f"{secrets.token_hex(8)}%/{secrets.token_hex(8)}"
    (folder / "password").write_text(password, encoding="utf-8")
    if user:
        for path in (folder, folder / "password"):
            shutil.chown(path, "postgres", "postgres")

    def run(name: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(programs / name), *arguments], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env={"PATH": os.defpath, "LC_ALL": "C"}, timeout=240, check=False, **user,
        )  # type: ignore[call-overload]  # fmt: skip
        assert done.returncode == 0, done.stdout

    try:
        run("initdb", "-D", "data", "-U", "desk", "--auth", "scram-sha-256", "--pwfile", "password", "--no-sync")
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder} -c fsync=off"
        run("pg_ctl", "-D", "data", "-l", "log", "-w", "-t", "200", "-o", options, "start")
        yield Postgres(port=port, password=password)
    finally:
        with contextlib.suppress(AssertionError, subprocess.SubprocessError):
            run("pg_ctl", "-D", "data", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def desk(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDesk]:
    """A desk whose settings name that server, the password in the environment."""
    home = tmp_path_factory.mktemp("pg") / "home"
    home.mkdir()
    (home / "nightdesk.toml").write_text(SETTINGS.format(port=postgres.port), encoding="utf-8")
    own = desk_at(
        home, DESK_PASSWORD=quote(postgres.password, safe=""), NIGHTDESK_SETTINGS=str(home / "nightdesk.toml")
    )
    try:
        yield own
    finally:
        own.stop()


def tables(postgres: Postgres, database: str) -> set[str]:
    url = f"postgresql+psycopg2://desk:{quote(postgres.password, safe='')}@127.0.0.1:{postgres.port}/{database}"
    with create_engine(url, poolclass=NullPool).connect() as line:
        return set(line.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).scalars())


def test_a_desk_lives_on_postgres_and_shows_its_password_to_nobody(
    desk: RunningDesk, postgres: Postgres, tmp_path: Path
) -> None:
    done = desk.up()
    assert "made the database nightdesk_prefect" in done.stderr
    run = tiny.start(desk, tiny.deploy(desk, tmp_path / "plain"))
    assert tiny.ended(desk, run) == "COMPLETED"
    assert "flow_run" in tables(postgres, "nightdesk_prefect")
    assert "registered_models" in tables(postgres, "nightdesk_mlflow")
    assert not (desk.home / "prefect" / "prefect.db").exists()
    assert not (desk.home / "mlflow.db").exists()

    secret = (postgres.password, quote(postgres.password, safe=""))
    shown = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    for one in secret:
        assert [line for line in shown if one in line] == []
        assert holding(desk.home, one.encode()) == []

    assert desk.call("down").returncode == 0
    assert desk.processes() == []
    assert "made the database" not in desk.up().stderr
    assert tiny.state(desk, run) == "COMPLETED"


def test_a_wrong_password_is_said_in_a_sentence_that_does_not_hold_it(desk: RunningDesk) -> None:
    done = desk.call("up", DESK_PASSWORD="not-the-password")
    assert done.returncode == 1
    assert "password authentication failed" in done.stderr
    assert "not-the-password" not in done.stderr
    assert "Traceback" not in done.stderr
    assert desk.processes() == []


def test_a_night_started_from_the_ui_is_published(
    postgres: Postgres, tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path
) -> None:
    database = f"postgresql://desk:{quote(postgres.password, safe='')}@127.0.0.1:{postgres.port}"
    folder = tmp_path_factory.mktemp("pg-night")
    with (
        short_nights(folder, tiny_bundle, NIGHTDESK_OPERATE__DATABASE=database) as desk,
        desk.fresh("night") as night,
    ):
        night.start()
        assert night.reaches(ENDED) == "COMPLETED", night.said()
        assert len(night.alerts()) == 2
        assert len(night.place.messages) == 1
        night.assert_as(night)
        assert not (desk.desk.home / "prefect" / "prefect.db").exists()

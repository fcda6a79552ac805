"""A desk that has run both nights of the shipped sample, by the command line in a process of its own, and settings for desks that have not."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from flows.settings import Settings, load

ROOT = Path(__file__).parents[2]
NIGHTS = ("2026-03-02", "2026-03-03")


WIRE = '[[sources]]\nname = "wire"\nkind = "json"\nlocation = "wire.jsonl"\n'
Made = Callable[..., Settings]


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A home, a lake and how to call the command line on them."""

    home: Path
    lake: Path
    guard_log: Path

    def call(
        self, *arguments: str, lake: Path | None = None, timeout: float = 1100, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `nightdesk` with these arguments; network beyond the loopback is refused and written down."""
        environment = os.environ | {
            "NIGHTDESK_HOME": str(self.home),
            "NIGHTDESK_LAKE": str(lake or self.lake),
            "GUARD_LOG": str(self.guard_log),
            "PREFECT_HOME": str(self.home / "prefect"),
        }
        command = [sys.executable, "-m", "flows", *arguments]
        # Files, and not pipes, which the temporary Prefect server of a killed run would keep open for ever.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment | environ, stdout=out, stderr=err, start_new_session=True
            )
            try:
                code = process.wait(timeout)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(command, code, out.read(), err.read())

    def run_nights(
        self, *nights: str, lake: Path | None = None, timeout: float = 1100, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """`nightdesk run` over these nights."""
        flags = [flag for night in nights for flag in ("--night", night)]
        return self.call("run", *flags, lake=lake, timeout=timeout, **environ)


def settled(folder: Path) -> list[Path]:
    """Every file below a folder, once what stands in the write-ahead log of a database is in it: the log goes when it is closed."""
    for path in folder.rglob("*.db"):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Both nights of the sample, run from nothing: this fine-tunes the champions first, for which its tests are given 1800 s."""
    folder = tmp_path_factory.mktemp("desk")
    fresh = Desk(home=folder / "home", lake=folder / "lake", guard_log=folder / "outbound.log")
    done = fresh.run_nights(*NIGHTS, timeout=1500)
    assert done.returncode == 0, done.stderr[-4000:]
    return fresh


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Settings of a desk in a home of its own, with what a test adds to the file."""

    def make(more: str = WIRE, top: str = "", *, home: Path | None = None) -> Settings:
        monkeypatch.setenv("NIGHTDESK_HOME", str(home or tmp_path / "home"))
        file = tmp_path / "desk.toml"
        file.write_text(f'timezone = "UTC"\n{top}\n{more}', encoding="utf-8")
        return load(str(file))

    return make

"""A desk that runs: `nightdesk up` on free ports in a home of its own, as a person would start it, and everything to talk to it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from flows.operate import supervised
from tasks import processes
from tests.loopback import free_ports
from tests.waiting import until

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 120


class Patient(httpx.HTTPTransport):
    """A server whose database is busy is asked again, as Prefect's own client does."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        end = time.monotonic() + PATIENCE_SECONDS
        while (answer := super().handle_request(request)).status_code == 503 and time.monotonic() < end:
            answer.close()
            time.sleep(0.5)
        return answer


@dataclass(frozen=True, kw_only=True)
class RunningDesk:
    """Where a desk is and how to reach it. `environ` is all that a child process needs, the command line or another Prefect client."""

    home: Path
    lake: Path
    environ: dict[str, str]
    api_url: str
    pages_url: str
    mlflow_url: str

    @property
    def auth(self) -> str:
        """What the Prefect server is told to let one in: `user:password`."""
        return (self.home / "operate" / "auth").read_text(encoding="utf-8").strip()

    def call(
        self, *arguments: str, timeout: float = 560, cwd: Path = ROOT, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `nightdesk` with these arguments in a process of its own."""
        command = [sys.executable, "-m", "flows", *arguments]
        # Files, and not pipes, which a process that is left behind would keep open for ever.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            process = subprocess.Popen(
                command, cwd=cwd, env=self.environ | environ, stdout=out, stderr=err, stdin=subprocess.DEVNULL, start_new_session=True
            )  # fmt: skip
            try:
                code = process.wait(timeout)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(command, code, out.read(), err.read())

    def up(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """`nightdesk up`; fails the test where it fails."""
        done = self.call("up", *arguments, **environ)
        assert done.returncode == 0, done.stderr[-6000:]
        return done

    @contextlib.contextmanager
    def client(self) -> Iterator[httpx.Client]:
        """The Prefect API with the key, for instance `client.post("/flow_runs/filter", json={})`."""
        user, _, password = self.auth.partition(":")
        with httpx.Client(
            base_url=self.api_url, auth=(user, password), timeout=60, trust_env=False, transport=Patient()
        ) as client:
            yield client

    def processes(self) -> list[psutil.Process]:
        """Everything that was started in this home, wherever it hangs in the tree of processes."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("NIGHTDESK_HOME") == str(self.home):
                    found.append(process)
        return found

    def pid(self, program: str) -> int:
        """The process of one of its programs, waited for: one that is started again has 0 meanwhile, and a signal to 0 would reach the tests."""
        return int(until(lambda: (found := supervised.states(self.home).get(program)) and found.pid, lambda: program))

    def stop(self) -> None:
        """`nightdesk down` without waiting for runs; whatever is left then is killed."""
        try:
            self.call("down", "--wait", "0", timeout=600)
        finally:
            for process in self.processes():
                with contextlib.suppress(psutil.Error):
                    process.kill()


def lives(pid: int) -> bool:
    """False for a process that has ended, also where nobody has asked yet how."""
    with contextlib.suppress(psutil.Error):
        return processes.lives(psutil.Process(pid))
    return False


def desk_at(home: Path, **environ: str) -> RunningDesk:
    """A desk that is not started yet, with free ports; `environ` adds to what its processes see."""
    server, mlflow, pages = free_ports(3)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {
        "NIGHTDESK_HOME": str(home),
        "NIGHTDESK_LAKE": str(home / "lake"),
        "NIGHTDESK_OPERATE__SERVER_PORT": str(server),
        "NIGHTDESK_OPERATE__MLFLOW_PORT": str(mlflow),
        "NIGHTDESK_OPERATE__PAGES_PORT": str(pages),
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "GUARD_LOG": str(home.with_suffix(".outbound.log")),
    }
    return RunningDesk(
        home=home,
        lake=home / "lake",
        environ=environment | environ,
        api_url=f"http://127.0.0.1:{server}/api",
        pages_url=f"http://127.0.0.1:{pages}",
        mlflow_url=f"http://127.0.0.1:{mlflow}",
    )


@contextlib.contextmanager
def running(desk: RunningDesk) -> Iterator[RunningDesk]:
    """The desk up inside the block, and nothing of it afterwards."""
    try:
        desk.up()
        yield desk
    finally:
        desk.stop()


def holding(folder: Path, text: bytes) -> list[Path]:
    """The files in which a text is; some may go meanwhile."""
    found = []
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and text in path.read_bytes():
                    found.append(path)
    return found

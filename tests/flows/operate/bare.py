"""A Prefect server with a key, and on demand a worker, without the rest of a desk: what a deployment needs, and quicker to start."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import httpx
import psutil

from tests.flows.operate.running import ROOT
from tests.loopback import free_ports
from tests.waiting import until

KEY = "desk:" + "k3y-of-the-server"


@dataclass(frozen=True, kw_only=True)
class Bare:
    """A server: its address, the folder with its state, and the environment of whatever talks to it."""

    api_url: str
    folder: Path
    environ: dict[str, str]

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @contextlib.contextmanager
    def client(self) -> Iterator[httpx.Client]:
        user, _, password = KEY.partition(":")
        with httpx.Client(base_url=self.api_url, auth=(user, password), timeout=60, trust_env=False) as client:
            yield client

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """What the server answers; asked again while it is too busy to, as Prefect's own client does."""
        with self.client() as client:

            def answer() -> httpx.Response | None:
                given = client.request(method, path, json=body)
                return given if given.status_code != 503 else None

            return cast(httpx.Response, until(answer, self.logs))

    def get(self, path: str) -> Any:
        return self.ask("GET", path).raise_for_status().json()

    def post(self, path: str, body: Any) -> Any:
        answer = self.ask("POST", path, body)
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def call(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """`nightdesk` with these arguments, from another directory than the checkout."""
        return subprocess.run(
            [sys.executable, "-m", "flows", *arguments],
            cwd=self.folder, env=self.environ | environ, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    @contextlib.contextmanager
    def worker(self, *, pool: str = "nightdesk", **environ: str) -> Iterator[subprocess.Popen[bytes]]:
        """A worker whose working directory is elsewhere; it and all it started are gone afterwards."""
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        command = (
            *("-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"),
            "--install-policy",
            "never",
        )
        with started(command, self.folder / "worker.log", self.environ | environ, cwd=elsewhere) as worker:
            yield worker

    def logs(self) -> str:
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-3000:]}" for path in self.folder.glob("*.log")
        )


@contextlib.contextmanager
def bare_server(folder: Path) -> Iterator[Bare]:
    """A server in the folder, answering."""
    (port,) = free_ports(1)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "NIGHTDESK_"))}
    bare = Bare(
        api_url=f"http://127.0.0.1:{port}/api",
        folder=folder,
        environ=environ
        | {
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_API_AUTH_STRING": KEY,
            "PREFECT_SERVER_API_AUTH_STRING": KEY,
            "NIGHTDESK_HOME": str(folder / "home"),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(folder), str(ROOT), os.environ.get("PYTHONPATH")))),
        },
    )
    command = ("-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port))
    with started(command, folder / "server.log", bare.environ) as server:

        def answers() -> bool:
            assert server.poll() is None, bare.logs()
            with contextlib.suppress(httpx.TransportError), bare.client() as client:
                return client.get("/health").status_code == 200
            return False

        until(answers, bare.logs)
        yield bare


@contextlib.contextmanager
def started(
    command: Sequence[str], log: Path, environ: dict[str, str], *, cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, *command], cwd=cwd or log.parent, env=environ, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True
        )  # fmt: skip
    try:
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """kill -9 of a process and of everything that it started."""
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(process.pid)
        for one in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                one.send_signal(signal.SIGKILL)
    process.wait(30)


@dataclass
class Posted:
    """A place that takes messages over HTTP, and keeps them."""

    port: int = 0
    messages: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.port}/s3cret-hook"


@contextlib.contextmanager
def posted() -> Iterator[Posted]:
    """Such a place on the loopback."""
    place = Posted()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            place.messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    place.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield place
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

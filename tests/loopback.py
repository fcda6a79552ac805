"""The loopback address: a small web site, for tests that want real HTTP; ports for other servers, and Prefect's."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

BELOW_EPHEMERAL = range(20_000, 32_000)  # the kernel gives none of these to a connection, Ray none to a worker


@dataclass
class Answer:
    status: int = 200
    body: bytes | Iterable[bytes] = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Site:
    """Paths and what they answer; `asked` holds each request's path and headers (in lower case), `posted` path and body, in order."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.pages: dict[str, Answer | Callable[[Mapping[str, str]], Answer]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.posted: list[tuple[str, bytes]] = []

    def answer(self, path: str, headers: Mapping[str, str]) -> Answer:
        lowered = {name.lower(): value for name, value in headers.items()}
        self.asked.append((path, lowered))
        page = self.pages.get(path, Answer(404))
        return page(lowered) if callable(page) else page


@contextlib.contextmanager
def serving() -> Iterator[Site]:
    """A site that listens until the block ends."""
    sites: list[Site] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = sites[0].answer(self.path, dict(self.headers))
            pieces = [answer.body] if isinstance(answer.body, bytes) else answer.body
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                for piece in pieces:
                    self.wfile.write(piece)

        def do_POST(self) -> None:
            sites[0].posted.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sites.append(Site(f"http://127.0.0.1:{server.server_address[1]}"))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield sites[0]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """So many different ports of an address of the loopback that nobody listens on, and that the kernel hands to nobody by itself."""
    found: list[int] = []
    while len(found) < count:
        port = secrets.choice(_own_ports())
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind((host, port))
            found.append(port)
    return list(dict.fromkeys(found)) if len(set(found)) == count else free_ports(count, host)


def _own_ports() -> range:
    """The share of this one of pytest's processes, so that no two draw the same port before either listens on it."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return BELOW_EPHEMERAL[number % count :: count]


@contextlib.contextmanager
def prefect_server() -> Iterator[None]:
    """A Prefect server for the flows of a test, and its state gone afterwards; Prefect's own choice of a port may be taken until it listens."""
    from prefect.testing import utilities

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utilities, "_find_available_port", lambda: free_ports(1)[0])
        with utilities.prefect_test_harness(server_startup_timeout=240):
            yield

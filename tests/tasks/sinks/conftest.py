"""A web server on loopback that keeps what it is sent and answers as told."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Webhook:
    """What arrived, and how to answer: a status, or never while `hold` is cleared."""

    port: int = 0
    status: int = 200
    messages: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    got_one: threading.Event = field(default_factory=threading.Event)
    may_answer: threading.Event = field(default_factory=threading.Event)

    def url(self, token: str = "hook") -> str:
        return f"json://127.0.0.1:{self.port}/{token}"


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    state = Webhook()
    state.may_answer.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.messages.append(message)
            state.paths.append(self.path)
            state.got_one.set()
            state.may_answer.wait(20)
            try:
                self.send_response(state.status)
                self.end_headers()
            except ConnectionError:
                pass

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield state
    state.may_answer.set()
    server.shutdown()
    thread.join()
    server.server_close()

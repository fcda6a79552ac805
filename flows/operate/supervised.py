"""supervisord, which keeps the programs running: how it is told what to start, started, asked and stopped.

It is reached over a socket in the home that its owner alone can open; it listens on no port. A program that dies is started again, at once
when it had worked, else after a pause that grows by a second each time. Logs are rotated by size. supervisord itself is started again by
nobody: a machine's own service manager may call `nightdesk up`, which finds what is left of the one before.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

import psutil
from supervisor.xmlrpc import SupervisorTransport

from data_contracts.errors import Fatal
from flows.operate.places import alive, control, folder
from flows.operate.programs import Program
from tasks import processes

WORKED_SECONDS = 5  # a program that dies before has not worked
TRIES = 1_000_000  # supervisord's own limit, after which it would give up
SHUTDOWN_SECONDS = 120


class NotStarted(Fatal):
    """A program did not start, or does not answer; the text names it and ends with the end of its log."""


@dataclass(frozen=True, kw_only=True)
class State:
    """A program as supervisord sees it. Times are seconds; `pid` is 0 where there is no process."""

    name: str
    state: str
    pid: int
    began: float
    uptime_seconds: float
    error: str


def configuration(home: Path, programs: Sequence[Program]) -> str:
    """supervisord's configuration; it holds no secret."""
    own, mask = folder(home), _umask()
    lines = [
        "[unix_http_server]", f"file={_text(control(home))}", "chmod=0700", "",
        "[supervisord]", f"pidfile={_text(own / 'supervisord.pid')}", f"directory={_text(own / 'work')}", f"umask={mask:03o}",
        "identifier=nightdesk", *_log("logfile", own / "logs" / "supervisord.log"), "",
        "[rpcinterface:supervisor]", "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]  # fmt: skip
    for program in programs:
        lines += [
            "", f"[program:{program.name}]", f"command={_text(program.line())}", f"directory={_text(own / 'work')}",
            "autorestart=true", f"startsecs={WORKED_SECONDS}", f"startretries={TRIES}", "stopwaitsecs=30", "stopasgroup=true",
            "killasgroup=true", "redirect_stderr=true", *_log("stdout_logfile", log_of(home, program.name)),
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _log(option: str, path: Path) -> list[str]:
    return [f"{option}={_text(path)}", f"{option}_maxbytes=10MB", f"{option}_backups=5"]


def _text(value: object) -> str:
    """As supervisord reads it, which expands %(names)s."""
    return str(value).replace("%", "%%")


def _umask() -> int:
    """The person's own, so that a lake that a group shares stays so."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def log_of(home: Path, name: str) -> Path:
    """Where a program's output goes."""
    return folder(home) / "logs" / f"{name}.log"


def tail(home: Path, name: str, *, lines: int = 25) -> str:
    """The end of a program's log."""
    path = log_of(home, name)
    if not path.is_file():
        return "(no log)"
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 20_000))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def start(home: Path, programs: Sequence[Program], environ: Mapping[str, str]) -> None:
    """Start supervisord in the background, and with it the programs.

    Raises:
        NotStarted: it refused.
    """
    path = folder(home) / "supervisord.conf"
    path.write_text(configuration(home, programs), encoding="utf-8")
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:  # not a pipe, which a child would keep open
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(path)],
            cwd=folder(home) / "work",
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            check=False,
        )
        said.seek(0)
        told = said.read().strip()
    until = time.monotonic() + 60
    while done.returncode == 0 and not alive(home) and time.monotonic() < until:
        time.sleep(0.05)
    if not alive(home):
        raise NotStarted(f"supervisord did not start:\n{told or tail(home, 'supervisord')}")


def states(home: Path) -> dict[str, State]:
    """Every program's state, by its name; nothing where nothing is supervised, or supervisord is shutting down."""
    try:
        with _asked(home) as supervisor:
            found = supervisor.getAllProcessInfo()
    except (OSError, Fault):
        return {}
    return {
        one["name"]: State(
            name=one["name"],
            state=one["statename"],
            pid=one["pid"],
            began=one["start"],
            uptime_seconds=max(0, one["now"] - one["start"]) if one["pid"] else 0,
            error=one["spawnerr"],
        )
        for one in found
    }


def stop(home: Path, name: str, *, wait: bool = True) -> None:
    """Stop a program, and start it no more."""
    with suppress(Fault), _asked(home) as supervisor:  # it does not run
        supervisor.stopProcess(name, wait)


def shut_down(home: Path) -> None:
    """Stop every program and supervisord; returns when it is gone, or has been given its time.

    Its socket goes first, so the process itself is looked at.
    """
    itself = None
    with suppress(OSError, Fault, psutil.Error), _asked(home) as supervisor:
        itself = psutil.Process(supervisor.getPID())
        supervisor.shutdown()
    until = time.monotonic() + SHUTDOWN_SECONDS
    while (alive(home) or (itself is not None and processes.lives(itself))) and time.monotonic() < until:
        time.sleep(0.1)


@contextmanager
def _asked(home: Path) -> Iterator[Any]:
    """supervisord's own interface over its socket."""
    transport = SupervisorTransport(None, None, serverurl=f"unix://{control(home)}")
    try:
        yield ServerProxy("http://127.0.0.1", transport=transport).supervisor
    finally:
        transport.close()

"""Processes of a desk, found by what supervisord wrote into their environment, wherever they hang in the tree of processes.

A program that is killed leaves its children, which keep its port; a worker that is killed leaves its flow runs, which go on and end well by
themselves, so those are only ended when the desk goes down. Not covered: ending them (`tasks.processes`); processes of other users, whose
environment nobody may read.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from flows.operate.places import control

RUN = "PREFECT__FLOW_RUN_ID"
PORT_SECONDS = 15  # until the kernel has taken a program away that nobody can see any more


def of_desk(home: Path, *, program: str | None = None) -> list[psutil.Process]:
    """The programs of this home and their children, or of one program; neither flow runs nor the caller itself."""
    return [
        process
        for process, told in _supervised(home)
        if RUN not in told and (program is None or told.get("SUPERVISOR_PROCESS_NAME") == program)
    ]


def runs(home: Path) -> dict[str, list[psutil.Process]]:
    """The flow runs that a worker of this home started and that still have a process: run id -> its processes."""
    found: dict[str, list[psutil.Process]] = {}
    for process, told in _supervised(home):
        if run := told.get(RUN):
            found.setdefault(run, []).append(process)
    return found


def orphans(home: Path, worker: int) -> dict[str, list[psutil.Process]]:
    """The flow runs that a dead worker left: nobody could cancel them through the API, for the worker that runs now does not know them."""
    return {run: some for run, some in runs(home).items() if not any(_below(worker, one) for one in some)}


def listener(port: int) -> str | None:
    """Who listens on a port; None where nobody does, empty where this user may not see who, or it was killed a moment ago."""
    with suppress(psutil.Error):
        for line in psutil.net_connections("tcp"):
            if line.status == psutil.CONN_LISTEN and line.laddr.port == port:
                return _called(line.pid) if line.pid else ""
    return None


def _called(pid: int) -> str:
    with suppress(psutil.Error):
        return f"{psutil.Process(pid).name()}, process {pid}"
    return ""


def await_ports(ports: Iterable[int]) -> None:
    """Wait a while for ports on which nobody to be seen listens: who killed their programs may have been somebody else."""
    until = time.monotonic() + PORT_SECONDS
    for port in ports:
        while listener(port) == "" and time.monotonic() < until:
            time.sleep(0.1)


def _below(parent: int, process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return parent in (one.pid for one in process.parents())
    return False


def _supervised(home: Path) -> Iterator[tuple[psutil.Process, dict[str, str]]]:
    wanted, own = f"unix://{control(home)}", psutil.Process().pid
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            told = process.environ()
            if told.get("SUPERVISOR_SERVER_URL") == wanted and process.pid != own:
                yield process, told

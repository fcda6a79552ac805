"""The log as JSON, an object a line, for a log collector: when, how grave, who, what, and which run, night, source and table it is about.

A process whose logging is set up by Prefect with `CONFIGURATION` (`PREFECT_LOGGING_CONFIG_PATH`) writes such lines from its start, the
server and the worker too; `begin` does the same for a process that has begun with lines for people. Which run it is comes from Prefect,
what it is about from `tasks.context`.

A run that a worker of this machine started writes its lines to the worker's log itself, since a pipe to a worker that is killed ends the run too;
until it has begun, `Console` lets go what can no longer be written.

Only the fields named here are written: what else a library hangs on a record may hold anything. Not covered: the lines of Ray's own
processes, which stay in Ray's folder, and those of MLflow's server.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from prefect.logging.handlers import PrefectConsoleHandler
from pythonjsonlogger.json import JsonFormatter

from tasks.context import said

CONFIGURATION = Path(__file__).with_name("logging.yaml")
OURS = ("flows", "tasks", "models")
OF_A_RUN = ("flow_run_id", "flow_run_name", "task_run_id", "task_run_name")


class Console(PrefectConsoleHandler):
    """Prefect's lines for people; one whose reader is gone ends nothing. Named by PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS."""

    def __init__(self, *given: Any, **named: Any) -> None:
        """As Prefect's."""
        super().__init__(*given, **named)
        self.console.on_broken_pipe = lambda: None  # type: ignore[method-assign] # rich's ends the process


class JsonLines(JsonFormatter):
    """A record as one line of JSON. Times are UTC; a field about which nothing is known is left out."""

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """The fields of a line, in their order."""
        time = dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds")
        log_data |= {"time": time, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        log_data |= {**run_of(record), **said()}
        if told := message_dict.get("exc_info"):
            log_data["exception"] = told


def run_of(record: logging.LogRecord) -> dict[str, str]:
    """The run that wrote a record: as Prefect's own loggers say, else the one at work here; and its night where that is a parameter."""
    from prefect.context import FlowRunContext, TaskRunContext

    flow, task = FlowRunContext.get(), TaskRunContext.get()
    found: dict[str, object] = {}
    if flow is not None and flow.flow_run is not None:
        found = {"flow_run_id": flow.flow_run.id, "flow_run_name": flow.flow_run.name}
        if night := (flow.parameters or {}).get("night"):
            found["night"] = str(night)[:10]
    if task is not None:
        found |= {"task_run_id": task.task_run.id, "task_run_name": task.task_run.name}
    found |= {name: value for name in OF_A_RUN if (value := getattr(record, name, None)) is not None}
    return {name: str(value) for name, value in found.items()}


def begin(log_format: Literal["text", "json"]) -> None:
    """Let this process write its log as the settings say; lines for people are how it begins, so for them nothing is done."""
    _outlive_the_worker()
    if log_format == "text":
        return
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, PrefectConsoleHandler)]:
        lines = logging.StreamHandler(handler.stream)
        lines.setLevel(handler.level)
        lines.setFormatter(JsonLines())
        root.removeHandler(handler)
        root.addHandler(lines)
    for name in OURS:
        logging.getLogger(name).setLevel(logging.INFO)


def _outlive_the_worker() -> None:
    """Where a supervised worker reads this process's output, append it to the worker's log without the worker."""
    from flows.operate.leftovers import RUN
    from flows.operate.places import folder
    from flows.settings import inherited

    given = inherited()
    if RUN not in given or given.get("SUPERVISOR_PROCESS_NAME") != "worker":
        return
    log = os.open(
        folder(Path(given["NIGHTDESK_HOME"])) / "logs" / "worker.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644
    )
    for stream in (sys.stdout, sys.stderr):
        with suppress(BrokenPipeError):
            stream.flush()
        os.dup2(log, stream.fileno())
    os.close(log)

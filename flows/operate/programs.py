"""The programs that `nightdesk up` keeps running, and the one environment that all of them are started with.

Server, worker, MLflow, pages and watchdog; state lies in the home, or in PostgreSQL where `operate.database` names one. Secrets reach a program in
its environment alone: never in its arguments, which every user of the machine can read, nor in supervisord's configuration. What Prefect's own
variables say about *where* a server, a database or a profile is, is not taken over from the person who starts the desk; everything else is.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.operate import places
from flows.operate.places import Places
from flows.settings import Settings
from flows.silence import SILENCE

NOT_TAKEN_OVER = (
    "PREFECT_API_", "PREFECT_SERVER_API_", "PREFECT_SERVER_DATABASE_", "PREFECT_PROFILE", "PREFECT_HOME", "PREFECT__",
    "PREFECT_LOGGING_TO_API_", "MLFLOW_TRACKING_", "MLFLOW_REGISTRY_", "SUPERVISOR_",
)  # fmt: skip
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
HEARTBEAT_SECONDS = 30  # of a flow run; Prefect allows no less


@dataclass(frozen=True, kw_only=True)
class Program:
    """A command that is kept running; `port` is the one it listens on, by the setting of that name."""

    name: str
    command: tuple[str, ...]
    port: int | None = None
    setting: str = ""

    def line(self) -> str:
        """The command for a shell."""
        return shlex.join(self.command)


def places_of(settings: Settings, settings_file: Path) -> Places:
    """Where the programs will be reached, and what they work on; without secrets, for which a digest stands where the home has its key."""
    operate, theirs = settings.operate, "" if own_mlflow(settings) else settings.mlflow_uri
    host = EVERYWHERE.get(operate.host, f"[{operate.host}]" if ":" in operate.host else operate.host)
    return Places(
        home=str(settings.home),
        settings_file=str(settings_file),
        lake=places.shown(settings.lake),
        pool=operate.pool,
        api_url=f"http://{host}:{operate.server_port}/api",
        ui_url=f"http://{host}:{operate.server_port}",
        pages_url=f"http://{host}:{operate.pages_port}",
        mlflow_url=places.shown(theirs) or f"http://{host}:{operate.mlflow_port}",
        settings_digest=places.digest(settings_file),
        secrets_digest=places.seal(settings.home, f"{settings.lake}\n{theirs}"),
    )


def programs(settings: Settings, where: Places) -> tuple[Program, ...]:
    """What is started, in the order in which it is waited for."""
    operate, python = settings.operate, sys.executable
    launcher = (python, "-m", "flows.operate.launch")

    def listening(name: str, port: int, *arguments: str) -> Program:
        command = (*launcher, "--sweep", where.home, name, "--", python, "-m", *arguments)
        return Program(name=name, command=command, port=port, setting=f"operate.{name}_port")

    server = ("prefect", "server", "start", *_at(operate.host, operate.server_port))
    worker = (
        *(*launcher, "--await", f"{where.api_url}/health", "worker", "--", python, "-m", "prefect", "worker", "start"),
        *("--type", "process", "--pool", operate.pool, "--name", places.USER, "--install-policy", "never"),
    )
    mlflow = ("mlflow", "server", *_at(operate.host, operate.mlflow_port), "--workers", "1")
    started = [
        listening("server", operate.server_port, *server),
        Program(name="worker", command=worker),
        listening("mlflow", operate.mlflow_port, *mlflow),
        listening("pages", operate.pages_port, "flows.operate.pages"),
        Program(name="watchdog", command=(*launcher, "watchdog", "--", python, "-m", "flows", "watchdog")),
    ]
    return tuple(one for one in started if one.name != "mlflow" or own_mlflow(settings))


def _at(host: str, port: int) -> tuple[str, ...]:
    return "--host", host, "--port", str(port)


def own_mlflow(settings: Settings) -> bool:
    """False where the settings name somebody else's MLflow server: then none is started here."""
    return not settings.mlflow_uri.startswith(("http:", "https:", "databricks"))


def environment(settings: Settings, where: Places, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of every program, secrets included; flow runs get it from the worker.

    Args:
        inherited: of the person who starts the desk: `${NAME}` secrets of the settings, credentials of an object store, `NIGHTDESK_*`.
    """
    taken = {name: value for name, value in inherited.items() if not name.startswith(NOT_TAKEN_OVER)}
    environ = taken | SILENCE | where.environ()
    environ |= {
        "NIGHTDESK_HOME": str(settings.home),
        "PREFECT_HOME": str(settings.home / "prefect"),
        "NIGHTDESK_SETTINGS": where.settings_file,
        "NO_PROXY": ",".join(filter(None, (taken.get("NO_PROXY"), "127.0.0.1,localhost,::1", settings.operate.host))),
        "PREFECT_SERVER_API_AUTH_STRING": where.auth,
        # in memory they are lost at a restart, and with them the run that held one
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        "PREFECT_CLI_COLORS": "false",
        "PREFECT_LOGGING_COLORS": "false",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "MLFLOW_ARTIFACTS_DESTINATION": str(settings.home / "mlartifacts"),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    if not {"PREFECT_SERVER_UI_API_URL", "PREFECT_UI_API_URL"} & set(taken):
        environ["PREFECT_SERVER_UI_API_URL"] = "/api"  # of the address at which a browser found the UI
    if "NIGHTDESK_LAKE" in inherited:
        environ["NIGHTDESK_LAKE"] = settings.lake
    if own_mlflow(settings):
        environ["MLFLOW_BACKEND_STORE_URI"] = settings.mlflow_uri
    if settings.operate.database:
        url = settings.operate.database_of("prefect", driver="asyncpg")
        environ["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = url
    if settings.operate.log_format == "json":
        from flows.operate.logs import CONFIGURATION

        environ["PREFECT_LOGGING_CONFIG_PATH"] = str(CONFIGURATION)
    else:
        environ["PREFECT_LOGGING_HANDLERS_CONSOLE_CLASS"] = "flows.operate.logs.Console"
    environ["no_proxy"] = environ["NO_PROXY"]
    return environ

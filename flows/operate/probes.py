"""Does a program work? Asked by `up` until it does, by `status`, `doctor` and the figures for Prometheus, and by a worker of its server.

Server, MLflow and pages are asked over HTTP, of a worker the server is. The watchdog, which asks others and is asked by nobody, leaves a mark
in the home after each look that went well: one that hangs, or fails at every look, does not work, though it lives.
"""

from __future__ import annotations

import datetime as dt
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from flows.operate.places import folder

if TYPE_CHECKING:
    import httpx

    from flows.operate.places import Places
    from flows.operate.supervised import State

SILENT_SECONDS = 120  # four times the pause between two signs of life of Prefect's worker, eight of the watchdog's
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy of the environment


def answers(url: str, timeout_seconds: float = 5) -> bool:
    """True when a GET of the URL succeeds."""
    try:
        with OPENER.open(url, timeout=timeout_seconds) as reply:
            return bool(reply.status < 400)
    except (OSError, ValueError):
        return False


def works(where: Places, state: State) -> bool:
    """True when a program runs and answers, or has given a sign of life lately."""
    if not state.pid:
        return False
    asked = {
        "server": f"{where.api_url}/health",
        "mlflow": f"{where.mlflow_url}/health",
        "pages": f"{where.pages_url}/healthz",
    }
    if state.name in asked:
        return answers(asked[state.name])
    since = max(state.began, time.time() - SILENT_SECONDS)
    return looked(Path(where.home), since=since) if state.name == "watchdog" else heard_of(where, since=since)


def mark(home: Path) -> Path:
    """The file that the watchdog touches after each look that went well."""
    return folder(home) / "looked"


def looked(home: Path, *, since: float) -> bool:
    """True when the watchdog has looked since then (Unix seconds)."""
    with suppress(OSError):
        return mark(home).stat().st_mtime >= since
    return False


def heard_of(where: Places, *, since: float) -> bool:
    """True when the server has heard of the pool's worker since then (Unix seconds)."""
    import httpx

    with suppress(httpx.HTTPError, OSError, ValueError), where.client(10) as client:
        return any(one >= since for one in heard(client.request, where.pool))
    return False


def heard(ask: Callable[..., httpx.Response], pool: str) -> list[float]:
    """When the server has heard of each of a pool's workers last, in Unix seconds; `ask` is the `request` of a client of its API.

    Raises:
        httpx.HTTPError: it does not answer, or has no such pool (404).
    """
    found = ask("POST", f"/work_pools/{pool}/workers/filter", json={}).raise_for_status().json()
    times = [one["last_heartbeat_time"] for one in found]
    return [dt.datetime.fromisoformat(one).timestamp() for one in times if one]

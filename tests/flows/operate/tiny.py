"""A deployment so small that a worker is done with it in seconds, made and started over the REST API as the UI does it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.flows.operate.running import RunningDesk
from tests.waiting import until

FLOW = '''
import json, os, time
from pathlib import Path
from prefect import flow

@flow
def tiny(folder: str, seconds: float = 0) -> None:
    """Say where it runs, work for a while, and say how it ended."""
    here = Path(folder)
    told = {name: value for name, value in os.environ.items() if name.startswith(("NIGHTDESK_", "PREFECT_FLOWS_"))}
    (here / "began.draft").write_text(json.dumps(told | {"cwd": os.getcwd(), "pid": os.getpid()}))
    (here / "began.draft").rename(here / "began.json")
    try:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.1)
    finally:
        (here / "finally").touch()
'''
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def deploy(desk: RunningDesk, folder: Path) -> str:
    """Make the deployment, its flow's code in the folder; returns its id."""
    folder.mkdir(parents=True)
    (folder / "tiny.py").write_text(FLOW, encoding="utf-8")
    with desk.client() as client:
        flow = client.post("/flows/", json={"name": "tiny"}).raise_for_status().json()
        asked = {
            "name": folder.name,
            "flow_id": flow["id"],
            "entrypoint": "tiny.py:tiny",
            "work_pool_name": "nightdesk",
            "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": str(folder)}}],
            "parameters": {"folder": str(folder)},
        }
        return str(client.post("/deployments/", json=asked).raise_for_status().json()["id"])


def start(desk: RunningDesk, deployment: str, **parameters: object) -> str:
    """Start a run as the UI does; returns its id."""
    with desk.client() as client:
        reply = client.post(f"/deployments/{deployment}/create_flow_run", json={"parameters": parameters})
        return str(reply.raise_for_status().json()["id"])


def state(desk: RunningDesk, run: str) -> str:
    """The type of a run's state."""
    with desk.client() as client:
        return str(client.get(f"/flow_runs/{run}").raise_for_status().json()["state"]["type"])


def recorded(desk: RunningDesk, run: str) -> str:
    """The type of a run's state in the server's own file, while no server runs."""
    with closing(sqlite3.connect(f"file:{desk.home / 'prefect' / 'prefect.db'}?mode=ro", uri=True)) as line:
        return str(line.execute("SELECT state_type FROM flow_run WHERE id = ?", (run,)).fetchone()[0])


def ended(desk: RunningDesk, run: str, *, among: Collection[str] = ENDED) -> str:
    """Wait until a run's state is one of these; returns it."""
    return str(until(lambda: (now := state(desk, run)) in among and now, lambda: f"{state(desk, run)} {logs(desk)}"))


def began(folder: Path) -> dict[str, Any]:
    """Wait until the flow is at work; returns what it saw."""
    until((folder / "began.json").exists)
    return dict(json.loads((folder / "began.json").read_text(encoding="utf-8")))


def logs(desk: RunningDesk) -> str:
    """The ends of the programs' logs."""
    found = sorted((desk.home / "operate" / "logs").glob("*.log"))
    return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-2500:]}" for path in found)

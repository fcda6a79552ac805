"""The lock of a night, for which a run of a deployment waits.

The server serves the next of a queue as soon as a run is being cancelled, while that run still writes; and on an object store a killed run holds
its night until its lease has run out. So a run that nobody watches waits for as long as that may take. A person at a command line is
refused at once, and a run within a run leaves the night to whoever is at it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import date
from threading import Event

from prefect import runtime

from tasks.lake import Lake
from tasks.lake.waiting import waited_for


def locked(lake: Lake, night: date, *, run_id: str, given_up: Event | None = None) -> AbstractContextManager[None]:
    """As `Lake.lock`; a run of a deployment waits, at most until `given_up`.

    Raises:
        NightLocked: another run writes the night, and still does after the wait.
    """
    if runtime.deployment.id is None:
        return lake.lock(night, run_id=run_id)
    return waited_for(lake, night, run_id=run_id, given_up=given_up)

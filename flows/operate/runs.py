"""What the Prefect server says of the nightly runs: asked only where a server is configured, else Prefect would start one."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.operate.declared import NIGHTLY

IMPATIENT = {"timeout": 5.0}  # seconds: whoever asks for figures waits for them
TASK_RUNS = 200  # asked for at once; a night has some ten


@dataclass(frozen=True, kw_only=True)
class LastRun:
    """The run of a flow that ended last: its name, its state's type, when it ended (UTC), its seconds and those of each step by name."""

    name: str
    state: str
    ended: dt.datetime
    seconds: float
    steps: dict[str, float] = field(default_factory=dict)


def connected() -> bool:
    """Whether a Prefect server is configured."""
    return bool(PREFECT_API_URL.value())


def last_run(flow: str = NIGHTLY) -> LastRun | None:
    """The run of the flow that ended last; None where none has, or no server is configured."""
    if not connected():
        return None
    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
        get_client(sync_client=True, httpx_settings=IMPATIENT) as client,
    ):
        ended = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES)))
        runs = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])),
            flow_run_filter=FlowRunFilter(state=ended),
            sort=FlowRunSort.END_TIME_DESC,
            limit=1,
        )
        if not runs:
            return None
        run = runs[0]
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])), limit=TASK_RUNS)
    steps: dict[str, float] = {}
    for task in tasks:
        step = task.task_key.rpartition("-")[0] or task.task_key  # the function's name, and a hash of its file
        steps[step] = steps.get(step, 0.0) + task.total_run_time.total_seconds()
    return LastRun(
        name=run.name,
        state=run.state_type.value if run.state_type else "UNKNOWN",
        ended=run.end_time or dt.datetime.now(dt.UTC),
        seconds=run.total_run_time.total_seconds(),
        steps=steps,
    )

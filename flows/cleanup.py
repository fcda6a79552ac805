"""Old runs off the server: its database would grow for ever, and its pages slow down, with runs that nobody looks at any more.

Removed are runs of our flows that ended long ago, with their task runs, logs and artifacts, in batches; run again after an interruption, it
goes on. Runs of others' flows stay, and so does everything in the lake: what a night published is never touched. Events go by the server's
own retention.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

from prefect import flow, get_run_logger, runtime
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    DeploymentFilter,
    DeploymentFilterTags,
    FlowFilter,
    FlowFilterId,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES
from prefect.exceptions import ObjectNotFound
from pydantic import Field

from flows.artifacts import concluded
from flows.forms import form
from flows.operate import logs
from flows.operate.declared import TAG
from flows.sections import LEAST_DAYS_KEPT
from flows.settings import load, quiet

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

BATCH = 50
PAGE = 200


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """How many runs and artifacts were removed, or would be."""

    runs: int
    artifacts: int
    before: dt.datetime

    @property
    def said(self) -> str:
        """The counts in a line."""
        return f"{self.runs} runs that ended before {self.before:%Y-%m-%d %H:%M} UTC, with {self.artifacts} artifacts and their logs"


def run_name() -> str:
    """The run's name on its page: the flow, and when it was due."""
    return f"cleanup {runtime.flow_run.scheduled_start_time:%Y-%m-%d %H:%M} UTC"


@form
@flow(name="cleanup", flow_run_name=run_name)
def cleanup(
    keep_days: Annotated[int, Field(ge=LEAST_DAYS_KEPT)] | None = None,
    dry_run: bool = False,
    settings_file: str | None = None,
) -> Cleaned:
    """Remove finished runs from the server once they are old, with their logs and artifacts. The lake's tables are never touched.

    Args:
        keep_days: Runs that ended within so many days are kept; the watchdog needs those of the last three. Empty: as the settings say.
        dry_run: Count them and remove nothing.
        settings_file: A TOML settings file on the worker. Empty: NIGHTDESK_SETTINGS, nightdesk.toml, or the shipped sample's.
    """
    quiet()
    settings = load(settings_file)
    logs.begin(settings.operate.log_format)
    days = keep_days or settings.operate.keep_runs_days
    with get_client(sync_client=True) as client:
        cleaned = clean(client, before=dt.datetime.now(dt.UTC) - dt.timedelta(days=days), dry_run=dry_run)
    said = f"{'would remove' if dry_run else 'removed'} {cleaned.said}"
    get_run_logger().info(said)
    create_markdown_artifact(said, key="cleanup", description="Old runs")
    return concluded(cleaned, said)


def clean(client: SyncPrefectClient, *, before: dt.datetime, dry_run: bool = False) -> Cleaned:
    """Remove the runs of our flows that ended before that time."""
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    flows = {one.flow_id for one in client.read_deployments(deployment_filter=ours, limit=PAGE)}
    if not flows:
        return Cleaned(runs=0, artifacts=0, before=before)
    of_ours = FlowFilter(id=FlowFilterId(any_=sorted(flows)))
    old = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=sorted(TERMINAL_STATES))),
        end_time=FlowRunFilterEndTime(before_=before),
    )
    if dry_run:
        count = client.count_flow_runs(flow_filter=of_ours, flow_run_filter=old)
        return Cleaned(runs=count, artifacts=_count_artifacts(client, of_ours, old), before=before)
    runs = artifacts = 0
    while batch := client.read_flow_runs(flow_filter=of_ours, flow_run_filter=old, limit=BATCH):
        artifacts += _artifacts(client, [run.id for run in batch])
        for run in batch:
            with suppress(ObjectNotFound):  # somebody else removed it
                client.delete_flow_run(run.id)
        runs += len(batch)
    return Cleaned(runs=runs, artifacts=artifacts, before=before)


def _count_artifacts(client: SyncPrefectClient, flows: FlowFilter, runs: FlowRunFilter) -> int:
    """How many artifacts hang on the runs; the server counts, which Prefect's client has no method for."""
    asked = {"flows": flows.model_dump(mode="json"), "flow_runs": runs.model_dump(mode="json")}
    return int(client.request("POST", "/artifacts/count", json=asked).json())


def _artifacts(client: SyncPrefectClient, runs: Sequence[UUID]) -> int:
    """Remove the artifacts of runs, which would outlive them; first, so that an interruption leaves nothing behind."""
    of_runs = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=list(runs)))
    removed = 0
    while found := client.read_artifacts(artifact_filter=of_runs, limit=PAGE):
        for artifact in found:
            client.delete_artifact(artifact.id)
        removed += len(found)
    return removed

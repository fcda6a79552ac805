"""Bring to a Prefect server what is declared: pool, queues, deployments with their schedules, a variable, notification blocks, automations.

Applied again, nothing changes: what is there already is compared and left alone, with its ids and the runs that are scheduled. What a person
has paused (a pool, a queue, a deployment, a schedule) stays paused, and a schedule without a slug is a person's and stays. Deployments of ours
that are declared no more are removed, and their runs stay; whatever is not ours, in another pool or without our tag, is never touched. A copy
that the UI's Duplicate made of one of ours has our tag: it is removed unless the tag is taken off. Not covered: removing queues and pools.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.client.schemas.actions import DeploymentScheduleCreate, VariableCreate, VariableUpdate, WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.workers.utilities import get_default_base_job_template_for_infrastructure_type

from flows.forms import schema_of
from flows.operate.automations import apply_automations, automations
from flows.operate.blocks import apply_blocks, urls_of
from flows.operate.changes import Change, What
from flows.operate.declared import NIGHTLY, TAG, Declared, Deployment
from flows.settings import Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

VARIABLE = "nightdesk"
TOLD = {
    "schedule", "retrain", "night_minutes", "late_minutes", "silent_minutes", "catch_up_nights", "keep_runs_days",
}  # fmt: skip
PLAIN = ("version", "description", "entrypoint", "work_pool_name", "work_queue_name", "parameters", "job_variables")


def apply(client: SyncPrefectClient, wanted: Declared, settings: Settings) -> list[Change]:
    """Make the server hold what is declared; returns what became of each thing, in the order in which they were made."""
    changes = [_pool(client, wanted), *_queues(client, wanted)]
    flows: dict[UUID, UUID] = {}
    nightly: UUID | None = None
    for one in wanted.deployments:
        change, deployment = _deployment(client, one, wanted.version)
        changes.append(change)
        flows[deployment.flow_id] = deployment.id
        nightly = deployment.id if one.name == NIGHTLY else nightly
    changes += _removed(client, wanted)
    changes.append(_variable(client, settings))
    blocks, ids = apply_blocks(client, urls_of(settings))
    changes += blocks
    if nightly is not None:
        changes += apply_automations(client, automations(settings.operate, flows=flows, nightly=nightly, blocks=ids))
    return changes


def _pool(client: SyncPrefectClient, wanted: Declared) -> Change:
    """A pool that is there keeps its type and its job template: on Kubernetes it was made with one (deployments/kubernetes)."""
    name, kind = wanted.pool.name, wanted.pool.type
    try:
        there = client.read_work_pool(name)
    except ObjectNotFound:
        template = asyncio.run(get_default_base_job_template_for_infrastructure_type(kind))
        client.create_work_pool(WorkPoolCreate(name=name, type=kind, base_job_template=template or {}))
        return Change(kind="pool", name=name, what="made", details=kind)
    return Change(
        kind="pool", name=name, what="unchanged", details=there.type + (", paused" if there.is_paused else "")
    )


def _queues(client: SyncPrefectClient, wanted: Declared) -> Iterator[Change]:
    for name, queue in wanted.queues.items():
        limit = "no limit" if queue.concurrency_limit is None else f"limit {queue.concurrency_limit}"
        fields = queue.model_dump()
        what: What = "unchanged"
        try:
            there = client.read_work_queue_by_name(name, work_pool_name=wanted.pool.name)
        except ObjectNotFound:
            there = client.create_work_queue(name, work_pool_name=wanted.pool.name, **fields)
            what = "made"
        else:
            if any(getattr(there, field) != value for field, value in fields.items()):
                client.update_work_queue(there.id, **fields, is_paused=there.is_paused)
                what = "changed"
        paused = ", paused" if there.is_paused else ""
        yield Change(kind="queue", name=f"{wanted.pool.name}/{name}", what=what, details=limit + paused)


def _deployment(client: SyncPrefectClient, one: Deployment, version: str) -> tuple[Change, DeploymentResponse]:
    flow: Flow[..., Any] = load_flow_from_entrypoint(one.entrypoint, use_placeholder_flow=False)
    name = f"{flow.name}/{one.name}"
    try:
        before = client.read_deployment_by_name(name)
    except ObjectNotFound:
        before = None
    there = before.schedules if before else []
    asleep = {schedule.slug for schedule in there if schedule.slug and not schedule.active}
    fields: dict[str, Any] = {
        "version": version,
        "description": one.description,
        "tags": sorted(one.tags),
        "entrypoint": one.entrypoint,
        "work_pool_name": one.work_pool.name,
        "work_queue_name": one.work_pool.work_queue_name,
        "parameters": one.parameters,
        "job_variables": one.work_pool.job_variables,
        "parameter_openapi_schema": schema_of(flow),
        "schedules": [*_schedules(one, asleep), *_by_hand(there)],
    }
    same = before is not None and _shape(before) == _declared_shape(fields)
    if not same:
        client.create_deployment(
            client.create_flow_from_name(flow.name),
            one.name,
            **fields,
            pull_steps=[],
            enforce_parameter_schema=True,
            paused=before.paused if before else None,
        )
    times = ", ".join(f"{schedule.cron} {schedule.timezone}" for schedule in one.schedules) or "by hand"
    paused = ", paused" if asleep or (before and before.paused) else ""
    what: What = "unchanged" if same else "changed" if before else "made"
    return (
        Change(kind="deployment", name=name, what=what, details=times + paused),
        client.read_deployment_by_name(name) if before is None else before,
    )


def _schedules(one: Deployment, asleep: Collection[str]) -> Iterator[DeploymentScheduleCreate]:
    for schedule in one.schedules:
        yield DeploymentScheduleCreate(
            schedule=CronSchedule(cron=schedule.cron, timezone=schedule.timezone),
            slug=schedule.slug,
            active=schedule.active and schedule.slug not in asleep,
            parameters=schedule.parameters,
        )


def _by_hand(there: Iterable[DeploymentSchedule]) -> Iterator[DeploymentScheduleCreate]:
    """Those that a person added, to be sent along: the server removes what it is not sent."""
    for schedule in there:
        if not schedule.slug:
            yield DeploymentScheduleCreate(
                schedule=schedule.schedule,
                active=schedule.active,
                max_scheduled_runs=schedule.max_scheduled_runs,
                parameters=schedule.parameters,
            )


def _shape(there: DeploymentResponse) -> dict[str, Any]:
    """What a deployment on the server is compared by."""
    schedules = [
        (one.slug, one.schedule.model_dump(mode="json"), one.active, one.parameters) for one in there.schedules
    ]
    return {field: getattr(there, field) for field in PLAIN} | {
        "tags": sorted(there.tags),
        "form": there.parameter_openapi_schema or {},
        "schedules": sorted(schedules, key=str),
        "odd": (there.path, there.pull_steps or [], there.enforce_parameter_schema, there.concurrency_options),
    }


def _declared_shape(fields: dict[str, Any]) -> dict[str, Any]:
    """The same of what is declared."""
    schedules = [
        (one.slug, one.schedule.model_dump(mode="json"), one.active, one.parameters) for one in fields["schedules"]
    ]
    return {field: fields[field] for field in PLAIN} | {
        "tags": fields["tags"],
        "form": fields["parameter_openapi_schema"],
        "schedules": sorted(schedules, key=str),
        "odd": (None, [], True, None),
    }


def _removed(client: SyncPrefectClient, wanted: Declared) -> Iterator[Change]:
    """Remove deployments of ours in this pool that are declared no more."""
    names = {one.name for one in wanted.deployments}
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    for there in client.read_deployments(deployment_filter=ours, limit=200):
        if there.work_pool_name == wanted.pool.name and there.name not in names:
            client.delete_deployment(there.id)
            yield Change(kind="deployment", name=there.name, what="removed")


def told(settings: Settings) -> dict[str, Any]:
    """What a server is told beside the deployments, for people, programs and `nightdesk doctor` to look up; no secret is among it."""
    operate = settings.operate.model_dump(mode="json", include=TOLD)
    zone, cutoff = settings.timezone, settings.cutoff.isoformat()
    return {"version": version("nightdesk"), "timezone": zone, "cutoff": cutoff, **operate}


def _variable(client: SyncPrefectClient, settings: Settings) -> Change:
    value = told(settings)
    there = client.read_variable_by_name(VARIABLE)
    what: What = "made" if there is None else "unchanged" if there.value == value else "changed"
    if there is None:
        client.create_variable(VariableCreate(name=VARIABLE, value=value, tags=[TAG]))
    elif there.value != value:
        client.update_variable(VariableUpdate(name=VARIABLE, value=value, tags=[TAG]))
    return Change(kind="variable", name=VARIABLE, what=what, details=f"version {value['version']}")

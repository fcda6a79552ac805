"""What the server does by itself about runs, declared here and brought to it by name: it acts when worker and watchdog are dead too.

Three automations change a run's state. A run of ours whose process has fallen silent is set CRASHED, which also frees its place in the queue; so
is one that a worker took and never began; a night that runs too long is cancelled. They tell nobody. People are told by the watchdog
(`flows.operate.watchdog`), which reads the states that these leave: it reaches every sink, once, with the memory and the retries of the nightly
alerts, whereas a server's notification knows Apprise alone, is tried once, is lost when the server dies at that moment, and comes again with
each run of a night. The one notification sent from here is about what the watchdog cannot tell: that it is silent itself.

A server that was away for longer than `operate.silent_minutes` has heard no heartbeat and takes runs that go on for dead; they finish all the
same and their nights are published, but their runs stay CRASHED. An automation that a person has switched off stays off; those of other
names are never touched.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

from flows.operate.changes import Change, What
from flows.operate.declared import TAG
from flows.sections import Operate

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

Related = dict[str, str | list[str]]  # what else an event must be about

SILENT_RUN, NEVER_BEGUN, LONG_NIGHT, SILENT_WATCHDOG = (
    "nightdesk: a run that falls silent has crashed",
    "nightdesk: a run that was taken and never begins has crashed",
    "nightdesk: a night that runs too long is cancelled",
    "nightdesk: the watchdog is silent",
)
# How the watchdog knows these states again.
ZOMBIE = "No heartbeat: its process is dead or cut off."
NO_BEGIN = "A worker took it and never began it: the worker died, or its machine is full."
TOO_LONG = "Runs longer than operate.night_minutes."
ALIVE, STOPPED = "nightdesk.watchdog.alive", "nightdesk.watchdog.stopped"
ENDS = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "TimedOut", "Crashed", "Cancelled")}
WAITS = {
    f"prefect.flow-run.{state}"
    for state in ("Scheduled", "Late", "AwaitingRetry", "AwaitingConcurrencySlot", "Cancelling")
}


def automations(
    operate: Operate, *, flows: Collection[UUID], nightly: UUID, blocks: Sequence[UUID]
) -> list[AutomationCore]:
    """Ours, for the flows of ours, the deployment of the nightly, and the blocks to notify through."""
    ours: Related = {
        "prefect.resource.role": "flow",
        "prefect.resource.id": sorted(f"prefect.flow.{id}" for id in flows),
    }
    found = [_silent_run(operate, ours), _never_begun(operate, ours), _long_night(operate, nightly)]
    found += [_silent_watchdog(operate, blocks)] if blocks else []
    return [one.model_copy(update={"tags": [TAG]}) for one in found]


def _silent_run(operate: Operate, ours: Related) -> AutomationCore:
    return AutomationCore(
        name=SILENT_RUN,
        description=f"A run of ours that sends no heartbeat for {operate.silent_minutes:g} minutes is set CRASHED.",
        trigger=_silence(
            {"prefect.flow-run.heartbeat"},
            {"prefect.flow-run.heartbeat", *ENDS},
            dt.timedelta(minutes=operate.silent_minutes),
            related=ours,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=ZOMBIE)],
    )


def _never_begun(operate: Operate, ours: Related) -> AutomationCore:
    return AutomationCore(
        name=NEVER_BEGUN,
        description=f"A run of ours that a worker took and has not begun within {operate.late_minutes:g} minutes is set CRASHED.",
        trigger=_silence(
            {"prefect.flow-run.Pending"},
            {"prefect.flow-run.Pending", "prefect.flow-run.Running", *WAITS, *ENDS},
            dt.timedelta(minutes=operate.late_minutes),
            related=ours,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=NO_BEGIN)],
    )


def _long_night(operate: Operate, nightly: UUID) -> AutomationCore:
    return AutomationCore(
        name=LONG_NIGHT,
        description=f"A night that runs for more than {operate.night_minutes:g} minutes is cancelled.",
        trigger=_silence(
            {"prefect.flow-run.Running"},
            {"prefect.flow-run.Running", *ENDS},  # each try of a run has its own time
            dt.timedelta(minutes=operate.night_minutes),
            related={"prefect.resource.role": "deployment", "prefect.resource.id": f"prefect.deployment.{nightly}"},
        ),
        actions=[ChangeFlowRunState(state=StateType.CANCELLING, message=TOO_LONG)],
    )


def _silent_watchdog(operate: Operate, blocks: Sequence[UUID]) -> AutomationCore:
    said = (
        f"No sign of the watchdog for {operate.silent_minutes:g} minutes: it, or this server, was away. "
        "Until it is back, nobody is told of nights that fail; see the runbook."
    )
    return AutomationCore(
        name=SILENT_WATCHDOG,
        description="Sent by the server itself, since the watchdog cannot tell of its own death.",
        trigger=_silence({ALIVE}, {ALIVE, STOPPED}, dt.timedelta(minutes=operate.silent_minutes)),
        actions=[SendNotification(block_document_id=id, subject=SILENT_WATCHDOG, body=said) for id in blocks],
    )


def apply_automations(client: SyncPrefectClient, wanted: Sequence[AutomationCore]) -> list[Change]:
    """Make, change and remove ours, which are told by their tag and name."""
    held = {
        one.name: one
        for one in client.read_automations(limit=200)
        if TAG in one.tags and one.name.startswith("nightdesk: ")
    }
    changes: list[Change] = []
    for one in wanted:
        before = held.pop(one.name, None)
        if before is None:
            client.create_automation(_full(one))
        elif _shape(before) != _shape(one):
            client.update_automation(before.id, _full(one.model_copy(update={"enabled": before.enabled})))
        what: What = "made" if before is None else "unchanged" if _shape(before) == _shape(one) else "changed"
        off = "" if before is None or before.enabled else " (switched off by somebody)"
        changes.append(Change(kind="automation", name=one.name, what=what, details=one.description + off))
    for gone in held.values():
        client.delete_automation(gone.id)
        changes.append(Change(kind="automation", name=gone.name, what="removed"))
    return changes


def _silence(
    after: set[str], expect: set[str], within: dt.timedelta, *, related: Related | None = None
) -> EventTrigger:
    """Fires for a run or the watchdog of which, after the one, none of the other is heard within the time."""
    return EventTrigger(
        after=after,
        expect=expect,
        for_each={"prefect.resource.id"},
        match_related=ResourceSpecification.model_validate(related or {}),
        posture=Posture.Proactive,
        threshold=1,
        within=within,
    )


def _full(one: AutomationCore) -> AutomationCore:
    """With every field set: an update sends no others, and the server needs the types of trigger and actions."""
    return AutomationCore.model_validate(one.model_dump(mode="json", exclude={"owner_resource"}))


def _shape(one: AutomationCore) -> dict[str, Any]:
    """What two automations are compared by: not whose they are, nor whether a person has switched one off."""
    return AutomationCore.model_validate(one.model_dump()).model_dump(exclude={"owner_resource", "enabled"})

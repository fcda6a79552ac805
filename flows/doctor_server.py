"""What starts the nights, held against the world: the desk's programs, the Prefect server and its key, the worker, the next run, the last night.

Part of `nightdesk doctor`. Whether the desk was started with what the settings say here is seen by what `nightdesk up` left in the home, whether the
server was told it by what `nightdesk deploy` left there; what a person has changed in the UI since is not looked at. Where no server is named and
none runs in this home, nights are run by hand, and that is no fault.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from data_contracts.errors import NightdeskError
from flows.doctor_clock import Witness, witness
from flows.findings import Finding
from flows.nights import cutoff_at
from flows.operate import places, probes, programs, server, supervised
from flows.operate.automations import LONG_NIGHT, NEVER_BEGUN, SILENT_RUN
from flows.operate.declared import NIGHTLY
from flows.operate.health import health
from flows.operate.runs import last_run
from flows.operate.starting import cannot_listen
from flows.settings import Settings
from tasks.lake import Lake
from tasks.secrecy import keep

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

TIMEOUT_SECONDS = 10
DEPLOYED = f"{NIGHTLY}/{NIGHTLY}"


def examine(settings: Settings, now: dt.datetime, witnesses: list[Witness]) -> Iterator[Finding]:
    """The programs of this home, and the Prefect server that a run would be started by."""
    own = places.running(settings.home)
    if own:
        yield _started_with(settings, own)
    yield from _supervised(settings.home) if own else _ports(settings)
    if own is None and not _named():
        found = "none is named, and none of this home runs: nights are run by hand"
        remedy = "`nightdesk up` or `make up`, then `nightdesk deploy`"
        yield Finding(what="Prefect server", good=False, found=found, remedy=remedy, needed=False)
        return
    if own:
        keep([own.auth.partition(":")[2]])
    try:
        with server.connected(None, settings) as client:
            url = str(client.api_url).rstrip("/")
            yield Finding(what="Prefect server", good=True, found=f"{url} answers and takes the key")
            yield _worker(client, settings.operate.pool, now)
            yield from _scheduled(client, now)
            yield _told(client, settings)
            yield _automations(client)
            yield from _last_run()
            _ask_the_time(url, witnesses)
    except NightdeskError as error:
        remedy = "mend what it says, or unset PREFECT_API_URL to run nights by hand"
        yield Finding(what="Prefect server", good=False, found=str(error), remedy=remedy)
    except Exception as error:  # whatever a server of another mind raises is what was found
        found = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        yield Finding(
            what="Prefect server", good=False, found=found, remedy="its log in operate/logs of the home says more"
        )


def _named() -> bool:
    from prefect.settings import PREFECT_API_URL

    return bool(PREFECT_API_URL.value())


def _started_with(settings: Settings, own: places.Places) -> Finding:
    """Whether the running desk has the pool, lake and addresses of these settings: a variable of the environment may be set in one shell alone."""
    asked = programs.places_of(settings, Path(own.settings_file))
    differing = own.unlike(asked)
    if not differing and own.other_secrets(asked):
        differing = ["in the address of its lake or of MLflow it has another user, key or query"]
    found = f"its pool {own.pool}, its lake {own.lake} and its addresses are those of the settings"
    remedy = (
        "look again with the NIGHTDESK_* variables and secrets that it was started with, or `nightdesk down`, then `nightdesk up` with these; "
        "what else is found here is about the settings of this shell"
    )
    return Finding(
        what="the running desk",
        good=not differing,
        found=f"it was started with other settings: {'; '.join(differing)}" if differing else found,
        remedy=remedy if differing else "",
        needed=False,
    )


def _supervised(home: Path) -> Iterator[Finding]:
    """Each program that `nightdesk up` keeps running: whether it does, and answers."""
    for one in health(home):
        yield Finding(
            what=f"program {one.name}",
            good=one.answers,
            found=f"{one.state.lower()} for {one.uptime_seconds / 60:.0f} minutes",
            remedy=""
            if one.answers
            else f"read {supervised.log_of(home, one.name)}; `nightdesk down`, then `nightdesk up`",
            needed=one.name in ("server", "worker"),
        )


def _ports(settings: Settings) -> Iterator[Finding]:
    """Free, or `nightdesk up` cannot start."""
    for program in programs.programs(settings, programs.places_of(settings, Path())):
        if program.port is None:
            continue
        refused = cannot_listen(settings.operate.host, program)
        found, remedy = refused or (f"{settings.operate.host}:{program.port} is free for `nightdesk up`", "")
        yield Finding(what=f"port of {program.name}", good=refused is None, found=found, remedy=remedy, needed=False)


def _worker(client: SyncPrefectClient, pool: str, now: dt.datetime) -> Finding:
    """Whether a worker takes runs of the pool: by its heartbeat, as the server sees it."""
    try:
        heard = probes.heard(client.request, pool)
    except httpx.HTTPStatusError as error:
        if error.response.status_code != httpx.codes.NOT_FOUND:
            raise
        found = f"the server has no work pool {pool}"
        return Finding(what="worker", good=False, found=found, remedy="`nightdesk deploy` (or `make deploy`)")
    alive = sum(one >= now.timestamp() - probes.SILENT_SECONDS for one in heard)
    last = f", last heard of {dt.datetime.fromtimestamp(max(heard), dt.UTC):%Y-%m-%d %H:%M:%S} UTC" if heard else ""
    return Finding(
        what="worker",
        good=bool(alive),
        found=f"{alive} of {len(heard)} in the pool {pool} alive{last}",
        remedy="" if alive else f"`nightdesk up`, or `prefect worker start --pool {pool}`",
    )


def _scheduled(client: SyncPrefectClient, now: dt.datetime) -> Iterator[Finding]:
    """Whether the nightly run is deployed, and when the next one is due."""
    from prefect.client.schemas.filters import (
        DeploymentFilter,
        DeploymentFilterId,
        FlowRunFilter,
        FlowRunFilterExpectedStartTime,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )  # fmt: skip
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort
    from prefect.exceptions import ObjectNotFound

    what, remedy = "schedule", "`nightdesk deploy` (or `make deploy`)"
    try:
        deployment = client.read_deployment_by_name(DEPLOYED)
    except ObjectNotFound:
        yield Finding(what=what, good=False, found=f"the server has no deployment {DEPLOYED}", remedy=remedy)
        return
    if deployment.paused or not any(schedule.active for schedule in deployment.schedules):
        found = f"the deployment {DEPLOYED} is paused, or no schedule of it is active"
        yield Finding(what=what, good=False, found=found, remedy="resume it on its page, or " + remedy)
        return
    coming = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
            expected_start_time=FlowRunFilterExpectedStartTime(after_=now),
        ),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=1,
    )
    due = coming[0].expected_start_time if coming else None
    found = f"the next night is due {due:%Y-%m-%d %H:%M} UTC" if due else "no run is scheduled"
    yield Finding(what=what, good=due is not None, found=found, remedy="" if due else remedy)


def _told(client: SyncPrefectClient, settings: Settings) -> Finding:
    """Whether the server was told what the settings say now."""
    from flows.operate.deploy import VARIABLE, told

    there = client.read_variable_by_name(VARIABLE)
    value = there.value if there is not None and isinstance(there.value, dict) else {}
    differing = [
        f"{name} is {now!r}, told was {value.get(name)!r}"
        for name, now in told(settings).items()
        if value.get(name) != now
    ]
    found = "; ".join(differing) if value else "it was told nothing yet"
    good = bool(value) and not differing
    return Finding(
        what="deployed",
        good=good,
        found="the server was told what the settings say" if good else found,
        remedy="" if good else "`nightdesk deploy` (or `make deploy`)",
        needed=False,
    )


def _automations(client: SyncPrefectClient) -> Finding:
    """Whether the server ends runs that have fallen silent or go on for too long."""
    there = {one.name for one in client.read_automations(limit=200) if one.enabled}
    gone = sorted({SILENT_RUN, NEVER_BEGUN, LONG_NIGHT} - there)
    found = (
        f"missing or switched off: {', '.join(gone)}" if gone else "runs that fall silent or take too long are ended"
    )
    remedy = "`nightdesk deploy`, or switch it on on its page" if gone else ""
    return Finding(what="automations", good=not gone, found=found, remedy=remedy, needed=False)


def _last_run() -> Iterator[Finding]:
    """How the last nightly run ended."""
    if run := last_run():
        good = run.state == "COMPLETED"
        found = f"{run.name} ended {run.ended:%Y-%m-%d %H:%M} UTC, {run.state.lower()}, after {run.seconds / 60:.1f} minutes"
        remedy = "" if good else "its page in the UI says why; docs/runbook.md says what to do"
        yield Finding(what="last run", good=good, found=found, remedy=remedy, needed=False)


def _ask_the_time(url: str, witnesses: list[Witness]) -> None:
    """Of a server on another machine what its clock says."""
    host = urlsplit(url).hostname or ""
    if not host.startswith(("127.", "localhost", "::1")):
        with suppress(httpx.HTTPError):
            witnesses.extend(
                witness(host, httpx.get(f"{url}/health", timeout=TIMEOUT_SECONDS, trust_env=False).headers)
            )


def last_night(settings: Settings, night: dt.date, now: dt.datetime) -> Iterator[Finding]:
    """Whether the last night that ended is published, once it has had the time that the settings give it."""
    operate = settings.operate
    patience = dt.timedelta(minutes=operate.late_minutes + operate.night_minutes)
    due = cutoff_at(night, settings.zone, settings.cutoff) + patience
    try:
        published = Lake.open(settings.lake).published_nights()
    except Exception:  # the lake has a finding of its own
        return
    latest = published[-1] if published else None
    good = latest is not None and (latest >= night or now < due)
    found = f"night {latest} is published" if latest else "no night is published yet"
    if latest is None or latest < night:
        found += (
            f"; night {night} is due until {due:%Y-%m-%d %H:%M} UTC" if now < due else f"; night {night} is missing"
        )
    remedy = "" if good else f"nightdesk run --night {night}"
    yield Finding(what="last night", good=good, found=found, remedy=remedy, needed=False)

"""The watchdog: looks at the Prefect server every few seconds and tells people what is wrong with the pipeline itself, each thing once.

A process of its own beside server and worker, because what it tells is often that one of them is dead: a flow that tells would wait for the
dead worker, a notification of the server dies with the server. It reads the present state of the runs, never events: what happened while it
was away is found when it is back, and events that a killed server lost are not missed. What was told is kept in the home, where neither a
lake that cannot be written nor another run is in the way. It counts a night as run when there is a run of it or the lake has it published.
A lake that cannot be opened keeps it from nothing else, nor does a part of a look that fails; what a person changes in the settings file is
gone by at the next look.

Its own silence is told by the server (`flows.operate.automations`); when the whole machine is gone, only somebody else can say so: a
Prometheus elsewhere (`deployments/prometheus.rules.yaml`). Not covered: runs that a person starts on the command line, who sees them fail.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event as Flag
from typing import TYPE_CHECKING, Any, cast

from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterParentTaskRunId,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events import Event
from prefect.exceptions import ObjectNotFound
from prefect.server.schemas.schedules import CronSchedule

from data_contracts.alerts import Alert
from data_contracts.errors import NightdeskError
from flows.nights import last_ended
from flows.operate.automations import ALIVE, STOPPED, TOO_LONG
from flows.operate.declared import NIGHTLY, TAG
from flows.operate.places import digest
from flows.operate.probes import mark
from flows.operate.server import ServerRefused, ServerUnreachable, connected
from flows.operate.troubles import Run, alert, missing, troubles
from flows.settings import Settings, load
from tasks import notify
from tasks.lake import Lake
from tasks.notify import SinkOutcome
from tasks.tell import Teller

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

log = logging.getLogger(__name__)

HORIZON = dt.timedelta(days=3)  # what is older when it is first seen is told no more
LONGEST_RUN = dt.timedelta(days=14)
PAGE = 200  # runs asked for at once
SIGN_OF_LIFE = 60.0  # seconds between two at most
STATE_CHANGES_WATCHED = ("CANCELLING", "CANCELLED")


class Watchdog:
    """Looks again and again; keeps in mind since when the server does not answer, and what was told.

    Args:
        settings: to begin with.
        server: its address, where it is another than the settings' own.
        file: where the settings were read; what it says later is gone by from then on.

    Raises:
        UnknownPlugin: the settings name a sink that there is not.
        PluginRefused: a sink's own settings are not allowed.
    """

    def __init__(self, settings: Settings, *, server: str | None = None, file: Path | None = None) -> None:
        self._server = server
        self._file = file
        self._read = ""  # so that what was changed while this was made is found at the first look
        self._began = dt.datetime.now(dt.UTC)
        self._moved: dt.datetime | None = None  # when the schedule became what it is
        self._unanswered: dt.datetime | None = None
        self._signed: dt.datetime | None = None
        self._names: dict[object, str] = {}
        self._go_by(settings)

    def _go_by(self, settings: Settings) -> None:
        """Take these settings; nothing is changed where they are refused."""
        lake = _later(settings.lake)
        sinks = notify.prepare(settings.alerting.sinks, lake)
        self._teller = Teller(sinks, _later(str(settings.home / "operate" / "watchdog")))
        self._settings, self._lake = settings, lake

    def watch(self, stop: Flag, *, every_seconds: float) -> None:
        """Look until `stop`; no error ends it."""
        while not stop.is_set():
            now = dt.datetime.now(dt.UTC)
            self._read_again(now)
            try:
                self.look(now)
            except Exception:
                log.exception("the watchdog could not look; it tries again")
            stop.wait(every_seconds)
        with suppress(NightdeskError), connected(self._server, self._settings) as client:
            _sign(client, STOPPED)

    def _read_again(self, now: dt.datetime) -> None:
        """Go by what the settings file says now; where that is refused, it is logged once, and the settings stay."""
        if self._file is None or (found := digest(self._file)) == self._read:
            return
        self._read, before = found, self._settings
        try:
            self._go_by(load(str(self._file)))
        except Exception as error:  # no file ends the watch, whatever is in it
            said = str(error) if isinstance(error, NightdeskError) else type(error).__name__
            log.warning("the settings file has changed and is not gone by: %s", said)
        else:
            log.info("goes by the settings in %s", self._file)
        if _times(self._settings) != _times(before):
            self._moved = now

    def look(self, now: dt.datetime) -> list[SinkOutcome]:
        """Look once, and tell what is new. Where a part fails, what was found before it is told, but that look is no sign of life."""
        found: list[Alert] = []
        silent_since, self._unanswered = self._unanswered, None
        well = True
        try:
            with connected(self._server, self._settings) as client:
                for one in self._seen(client, now):  # each is kept where a later one fails
                    found.append(one)
                self._sign_of_life(client, now)
        except (ServerUnreachable, ServerRefused) as error:
            self._unanswered = silent_since or now
            found += self._no_answer(error, self._unanswered, now)
        except Exception:
            log.exception("not everything that may be wrong could be looked at; it is tried again")
            well = False
        for one in found:
            log.debug("%s", one.message)
        outcomes = self._teller.tell(found, now)
        for outcome in outcomes:
            if outcome.sent or outcome.failed:
                log.info("%s: %d told, %d not: %s", outcome.sink, outcome.sent, outcome.failed, outcome.error or "")
        if well:
            with suppress(OSError):  # a home that cannot be written keeps nobody from being told
                mark(self._settings.home).touch()
        return outcomes

    def _seen(self, client: SyncPrefectClient, now: dt.datetime) -> Iterator[Alert]:
        """Everything that is wrong with runs that the server knows, then with those it does not."""
        operate = self._settings.operate
        runs = [self._run(client, one) for one in _runs(client, now)]
        yield from troubles(runs, operate, now=now, horizon=HORIZON)
        nightly = _nightly(client)
        known = nightly.created if nightly else None
        since = max(now - HORIZON, known or self._began, self._moved or now - HORIZON)
        due = self._due(since, now - dt.timedelta(minutes=operate.late_minutes))
        yield from missing(due, runs, published=self._published, why=_why(nightly, operate.schedule), now=now)

    def _due(self, since: dt.datetime, until: dt.datetime) -> list[tuple[dt.datetime, dt.date]]:
        """When the schedule of the settings had a run begin within the span, and which night's."""
        if until <= since:
            return []
        schedule = CronSchedule(cron=self._settings.operate.schedule, timezone=self._settings.timezone)
        dates = asyncio.run(schedule.get_dates(start=since, end=until))
        return [(date.astimezone(dt.UTC), self._night(date)) for date in dates]

    def _night(self, moment: dt.datetime) -> dt.date:
        return last_ended(moment, self._settings.zone, self._settings.cutoff)

    def _published(self, night: dt.date) -> bool:
        try:
            return self._lake.published(night)
        except Exception as error:  # whatever a store raises
            log.warning("whether night %s is published cannot be read: %s", night, error)
            return False

    def _run(self, client: SyncPrefectClient, one: FlowRun) -> Run:
        if one.deployment_id not in self._names:
            self._names |= {there.id: there.name for there in _deployments(client)}
        state, due = one.state, one.expected_start_time or one.created or self._began
        assert state is not None
        name = self._names.get(one.deployment_id, "")
        night = self._night(due)
        with suppress(ValueError):  # a run may have been started with anything
            night = dt.date.fromisoformat(str(one.parameters.get("night"))[:10]) if name == NIGHTLY else night
        watched = name == NIGHTLY and state.type.value in STATE_CHANGES_WATCHED
        return Run(
            id=str(one.id),
            name=one.name,
            deployment=name,
            night=night,
            due=due,
            begun=one.start_time is not None,
            state=state.type.value,
            state_name=state.name or "",
            since=state.timestamp,
            message=state.message or "",
            stopped=watched and any(past.message == TOO_LONG for past in client.read_flow_run_states(one.id)),
            page=_page(one),
        )

    def _no_answer(self, error: NightdeskError, since: dt.datetime, now: dt.datetime) -> list[Alert]:
        """An alert once the server has not answered for `silent_minutes`; one a day, where a day is the settings' zone's."""
        silent = dt.timedelta(minutes=self._settings.operate.silent_minutes)
        log.warning("the Prefect server cannot be asked: %s", error)
        if now - since < silent:
            return []
        day = now.astimezone(self._settings.zone).date()
        message = f"The Prefect server has not answered for {self._settings.operate.silent_minutes:g} minutes: {error}"
        return [alert("server", key=str(day), subject="the Prefect server", message=message, night=day, now=now)]

    def _sign_of_life(self, client: SyncPrefectClient, now: dt.datetime) -> None:
        """Let the server know, a few times within the span after which it takes this for dead."""
        pause = min(SIGN_OF_LIFE, self._settings.operate.silent_minutes * 60 / 4)
        if self._signed is None or (now - self._signed).total_seconds() >= pause:
            _sign(client, ALIVE)
            self._signed = now


def _runs(client: SyncPrefectClient, now: dt.datetime) -> list[FlowRun]:
    """The runs of our deployments that were due lately; those that a run started itself are its own matter."""
    wanted = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[TAG]),
        parent_task_run_id=FlowRunFilterParentTaskRunId(is_null_=True),
        expected_start_time=FlowRunFilterExpectedStartTime(after_=now - LONGEST_RUN, before_=now),
    )
    found: list[FlowRun] = []
    while True:
        page = client.read_flow_runs(
            flow_run_filter=wanted, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=PAGE, offset=len(found)
        )
        found += page
        if len(page) < PAGE:
            return [one for one in found if one.state is not None]


def _deployments(client: SyncPrefectClient) -> list[DeploymentResponse]:
    return client.read_deployments(
        deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG])), limit=PAGE
    )


def _nightly(client: SyncPrefectClient) -> DeploymentResponse | None:
    try:
        return client.read_deployment_by_name(f"{NIGHTLY}/{NIGHTLY}")
    except ObjectNotFound:
        return None


def _why(nightly: DeploymentResponse | None, schedule: str) -> str:
    """Why no run was made, as far as the server says."""
    if nightly is None:
        return "The server has no deployment of the nightly run: run `nightdesk deploy`."
    if nightly.paused or not any(schedule.active for schedule in nightly.schedules):
        return "The deployment or its schedule is paused."
    if schedule not in {getattr(one.schedule, "cron", None) for one in nightly.schedules}:
        return f"The server has another schedule than operate.schedule, {schedule!r}: run `nightdesk deploy`."
    return "The server was away, or does not schedule."


def _page(run: FlowRun) -> str:
    """The address of the run's page, where the server shows one."""
    from prefect.settings import PREFECT_UI_URL

    ui = PREFECT_UI_URL.value()
    return f"{str(ui).rstrip('/')}/runs/flow-run/{run.id}" if ui else ""


def _sign(client: SyncPrefectClient, event: str) -> None:
    sign = Event(event=event, resource={"prefect.resource.id": "nightdesk.watchdog"})
    client.request("POST", "/events", json=[sign.model_dump(mode="json")])


def _times(settings: Settings) -> tuple[object, ...]:
    """What says when a night is due, and which."""
    return settings.operate.schedule, settings.timezone, settings.cutoff


class _Later:
    """A lake that is opened when something of it is first used, since it may be what is wrong."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lake: Lake | None = None

    def __getattr__(self, name: str) -> Any:
        self._lake = self._lake or Lake.open(self._url)
        return getattr(self._lake, name)


def _later(url: str) -> Lake:
    return cast(Lake, _Later(url))

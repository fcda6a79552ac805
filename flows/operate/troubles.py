"""What is wrong with the pipeline itself, made of what is known of its runs: pure, so that each kind can be tried without a server.

A night that failed, crashed, fell silent (a zombie), timed out, is late, or did not run at all; a run of another deployment that failed,
crashed or fell silent; a server that does not answer. Each becomes an alert with a key of its kind and its night (of other deployments: its
run), so that a night that fails again is told once. What was cancelled by a person is no trouble.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from data_contracts.alerts import Alert
from flows.operate.automations import ZOMBIE
from flows.operate.declared import NIGHTLY
from flows.sections import Operate
from tasks.secrecy import struck_out

Kind = Literal["failed", "crashed", "zombie", "timed_out", "late", "missing", "server"]
LONGEST = 300  # characters of what a run says of its end


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run of one of our deployments.

    Attributes:
        id: the server's.
        name: on its page.
        deployment: its deployment's name.
        night: the night it is about, or the local date on which it was due.
        due: when it was to begin, UTC.
        begun: whether it ever ran.
        state: the type of its state, such as FAILED; `state_name` is that state's name, such as TimedOut.
        since: when it entered the state, UTC.
        message: what the state says.
        stopped: whether the server cancelled it because it ran too long.
        page: the address of its page, empty where the server has none.
    """

    id: str
    name: str
    deployment: str
    night: dt.date
    due: dt.datetime
    begun: bool
    state: str
    state_name: str
    since: dt.datetime
    message: str = ""
    stopped: bool = False
    page: str = ""


def kind_of(run: Run, now: dt.datetime, late: dt.timedelta) -> Kind | None:
    """What is wrong with a run; None where nothing is."""
    if run.state == "CRASHED":
        return "zombie" if run.message.startswith(ZOMBIE) else "crashed"
    if run.state == "FAILED":
        return "timed_out" if run.state_name == "TimedOut" else "failed"
    if run.state in ("CANCELLING", "CANCELLED") and run.stopped:
        return "timed_out"
    waits = run.state in ("SCHEDULED", "PENDING") and not run.begun
    return "late" if run.deployment == NIGHTLY and waits and run.due + late <= now else None


def troubles(runs: Iterable[Run], operate: Operate, *, now: dt.datetime, horizon: dt.timedelta) -> list[Alert]:
    """An alert for each run with which something is wrong since `horizon` ago."""
    late = dt.timedelta(minutes=operate.late_minutes)
    found = []
    for run in runs:
        kind = kind_of(run, now, late)
        if kind is None or max(run.since, run.due) < now - horizon:
            continue
        nightly = run.deployment == NIGHTLY
        subject = f"night {run.night}" if nightly else f"{run.deployment}, run {run.name}"
        said = _said(kind, run, operate)
        found.append(
            alert(
                kind,
                key=f"night {run.night}" if nightly else f"run {run.id}",
                subject=subject,
                message=f"{subject[0].upper()}{subject[1:]} {said}{f' {run.page}' if run.page else ''}",
                night=run.night,
                now=now,
            )
        )
    return found


def missing(
    due: Iterable[tuple[dt.datetime, dt.date]],
    runs: Collection[Run],
    *,
    published: Callable[[dt.date], bool],
    why: str,
    now: dt.datetime,
) -> list[Alert]:
    """An alert for each night whose run was due, of which there is no run, and which is not published either."""
    known = {run.night for run in runs if run.deployment == NIGHTLY}
    return [
        alert(
            "missing",
            key=f"night {night}",
            subject=f"night {night}",
            message=f"Night {night} did not run at all: it was due {moment:%Y-%m-%d %H:%M} UTC, and no run of it was made. {why}",
            night=night,
            now=now,
        )
        for moment, night in due
        if night not in known and not published(night)
    ]


def alert(kind: Kind, *, key: str, subject: str, message: str, night: dt.date, now: dt.datetime) -> Alert:
    """An alert about the pipeline."""
    return Alert(
        alert_key=f"pipeline {kind} {key}",
        run_date=night,
        monitor=f"pipeline_{kind}",
        subject=subject,
        severity="warning" if kind == "late" else "critical",
        message=message,
        article_ids=[],
        created_at=now,
        available_at=now,
    )


def _said(kind: Kind, run: Run, operate: Operate) -> str:
    """What is wrong, for people."""
    why = " ".join(struck_out(run.message).split())[:LONGEST] or "it does not say why"
    return {
        "failed": f"failed: {why}",
        "crashed": f"crashed: {why}",
        "zombie": f"is dead: for {operate.silent_minutes:g} minutes its process gave no sign of life. Run it again.",
        "timed_out": f"took longer than the {operate.night_minutes:g} minutes allowed (operate.night_minutes) and is cancelled.",
        "late": f"has not begun {operate.late_minutes:g} minutes after its time: is a worker running, and what holds the queue?",
    }[kind]

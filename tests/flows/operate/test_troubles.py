"""What is taken for trouble with the pipeline, kind by kind, and under which key it is told."""

import dataclasses
import datetime as dt

import pytest

from flows.operate.automations import ZOMBIE
from flows.operate.troubles import LONGEST, Run, kind_of, missing, troubles
from flows.sections import Operate

NOW = dt.datetime(2026, 3, 3, 4, 0, tzinfo=dt.UTC)
LATE = dt.timedelta(minutes=60)
NIGHT = dt.date(2026, 3, 2)
RUN = Run(
    id="11",
    name="nightly 2026-03-02",
    deployment="nightly",
    night=NIGHT,
    due=NOW - dt.timedelta(minutes=45),
    begun=True,
    state="RUNNING",
    state_name="Running",
    since=NOW - dt.timedelta(minutes=44),
)


def a_run(**changes: object) -> Run:
    return dataclasses.replace(RUN, **changes)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, None),
        ({"state": "COMPLETED"}, None),
        ({"state": "FAILED", "state_name": "Failed"}, "failed"),
        ({"state": "FAILED", "state_name": "TimedOut"}, "timed_out"),
        ({"state": "CRASHED", "message": "Flow run process exited with -9"}, "crashed"),
        ({"state": "CRASHED", "message": ZOMBIE}, "zombie"),
        ({"state": "CANCELLED", "message": "by somebody"}, None),
        ({"state": "CANCELLED", "stopped": True}, "timed_out"),
        ({"state": "CANCELLING", "stopped": True}, "timed_out"),
        ({"state": "SCHEDULED", "begun": False}, None),
        ({"state": "SCHEDULED", "begun": False, "due": NOW - LATE}, "late"),
        ({"state": "PENDING", "begun": False, "due": NOW - LATE}, "late"),
        ({"state": "SCHEDULED", "begun": True, "due": NOW - LATE}, None),  # it waits for its next try
        ({"state": "SCHEDULED", "begun": False, "due": NOW - LATE, "deployment": "backfill"}, None),  # it may wait
    ],
)
def test_a_state_is_trouble_of_a_kind(changes: dict[str, object], kind: str | None) -> None:
    assert kind_of(a_run(**changes), NOW, LATE) == kind


def test_a_night_is_told_once_a_kind_and_another_deployments_run_once_a_run() -> None:
    runs = [
        a_run(id="1", state="FAILED"),
        a_run(id="2", state="FAILED"),
        a_run(id="3", state="CRASHED"),
        a_run(id="4", state="FAILED", deployment="backfill"),
        a_run(id="5", state="FAILED", deployment="backfill"),
    ]
    found = troubles(runs, Operate(), now=NOW, horizon=dt.timedelta(days=3))
    assert [one.alert_key for one in found] == [
        "pipeline failed night 2026-03-02",
        "pipeline failed night 2026-03-02",
        "pipeline crashed night 2026-03-02",
        "pipeline failed run 4",
        "pipeline failed run 5",
    ]
    assert {one.run_date for one in found} == {NIGHT}


def test_what_is_long_past_is_told_no_more_but_a_run_made_long_before_its_time_is() -> None:
    long_ago = NOW - dt.timedelta(days=9)
    old = a_run(state="FAILED", since=long_ago, due=long_ago)
    waits = a_run(state="SCHEDULED", begun=False, since=long_ago, due=NOW - LATE)
    found = troubles([old, waits], Operate(), now=NOW, horizon=dt.timedelta(days=3))
    assert [one.monitor for one in found] == ["pipeline_late"]


def test_an_alert_names_the_night_the_reason_and_the_page_in_a_line() -> None:
    run = a_run(state="FAILED", message="Fatal:\nno feed", page="http://127.0.0.1:4200/runs/flow-run/11")
    (found,) = troubles([run], Operate(), now=NOW, horizon=dt.timedelta(days=3))
    assert found.message == "Night 2026-03-02 failed: Fatal: no feed http://127.0.0.1:4200/runs/flow-run/11"
    assert found.severity == "critical"


def test_a_night_that_was_due_and_has_neither_run_nor_tables_did_not_run() -> None:
    days = [NIGHT - dt.timedelta(days=back) for back in range(3)]
    due = [(dt.datetime.combine(day, dt.time(3), tzinfo=dt.UTC), day) for day in days]
    found = missing(due, [RUN], published=lambda night: night == days[1], why="Paused.", now=NOW)
    assert [one.alert_key for one in found] == ["pipeline missing night 2026-02-28"]
    assert found[0].message.endswith("Paused.")


def test_an_alert_quotes_no_secret_of_what_a_run_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.secrecy._kept", ("hunter22",))
    run = a_run(state="FAILED", message=f"{'x' * (LONGEST - 4)}hunter22")
    (alert,) = troubles([run], Operate(), now=NOW, horizon=dt.timedelta(days=2))
    assert "hunt" not in alert.message

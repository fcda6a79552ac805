"""Each alert once a key and cooldown, whatever is killed or fails, at every sink on its own."""

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from data_contracts.alerts import CONTRACT, Alert
from tasks.lake import Lake
from tasks.lake.remote import LEASE
from tasks.lake.waiting import PATIENCE
from tasks.ledger import Ledger, LedgerDamaged
from tasks.notify import Notified, notify
from tasks.plugins import PluginRefused, UnknownPlugin

NIGHT = dt.date(2026, 3, 20)
NOW = dt.datetime(2026, 3, 20, 23, tzinfo=dt.UTC)
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # apprise imports it
ROOT = Path(__file__).parents[3]


def alert(subject: str, night: dt.date = NIGHT, severity: str = "warning", monitor: str = "negative_surge") -> Alert:
    return Alert(
        alert_key=f"{monitor}:{subject}:{night}",
        run_date=night,
        monitor=monitor,
        subject=subject,
        severity=severity,
        message=f"Negative news about {subject} surged: 9 stories.",
        article_ids=[],
        created_at=NOW,
        available_at=NOW,
    )


@pytest.fixture
def desk(tmp_path: Path, webhook):
    return Desk(tmp_path, webhook)


class Desk:
    """A lake with alerts, a file and a web server."""

    def __init__(self, folder: Path, webhook) -> None:
        self.url, self.file, self.webhook = str(folder / "lake"), folder / "alerts.jsonl", webhook
        self.sinks = {
            "jsonl": {"path": str(self.file)},
            "apprise": {"urls": {"desk": webhook.url()}, "timeout_seconds": 5.0},
        }

    def publish(self, *alerts: Alert, night: dt.date = NIGHT) -> None:
        Lake.open(self.url).commit({"alerts": CONTRACT.table(alerts)}, night=night, run_id=f"run-{len(alerts)}")

    def notify(self, night: dt.date = NIGHT, hours: float = 0.0, **other: object) -> Notified:
        given = {"sinks": self.sinks, "cooldown_hours": 36.0, "tries": 1} | other
        return notify.fn(self.url, night=night, now=NOW + dt.timedelta(hours=hours), **given)

    def written(self) -> list[str]:
        return (
            [json.loads(line)["alert_key"] for line in self.file.read_text().splitlines()] if self.file.exists() else []
        )


def test_a_second_run_of_a_night_sends_nothing(desk) -> None:
    desk.publish(alert("Norvane"), alert("Talbrook", severity="critical"))
    first = desk.notify()
    assert {outcome.sink: outcome.sent for outcome in first.sinks} == {"jsonl": 2, "apprise/desk": 2}
    assert "Talbrook" in desk.webhook.messages[0]["message"].splitlines()[0]
    for hours in (0, 1, 100):
        again = desk.notify(hours=hours)
        assert (again.sent, again.suppressed, again.failed, again.uncertain) == (0, 0, 0, 0)
        assert [outcome.already for outcome in again.sinks] == [2, 2]
    assert len(desk.webhook.messages) == 1
    assert len(desk.written()) == 2


def test_a_re_run_sends_only_what_is_new(desk) -> None:
    desk.publish(alert("Norvane"))
    desk.notify()
    desk.publish(alert("Norvane"), alert("Talbrook"))
    assert desk.notify().sent == 2
    assert "Norvane" not in desk.webhook.messages[1]["message"]


def test_a_surge_that_goes_on_is_sent_once_a_cooldown_and_other_subjects_are_not_lost(desk) -> None:
    nights = [NIGHT + dt.timedelta(days=day) for day in range(3)]
    for number, night in enumerate(nights):
        desk.publish(alert("Norvane", night), alert(f"Company {number}", night), night=night)
    assert desk.notify(nights[0], cooldown_hours=36.0).sent == 4
    second = desk.notify(nights[1], hours=24, cooldown_hours=36.0)
    assert (second.sent, second.suppressed) == (2, 2)
    third = desk.notify(nights[2], hours=48, cooldown_hours=36.0)
    assert (third.sent, third.suppressed) == (4, 0)
    assert desk.notify(nights[1], hours=99, cooldown_hours=36.0).sent == 0, "what was held back stays held back"


def test_another_monitor_or_a_graver_alert_is_not_held_back(desk) -> None:
    tomorrow = NIGHT + dt.timedelta(days=1)
    desk.publish(alert("Norvane"))
    desk.notify()
    desk.publish(
        alert("Norvane", tomorrow, "critical"), alert("Norvane", tomorrow, monitor="volume_surge"), night=tomorrow
    )
    assert desk.notify(tomorrow, hours=1).sent == 4


def test_a_failing_sink_keeps_its_alerts_and_the_others_go_on(desk, caplog) -> None:
    desk.publish(alert("Norvane"))
    desk.webhook.status = 503
    failed = desk.notify()
    assert {o.sink: (o.sent, o.failed) for o in failed.sinks} == {"apprise/desk": (0, 1), "jsonl": (1, 0)}
    assert "503" in str(failed.sinks[0].error)
    assert "stay unsent" in caplog.text
    desk.webhook.status = 200
    again = desk.notify()
    assert {o.sink: (o.sent, o.already) for o in again.sinks} == {"apprise/desk": (1, 0), "jsonl": (0, 1)}


def test_a_later_night_brings_what_a_sink_missed_and_brings_it_once(desk) -> None:
    nights = [NIGHT + dt.timedelta(days=day) for day in range(6)]
    for number, night in enumerate(nights):
        desk.publish(alert(f"Company {number}", night), night=night)
    desk.webhook.status = 503
    assert [desk.notify(night).failed for night in nights[:2]] == [1, 2]
    desk.webhook.status = 200
    outcome = {o.sink: (o.sent, o.already) for o in desk.notify(nights[3], retry_nights=2).sinks}
    assert outcome == {"apprise/desk": (2, 0), "jsonl": (1, 0)}
    assert f"(night {nights[1]}) Negative news about Company 1" in desk.webhook.messages[-1]["message"]
    assert "Company 0" not in desk.webhook.messages[-1]["message"], "too long ago"
    assert "Company 2" not in desk.webhook.messages[-1]["message"], "never tried: its own run sends it"
    outcome = {o.sink: (o.sent, o.already) for o in desk.notify(nights[1], retry_nights=0).sinks}
    assert outcome == {"apprise/desk": (0, 1), "jsonl": (0, 1)}
    assert len(desk.written()) == 3


def test_one_of_two_undelivered_alerts_of_a_subject_stands_for_both(desk) -> None:
    tomorrow = NIGHT + dt.timedelta(days=1)
    desk.publish(alert("Norvane"))
    desk.publish(alert("Norvane", tomorrow), night=tomorrow)
    del desk.sinks["jsonl"]
    desk.webhook.status = 503
    assert (desk.notify().failed, desk.notify(tomorrow, hours=24).failed) == (1, 2)
    desk.webhook.status = 200
    again = desk.notify(tomorrow, hours=25)
    assert (again.sent, again.suppressed) == (1, 1)
    assert desk.webhook.messages[-1]["message"].startswith("[warning] Negative news about Norvane")
    assert desk.notify(hours=26).sent == 0


def test_a_sink_that_breaks_when_asked_what_arrived_fails_alone_and_sends_once_it_can_say(desk, monkeypatch) -> None:
    desk.publish(alert("Norvane"), alert("Talbrook"))
    ledger = Ledger()
    ledger.put([alert("Norvane")], "claimed", NOW)
    Lake.open(desk.url).write_state("notified jsonl.json", ledger.to_json(NOW))

    def broken(sink: object, keys: object) -> frozenset[str]:
        raise OSError("s3cret")

    with monkeypatch.context() as patch:
        patch.setattr("tasks.sinks.jsonl._Appended.arrived", broken)
        outcome = {o.sink: (o.sent, o.failed, o.error) for o in desk.notify().sinks}
    assert outcome == {"apprise/desk": (2, 0, None), "jsonl": (0, 2, "jsonl: OSError")}
    assert desk.written() == []
    assert {o.sink: o.sent for o in desk.notify().sinks} == {"apprise/desk": 0, "jsonl": 2}


def test_a_sink_that_fails_once_is_tried_again_at_once(desk) -> None:
    desk.publish(alert("Norvane"))
    desk.sinks = {"jsonl": {"path": str(desk.file / "alerts.jsonl")}}
    desk.file.write_text("in the way")
    assert desk.notify(tries=2, pause_seconds=0.01).failed == 1


def test_a_night_with_more_alerts_than_the_cap_is_one_message(desk) -> None:
    desk.publish(*[alert(f"n{number:04}") for number in range(300)])
    assert desk.notify(max_alerts=20).sent == 600
    (message,) = desk.webhook.messages
    assert len(message["message"].splitlines()) == 21
    assert "and 280 more" in message["message"]
    assert len(desk.written()) == 300


def test_no_sinks_or_no_alerts_is_no_work(desk) -> None:
    assert desk.notify(sinks={}) == Notified()
    desk.publish()
    assert desk.notify().sent == 0
    assert desk.webhook.messages == []


def test_an_unknown_sink_or_setting_says_what_exists_and_shows_no_value(desk) -> None:
    with pytest.raises(UnknownPlugin, match=r"given 'pager'; allowed are \['apprise', 'jsonl'\]"):
        desk.notify(sinks={"pager": {}})
    with pytest.raises(PluginRefused, match=r"given the settings \['url'\]; allowed are \['urls', 'timeout_seconds'\]"):
        desk.notify(sinks={"apprise": {"url": "json://s3cret"}})
    with pytest.raises(PluginRefused) as caught:
        desk.notify(sinks={"apprise": {"urls": ["json://s3cret"], "timeout_seconds": "s3cret"}})
    assert "s3cret" not in str(caught.value)


def test_a_damaged_ledger_sends_nothing_and_says_where(desk) -> None:
    desk.publish(alert("Norvane"))
    Lake.open(desk.url).write_state("notified jsonl.json", "{not json")
    outcome = {o.sink: o for o in desk.notify().sinks}
    assert outcome["jsonl"].failed == 1
    assert "is not one of ours" in str(outcome["jsonl"].error)
    assert outcome["apprise/desk"].sent == 1
    with pytest.raises(LedgerDamaged, match="ledger here"):
        Ledger.from_json("[1]", where="here")


def test_a_run_waits_for_longer_than_the_lease_of_one_that_was_killed_while_it_sent() -> None:
    assert PATIENCE > LEASE


def in_a_process(desk: Desk, before: str = "") -> subprocess.Popen[bytes]:
    """The same `notify` in a process of its own, for killing."""
    script = f"""
    import datetime as dt, os, signal
    from tasks.notify import notify
    {before}
    notify.fn({desk.url!r}, night=dt.date(2026, 3, 20), now=dt.datetime(2026, 3, 20, 23, tzinfo=dt.UTC), sinks={desk.sinks!r},
              cooldown_hours=36.0, tries=1)
    """
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT)]))}
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT, env=env)


def test_a_run_killed_while_sending_a_message_is_uncertain_and_sends_nothing_twice(desk, caplog) -> None:
    desk.publish(alert("Norvane"), alert("Talbrook"))
    desk.sinks = {"apprise": desk.sinks["apprise"] | {"timeout_seconds": 30.0}}
    desk.webhook.may_answer.clear()
    with in_a_process(desk) as process:
        assert desk.webhook.got_one.wait(60)
        process.send_signal(signal.SIGKILL)
    desk.webhook.may_answer.set()
    after = desk.notify()
    assert (after.sent, after.uncertain, after.failed) == (0, 2, 0)
    assert "killed while sending" in caplog.text
    assert len(desk.webhook.messages) == 1
    assert (desk.notify().sent, desk.notify().uncertain) == (0, 0)


@pytest.mark.parametrize("written", [0, 1, 2])
def test_a_run_killed_while_writing_a_file_is_finished_by_the_next(desk, written) -> None:
    """The file tells what arrived: nothing, the first alert and half of the second, or both."""
    desk.publish(alert("Norvane"), alert("Talbrook"))
    del desk.sinks["apprise"]
    real = "os.fsync" if written == 2 else "os.write"
    part = {0: "b''", 1: "data[:data.index(b'\\n') + 30]", 2: "b''"}[written]
    before = f"""
    import fcntl
    from tasks.sinks import jsonl
    class Dying:
        def __getattr__(self, name):
            return getattr(os, name)
        def write(self, file, data):
            if {real!r} == 'os.write':
                os.write(file, {part})
                os.kill(os.getpid(), signal.SIGKILL)
            return os.write(file, data)
        def fsync(self, file):
            os.kill(os.getpid(), signal.SIGKILL)
    jsonl.os = Dying()
    """
    with in_a_process(desk, before) as process:
        assert process.wait(60) == -signal.SIGKILL
    after = desk.notify()
    assert after.uncertain == 0
    assert after.sent == 2 - written
    assert sorted(desk.written()) == [alert("Norvane").alert_key, alert("Talbrook").alert_key]
    assert desk.notify().sent == 0


def test_an_old_night_that_is_filled_in_never_holds_tonight_back_and_no_clock_decides(desk) -> None:
    years_ago, tomorrow = NIGHT - dt.timedelta(days=365), NIGHT + dt.timedelta(days=1)
    for night in (years_ago, NIGHT, tomorrow):
        desk.publish(alert("Norvane", night), night=night)
    assert desk.notify(years_ago, retry_nights=0).sent == 2
    assert desk.notify(NIGHT, hours=7, retry_nights=0).sent == 2
    assert desk.notify(tomorrow, hours=30, retry_nights=0, cooldown_hours=24.0).sent == 2, "some seconds early"

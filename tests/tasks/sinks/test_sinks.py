"""Each sink against the real thing (a file, a web server on loopback), and one test that walks every file of the folder."""

import dataclasses
import datetime as dt
import json
import logging
import uuid
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from data_contracts.alerts import Alert
from tasks import plugins
from tasks.lake import Lake, LakeUnreachable
from tasks.sinks import Digest, SinkFailed
from tasks.sinks.apprise import PlaceRefused

NIGHT = dt.date(2026, 3, 20)
NOW = dt.datetime(2026, 3, 20, 23, tzinfo=dt.UTC)
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # apprise imports it
SINKS = plugins.names("tasks.sinks")


def alert(subject: str, severity: str = "warning", monitor: str = "negative_surge") -> Alert:
    return Alert(
        alert_key=f"{monitor}:{subject}:{NIGHT}",
        run_date=NIGHT,
        monitor=monitor,
        subject=subject,
        severity=severity,
        message=f"Negative news about {subject} surged: 9 stories — “usual” is 1.",
        article_ids=["a1", "a2"],
        created_at=NOW,
        available_at=NOW,
    )


def digest(*alerts: Alert, shown: int = 50) -> Digest:
    return Digest(night=NIGHT, alerts=alerts, shown=shown)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(str(tmp_path / "lake"))


def working(name: str, webhook, lake: Lake, tmp_path: Path):
    """Each sink's settings with which it works here; a new sink adds its own."""
    settings = {
        "jsonl": {"path": str(tmp_path / "out" / "alerts.jsonl")},
        "apprise": {"urls": {"desk": webhook.url()}},
    }[name]
    return plugins.resolve("tasks.sinks", name, "connect")(plugins.configure("tasks.sinks", name, settings), lake)


@pytest.mark.parametrize("name", SINKS)
class TestEverySink:
    def test_has_a_frozen_config_whose_every_field_has_a_default_and_a_sentence(self, name: str) -> None:
        config = plugins.resolve("tasks.sinks", name, "Config")
        assert config.__dataclass_params__.frozen
        config()
        assert all(field.kw_only and field.name in config.__doc__ for field in dataclasses.fields(config))

    def test_is_named_after_its_file(self, name: str, webhook, lake, tmp_path) -> None:
        assert all(sink.name.partition("/")[0] == name for sink in working(name, webhook, lake, tmp_path))

    def test_takes_a_digest_and_an_empty_one(self, name: str, webhook, lake, tmp_path) -> None:
        for sink in working(name, webhook, lake, tmp_path):
            sink.send(digest(alert("Norvane", "critical"), alert("Talbrook")))
            sink.send(digest())
            arrived = sink.arrived([alert("Norvane").alert_key, "never"])
            assert arrived in (None, {alert("Norvane").alert_key})


@pytest.fixture(params=["absolute", "in the lake", "url"])
def lines_at(request, tmp_path, lake):
    """(the sink, how to read its file) for each kind of place."""
    place = {
        "absolute": str(tmp_path / "a" / "b.jsonl"),
        "in the lake": "_alerts/all.jsonl",
        "url": f"file://{tmp_path}/c/d.jsonl",
    }
    path = place[request.param]
    (sink,) = plugins.resolve("tasks.sinks", "jsonl", "connect")(
        plugins.configure("tasks.sinks", "jsonl", {"path": path}), lake
    )
    file = Path(path.removeprefix("file://")) if request.param != "in the lake" else tmp_path / "lake" / path
    return sink, file


def test_a_line_an_alert_and_no_key_twice(lines_at) -> None:
    sink, file = lines_at
    assert sink.arrived(["x"]) == frozenset()
    sink.send(digest(alert("Norvane"), alert("Talbrook"), shown=1))
    sink.send(digest(alert("Norvane"), alert("Quillmere")))
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert [row["subject"] for row in rows] == ["Norvane", "Talbrook", "Quillmere"]
    assert Alert(**rows[0]) == alert("Norvane")


def test_a_line_torn_by_a_crash_is_cut_off_and_written_again(lines_at) -> None:
    sink, file = lines_at
    sink.send(digest(alert("Norvane"), alert("Talbrook")))
    file.write_bytes(file.read_bytes()[:-20])
    assert sink.arrived([alert("Norvane").alert_key, alert("Talbrook").alert_key]) == {alert("Norvane").alert_key}
    sink.send(digest(alert("Talbrook")))
    assert [json.loads(line)["subject"] for line in file.read_text("utf-8").splitlines()] == ["Norvane", "Talbrook"]


def test_a_file_in_a_lake_that_cannot_be_read_just_now_is_not_written_over(lake, monkeypatch) -> None:
    (sink,) = plugins.resolve("tasks.sinks", "jsonl", "connect")(plugins.configure("tasks.sinks", "jsonl", {}), lake)
    sink.send(digest(alert("Norvane")))

    def away(*_: object) -> bytes:
        raise LakeUnreachable("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(Lake, "read_file", away)
        with pytest.raises(LakeUnreachable):
            sink.send(digest(alert("Talbrook")))
        with pytest.raises(LakeUnreachable):
            sink.arrived(["x"])
    sink.send(digest(alert("Quillmere")))
    lines = lake.read_file("_alerts/alerts.jsonl").splitlines()
    assert [json.loads(line)["subject"] for line in lines] == ["Norvane", "Quillmere"]


def test_a_file_at_a_url_that_cannot_be_read_just_now_is_not_written_over(lake, monkeypatch) -> None:
    url = f"memory://alerts-{uuid.uuid4().hex}/all.jsonl"
    config = plugins.configure("tasks.sinks", "jsonl", {"path": url})
    (sink,) = plugins.resolve("tasks.sinks", "jsonl", "connect")(config, lake)
    sink.send(digest(alert("Norvane")))

    def away(*_: object, **__: object) -> bytes:
        raise ConnectionResetError("reset")

    with monkeypatch.context() as patched:
        for name in ("cat_file", "info", "_open"):
            patched.setattr(MemoryFileSystem, name, away)
        with pytest.raises(SinkFailed, match="cannot be read"):
            sink.send(digest(alert("Talbrook")))
    assert sink.arrived([alert("Norvane").alert_key]) == {alert("Norvane").alert_key}


def test_a_file_that_cannot_be_written_is_worth_another_try(tmp_path, lake) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    config = plugins.configure("tasks.sinks", "jsonl", {"path": str(tmp_path / "taken" / "alerts.jsonl")})
    (sink,) = plugins.resolve("tasks.sinks", "jsonl", "connect")(config, lake)
    with pytest.raises(SinkFailed, match="allowed is a writable file"):
        sink.send(digest(alert("Norvane")))


def places(lake: Lake, timeout_seconds: float = 5.0, **urls: str):
    config = plugins.configure("tasks.sinks", "apprise", {"urls": urls, "timeout_seconds": timeout_seconds})
    return plugins.resolve("tasks.sinks", "apprise", "connect")(config, lake)


def test_a_message_names_the_gravest_and_counts_the_rest(webhook, lake) -> None:
    (sink,) = places(lake, desk=webhook.url())
    sink.send(
        digest(
            alert("Norvane", "critical"),
            alert("Talbrook"),
            *[alert(f"n{n}", "info", "volume_surge") for n in range(90)],
            shown=2,
        )
    )
    (message,) = webhook.messages
    assert message["title"] == "nightdesk, night 2026-03-20: 1 critical, 1 warning, 90 info"
    assert message["type"] == "failure"
    lines = message["message"].splitlines()
    assert lines[0].startswith("[critical] Negative news about Norvane surged: 9 stories — “usual”")
    assert lines[2:] == ["and 90 more, listed in the night's report: volume_surge 90"]


def test_no_part_of_the_url_is_ever_logged_or_raised(webhook, lake, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("apprise").setLevel(logging.DEBUG)
    url = f"json://someuser:hunter2secret@127.0.0.1:{webhook.port}/T0KENT0KEN?+X-Key=headersecret"
    (sink,) = places(lake, desk=url)
    sink.send(digest(alert("Norvane")))
    webhook.status = 500
    with pytest.raises(SinkFailed, match=r"apprise/desk: the message was not delivered: .*500") as caught:
        sink.send(digest(alert("Norvane")))
    assert webhook.paths == ["/T0KENT0KEN"] * 2
    (unreachable,) = places(lake, desk="json://someuser:hunter2secret@127.0.0.1:9/T0KENT0KEN?+X-Key=headersecret")
    with pytest.raises(SinkFailed) as refused:
        unreachable.send(digest(alert("Norvane")))
    seen = (
        caplog.text + str(caught.value) + repr(caught.value) + str(refused.value) + repr(sink) + str(vars(caught.value))
    )
    assert "/***" in seen
    assert not [secret for secret in ("hunter2secret", "T0KENT0KEN", "headersecret", "someuser") if secret in seen]


def test_a_url_that_apprise_does_not_know_is_refused_without_showing_it(lake, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(PlaceRefused, match=r"apprise\.urls\.desk") as caught:
        places(lake, desk="nosuchservice://T0KENT0KEN@host")
    assert "T0KENT0KEN" not in str(caught.value) + caplog.text


def test_a_server_that_never_answers_costs_the_timeout_only(webhook, lake, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    webhook.may_answer.clear()
    (sink,) = places(lake, timeout_seconds=0.3, desk=webhook.url())
    with pytest.raises(SinkFailed):
        sink.send(digest(alert("Norvane")))
    assert "(read timeout=0.3)" in caplog.text

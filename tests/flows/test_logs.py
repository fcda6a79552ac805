"""The log for machines: each line an object that says which run, night, source and table it is about; and runs as traces."""

import datetime as dt
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from prefect.logging.configuration import DEFAULT_LOGGING_SETTINGS_PATH

from flows.operate.logs import CONFIGURATION, OURS, Console, JsonLines
from tasks.context import about, said
from tasks.lake import Lake
from tests.flows.conftest import ROOT
from tests.loopback import Answer, serving
from tests.tasks.conftest import ner_examples, sentiment_examples, tiny_bundle, tiny_trunk

__all__ = ["ner_examples", "sentiment_examples", "tiny_bundle", "tiny_trunk"]  # fixtures

NIGHT = dt.date(2026, 3, 2)


def line(message: object = "read %d rows", *args: object, **extra: object) -> dict[str, Any]:
    record = logging.LogRecord("tasks.reading", logging.WARNING, __file__, 1, message, args, None)
    vars(record).update(extra)
    text = JsonLines().format(record)
    assert "\n" not in text
    found: dict[str, Any] = json.loads(text)
    return found


def test_a_line_says_when_how_grave_who_and_what() -> None:
    found = line("read %d rows", 3, created=1772409600.25)
    assert list(found) == ["time", "level", "logger", "message"]
    assert found["time"] == "2026-03-02T00:00:00.250+00:00"
    assert (found["level"], found["logger"], found["message"]) == ("WARNING", "tasks.reading", "read 3 rows")


def test_a_line_is_about_what_the_work_is_about_while_it_lasts() -> None:
    with about(night=NIGHT), about(source="wire"):
        with about(source="archive", table="raw"):
            found = line("x")
            assert (found["night"], found["source"], found["table"]) == ("2026-03-02", "archive", "raw")
        assert line("x")["source"] == "wire"
        assert "table" not in line("x")
    assert dict(said()) == {}


def test_what_the_work_is_about_is_forgotten_when_it_fails() -> None:
    with pytest.raises(ValueError, match="broken"), about(source="wire"):
        raise ValueError("broken")
    assert dict(said()) == {}


def test_what_else_a_library_hangs_on_a_record_is_not_written() -> None:
    assert "hunter2" not in json.dumps(line("x", request_headers={"authorization": "hunter2"}))


def test_a_failure_is_one_line_with_its_traceback() -> None:
    try:
        raise RuntimeError("two\nlines")
    except RuntimeError:
        found = line("source %s", "wire", exc_info=sys.exc_info())
    assert found["exception"].startswith("Traceback")
    assert found["exception"].endswith("RuntimeError: two\nlines")


@pytest.mark.parametrize("odd", ["naïve ☃ \ud800", '"quoted" {brace} %', "\x00\x1b[31m", {"a": object()}])
def test_any_message_is_one_line_of_json(odd: object) -> None:
    line(odd)


def test_the_names_of_a_run_are_those_that_prefect_hangs_on_a_record() -> None:
    found = line("x", flow_run_id="f", flow_run_name="nightly latest", task_run_name="ingest", flow_name="nightly")
    assert (found["flow_run_id"], found["flow_run_name"], found["task_run_name"]) == ("f", "nightly latest", "ingest")
    assert "flow_name" not in found


def test_a_line_whose_reader_is_gone_ends_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    try:
        Console(stream=stream).emit(logging.LogRecord("flows", logging.INFO, __file__, 1, "read", None, None))
    finally:
        with suppress(BrokenPipeError):
            stream.close()


def test_the_configuration_differs_from_prefect_s_own_in_what_it_must_alone() -> None:
    ours, theirs = (
        yaml.safe_load(path.read_text(encoding="utf-8")) for path in (CONFIGURATION, DEFAULT_LOGGING_SETTINGS_PATH)
    )
    assert {name: value for name, value in ours["loggers"].items() if name not in OURS} == theirs["loggers"]
    assert ours["root"] == theirs["root"]
    assert set(ours["handlers"]) == set(theirs["handlers"])
    for name in ("api", "worker_api"):
        assert ours["handlers"][name] == theirs["handlers"][name]


def test_a_process_that_is_started_with_the_configuration_writes_nothing_else(tmp_path: Path) -> None:
    script = (
        "import logging; from prefect import flow; from prefect.logging import get_logger; "
        "logging.getLogger('tasks.x').info('one'); get_logger('y').warning('two')"
    )
    environ = os.environ | {
        "PREFECT_LOGGING_CONFIG_PATH": str(CONFIGURATION),
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_LOGGING_EXTRA_LOGGERS": "flows,tasks,models",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
    }
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [json.loads(one)["message"] for one in done.stderr.splitlines()] == ["one", "two"]


@dataclass(frozen=True, kw_only=True)
class Span:
    """A span as a collector gets it; attributes that are texts."""

    name: str
    trace: bytes
    own: bytes
    parent: bytes
    attributes: dict[str, str]
    service: str


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A night that was run at the command line: what it said, its lake, and the spans that it gave."""

    lines: list[str]
    lake: Path
    spans: list[Span]

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(one) for one in self.lines if one.startswith("{")]

    @property
    def own(self) -> list[dict[str, Any]]:
        return [one for one in self.records if one["logger"].partition(".")[0] in OURS]


def spans_of(body: bytes) -> list[Span]:
    """What an OTLP request holds, as OpenTelemetry's own definition reads it."""
    return [
        Span(
            name=one.name,
            trace=one.trace_id,
            own=one.span_id,
            parent=one.parent_span_id,
            attributes=values(one.attributes),
            service=values(resource.resource.attributes)["service.name"],
        )
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for one in scope.spans
    ]


def values(pairs: Iterable[KeyValue]) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in pairs}


@pytest.fixture(scope="module")
def ran(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A night of two sources, one of which is missing; its spans go out over OTLP, to a collector's address on the loopback."""
    folder = tmp_path_factory.mktemp("logged")
    rows = [{"title": f"acme said profit {i}", "body": "bolt losses today", "published": "2026-03-02T12:00:00Z"} for i in range(5)]  # fmt: skip
    (folder / "wire.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "desk.toml").write_text(
        'timezone = "UTC"\n'
        '[[sources]]\nname = "wire"\nkind = "json"\nlocation = "wire.jsonl"\n'
        '[[sources]]\nname = "gone"\nkind = "json"\nlocation = "gone.jsonl"\n'
        f'[scoring]\nmodel = "{tiny_bundle}"\n[operate]\nlog_format = "json"\n',
        encoding="utf-8",
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")} | {
        "NO_PROXY": "127.0.0.1",
        "NIGHTDESK_HOME": str(folder / "home"),
        "PREFECT_HOME": str(folder / "prefect"),
        "OTEL_PYTHON_TRACER_PROVIDER": "nightdesk",
        "OTEL_SERVICE_NAME": "nightdesk-test",
    }
    command = [sys.executable, "-m", "flows", "run", "--night", str(NIGHT), "--settings", str(folder / "desk.toml")]
    with serving() as collector, (folder / "stderr").open("w") as told:
        collector.pages["/v1/traces"] = Answer()
        environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
        done = subprocess.run(command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=told, timeout=500)
    lines = (folder / "stderr").read_text(encoding="utf-8").splitlines()
    assert done.returncode == 0, "\n".join(lines)[-4000:]
    assert {path for path, _ in collector.posted} == {"/v1/traces"}
    return Ran(
        lines=lines,
        lake=folder / "home" / "lake",
        spans=[one for _, body in collector.posted for one in spans_of(body)],
    )


@pytest.mark.slow
def test_a_night_s_log_is_json_but_for_what_is_said_to_the_person_who_ran_it(ran: Ran) -> None:
    told = [one for one in ran.lines if not one.startswith("{")]
    assert [one.partition(":")[0] for one in told] == [f"night {NIGHT}", "report"], told
    for record in ran.records:
        assert dt.datetime.fromisoformat(record["time"]).utcoffset() == dt.timedelta()


@pytest.mark.slow
def test_every_line_of_ours_names_the_run_and_the_night(ran: Ran) -> None:
    assert len(ran.own) > 10
    for record in ran.own:
        assert record["night"] == NIGHT.isoformat(), record
        assert record["flow_run_name"] == f"nightly {NIGHT}", record
    assert len({record["flow_run_id"] for record in ran.own}) == 1
    assert {record["task_run_name"].partition(" ")[0] for record in ran.own if "task_run_name" in record} >= {"ingest", "validate"}  # fmt: skip


@pytest.mark.slow
def test_a_line_about_a_source_names_it(ran: Ran) -> None:
    failures = [record for record in ran.records if record["level"] in ("ERROR", "WARNING") and record.get("source")]
    assert {record["source"] for record in failures} == {"gone"}
    assert any(record["logger"] == "tasks.reading" for record in failures)


@pytest.mark.slow
def test_a_line_about_a_table_names_it(ran: Ran) -> None:
    published = {record["table"] for record in ran.own if record["message"].startswith("published ")}
    assert published == set(Lake.open(str(ran.lake)).tables())


@pytest.mark.slow
def test_a_night_is_one_trace_of_its_flow_and_its_steps(ran: Ran) -> None:
    by_type = {kind: [one for one in ran.spans if one.attributes.get("prefect.run.type") == kind] for kind in ("flow", "task")}  # fmt: skip
    (night,) = by_type["flow"]
    assert night.attributes["prefect.run.name"] == f"nightly {NIGHT}"
    assert {one.trace for one in by_type["task"]} == {night.trace}
    assert {one.parent for one in by_type["task"]} == {night.own}
    steps = {one.name.partition(" ")[0].partition("-")[0] for one in by_type["task"]}
    assert steps >= {"ingest", "validate", "score", "watch", "publish", "report", "notify"}
    assert {one.service for one in ran.spans} == {"nightdesk-test"}

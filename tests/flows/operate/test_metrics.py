"""The figures for Prometheus, read back by Prometheus' own parser: of a night, of what is broken, of a run on a real server."""

import datetime as dt
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from data_contracts.alerts import CONTRACT as ALERTS
from data_contracts.alerts import Alert
from data_contracts.counts import CONTRACT as COUNTS
from data_contracts.counts import SourceCount
from flows.operate.metrics import asgi, registry_of
from flows.operate.programs import places_of
from flows.operate.supervised import State
from flows.sections import MONITORS
from flows.settings import Settings, load
from tasks.lake import Lake
from tasks.registry import Registry
from tests.loopback import prefect_server
from tests.rows import ticks
from tests.tasks.conftest import ner_examples, sentiment_examples, tiny_bundle, tiny_trunk

__all__ = ["ner_examples", "sentiment_examples", "tiny_bundle", "tiny_trunk"]  # fixtures

ROOT = Path(__file__).parents[3]
RULES = ROOT / "deployments" / "prometheus.rules.yaml"
NIGHT = dt.date(2026, 3, 2)
NOW = dt.datetime(2026, 3, 5, 12, 0, tzinfo=dt.UTC)  # the night of the 4th ended at 22:00 UTC of the day before
SCRAPE_SECONDS = 30  # of the configuration in docs/observability.md
COMMITTED = dt.datetime(2026, 3, 2, 22, 30, tzinfo=dt.UTC)
Found = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("NIGHTDESK_HOME", str(tmp_path / "home"))
    file = tmp_path / "desk.toml"
    file.write_text('timezone = "UTC"\n[[sources]]\nname = "wire"\nkind = "json"\nlocation = "x"\n', encoding="utf-8")
    return load(str(file))


def commit(settings: Settings, night: dt.date, at: dt.datetime = COMMITTED) -> None:
    def count(source: str, *, failed: bool = False) -> SourceCount:
        rows = 0 if failed else 10
        return SourceCount(
            run_date=night, source=source, kind="json", rows_read=rows, rows_new=rows, rows_outside=0, rows_quarantined=rows // 5,
            rows_repeated=rows // 10, articles=rows * 7 // 10, failed=failed, error="gone" if failed else None, available_at=at,
        )  # fmt: skip

    alert = Alert(
        alert_key=f"source_failed:gone:{night}", run_date=night, monitor="source_failed", subject="gone", severity="warning",
        message="gone", article_ids=[], created_at=at, available_at=at,
    )  # fmt: skip
    tables = {
        "ticks": ticks(1, 2, 3),
        "source_counts": COUNTS.table([count("wire"), count("gone", failed=True)]),
        "alerts": ALERTS.table([alert]),
    }
    Lake.open(settings.lake, clock=lambda: at).commit(tables, night=night, run_id="r")


def figures(settings: Settings, now: dt.datetime = NOW) -> Found:
    from prometheus_client import generate_latest

    return read(generate_latest(registry_of(settings, clock=lambda: now)).decode())


def read(text: str) -> Found:
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    found = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(found) == len(samples), "a series stands twice"
    return found


def key(name: str, /, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return f"nightdesk_{name}", frozenset(labels.items())


def test_a_night_s_figures_are_those_of_its_tables(settings: Settings) -> None:
    commit(settings, NIGHT)
    found = figures(settings)
    assert found[key("nights_published")] == 1
    assert found[key("nights_behind")] == 2
    assert found[key("last_published_timestamp_seconds")] == COMMITTED.timestamp()
    assert found[key("last_night_end_timestamp_seconds")] == dt.datetime(2026, 3, 2, 22, tzinfo=dt.UTC).timestamp()
    assert found[key("expected_night_end_timestamp_seconds")] == dt.datetime(2026, 3, 4, 22, tzinfo=dt.UTC).timestamp()
    assert found[key("night_table_rows", table="ticks")] == 3
    assert found[key("night_table_bytes", table="ticks")] > 0
    given = {
        outcome: found[key("night_source_rows", source="wire", outcome=outcome)]
        for outcome in ("read", "new", "outside", "quarantined", "repeated")
    }
    assert given == {"read": 10, "new": 10, "outside": 0, "quarantined": 2, "repeated": 1}
    assert found[key("night_source_articles", source="wire")] == 7
    assert found[key("night_source_failed", source="wire")] == 0
    assert found[key("night_source_failed", source="gone")] == 1
    assert found[key("night_alerts", monitor="source_failed", severity="warning")] == 1
    assert {name: found[key("night_alerts", monitor=name, severity="critical")] for name in MONITORS} == dict.fromkeys(MONITORS, 0)  # fmt: skip


def test_the_figures_are_of_the_last_night_alone_and_of_its_last_commit(settings: Settings) -> None:
    commit(settings, NIGHT)
    few = len(figures(settings))
    for days in range(1, 4):
        commit(settings, NIGHT + dt.timedelta(days=days), COMMITTED + dt.timedelta(days=days))
    commit(settings, NIGHT, COMMITTED + dt.timedelta(days=4))  # run again, later than all
    found = figures(settings)
    assert len(found) == few
    assert found[key("nights_published")] == 4
    assert found[key("nights_behind")] == 0
    assert found[key("last_published_timestamp_seconds")] == (COMMITTED + dt.timedelta(days=3)).timestamp()


def test_a_desk_without_a_night_has_figures_and_makes_nothing(settings: Settings) -> None:
    found = figures(settings)
    assert found[key("nights_published")] == 0
    assert found[key("disk_free_bytes", place="home")] > 0
    assert key("nights_behind") not in found
    assert {
        part: found[key("part_up", part=part)] for part in ("lake", "disk", "registry", "prefect")
    } == dict.fromkeys(("lake", "disk", "registry", "prefect"), 1)
    assert not settings.home.exists()


def test_a_part_that_is_broken_is_told_and_hides_no_other(settings: Settings) -> None:
    commit(settings, NIGHT)
    (Path(settings.lake) / "_lake.json").write_text(json.dumps({"format": 99}), encoding="utf-8")
    found = figures(settings)
    assert found[key("part_up", part="lake")] == 0
    assert found[key("part_up", part="disk")] == 1
    assert key("nights_published") not in found
    assert found[key("disk_size_bytes", place="lake")] > 0


def test_a_registry_that_is_away_is_told_before_a_scrape_gives_up(settings: Settings) -> None:
    commit(settings, NIGHT)
    away = settings.model_copy(update={"tracking_uri": "http://127.0.0.1:9"})
    with Registry(away.tracking_uri, away.home).client():  # MLflow is imported before the clock starts
        began = time.monotonic()
    found = figures(away)
    assert time.monotonic() - began < SCRAPE_SECONDS
    assert found[key("part_up", part="registry")] == 0
    assert found[key("nights_published")] == 1


def test_a_source_s_name_may_hold_anything(settings: Settings) -> None:
    at = COMMITTED
    row = SourceCount(
        run_date=NIGHT, source='a "b"\\\n☃{}', kind="json", rows_read=1, rows_new=1, rows_outside=0, rows_quarantined=0, rows_repeated=0,
        articles=1, failed=False, available_at=at,
    )  # fmt: skip
    tables = {"source_counts": COUNTS.table([row]), "alerts": ALERTS.table([])}
    Lake.open(settings.lake).commit(tables, night=NIGHT, run_id="r")
    assert figures(settings)[key("night_source_articles", source='a "b"\\\n☃{}')] == 1


def test_they_are_answered_over_http_in_the_format_that_is_asked_for(settings: Settings) -> None:
    commit(settings, NIGHT)
    client = TestClient(asgi(settings))
    plain = client.get("/metrics")
    open_ = client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert plain.headers["content-type"].startswith("text/plain")
    assert read(plain.text)[key("nights_published")] == 1
    assert open_.headers["content-type"].startswith("application/openmetrics-text")
    assert {family.name for family in openmetrics(open_.text)} >= {"nightdesk_nights_published", "nightdesk_part_up"}


@pytest.mark.slow
def test_champions_are_told_by_version_and_digest(settings: Settings, tiny_bundle: Path) -> None:
    from models.bundle import load as load_bundle

    registry = Registry(settings.mlflow_uri, settings.home / "bundles")
    for task in ("sentiment", "ner"):
        registry.promote(task, registry.register(task, tiny_bundle, {}, {}))
    digest = load_bundle(tiny_bundle).digest
    found = figures(settings)
    assert found[key("champion_info", task="sentiment", version="1", digest=digest)] == 1
    assert found[key("champion_info", task="ner", version="1", digest=digest)] == 1


@pytest.fixture(scope="module")
def server() -> Iterator[None]:
    with prefect_server():
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("server")
def test_the_last_run_is_told_with_its_state_and_the_time_of_its_steps(settings: Settings) -> None:
    from prefect import flow, task

    @task
    def measured() -> None:
        """A step."""

    @flow(name="nightly", flow_run_name="nightly 2026-03-02")
    def nightly(broken: bool) -> None:
        measured()
        measured()
        if broken:
            raise RuntimeError("broken")

    assert not [name for name, _ in figures(settings) if name.startswith("nightdesk_last_run")], "none has ended"
    with pytest.raises(RuntimeError):
        nightly(True)
    assert figures(settings)[key("last_run_info", state="FAILED", name="nightly 2026-03-02")] == 1
    nightly(False)
    until = time.monotonic() + 120
    steps: set[str] = set()
    while not steps and time.monotonic() < until:  # a server hears of steps by events, a little later
        found = figures(settings)
        steps = {dict(labels)["step"] for name, labels in found if name == "nightdesk_last_run_step_seconds"}
    assert found[key("last_run_info", state="COMPLETED", name="nightly 2026-03-02")] == 1
    assert found[key("last_run_seconds")] > 0
    assert {step.rpartition(".")[2] for step in steps} == {"measured"}


def supervise(monkeypatch: pytest.MonkeyPatch, *, hangs: str = "", **programs: str) -> None:
    """As if supervisord ran here, with programs in these states, of which those that run work, but for one that hangs."""
    found = {
        name: State(name=name, state=state, pid=1, began=0, uptime_seconds=1, error="")
        for name, state in programs.items()
    }
    monkeypatch.setattr("flows.operate.places.recall", lambda home: places_of(load(), Path()))
    monkeypatch.setattr("flows.operate.health.works", lambda where, one: one.state == "RUNNING" and one.name != hangs)
    monkeypatch.setattr("flows.operate.supervised.states", lambda home: found)


def test_a_program_that_does_not_run_or_hangs_is_told_and_nothing_where_none_is_supervised(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not [name for name, _ in figures(settings) if name == "nightdesk_program_up"], (
        "what the rule's absent() asks"
    )
    supervise(monkeypatch, worker="RUNNING", pages="BACKOFF", watchdog="RUNNING", hangs="watchdog")
    found = figures(settings)
    up = [found[key("program_up", program=name)] for name in ("worker", "pages", "watchdog")]
    assert up == [1, 0, 0]


def test_every_figure_is_in_the_documentation(settings: Settings) -> None:
    commit(settings, NIGHT)
    said = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
    assert {name for name, _ in figures(settings) if f"`{name}" not in said} == set()


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]


def test_every_rule_asks_for_a_figure_that_there_is(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """And every alert has a summary and a description that names the runbook."""
    commit(settings, NIGHT)
    supervise(monkeypatch, worker="RUNNING")
    there = {name for name, _ in figures(settings)} | {"nightdesk_last_run_info"}
    assert rules()
    for rule in rules():
        asked = set(re.findall(r"nightdesk_\w+", rule["expr"]))
        assert asked, rule
        assert asked <= there, rule
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "runbook"}


def test_a_night_is_missing_from_six_hours_after_its_end_until_it_is_published(settings: Settings) -> None:
    """The rule is an expression of Python's too. It must not fall silent at the end of each further night."""
    commit(settings, NIGHT)
    (rule,) = [rule for rule in rules() if rule["alert"] == "NightdeskNightMissing"]
    due = dt.datetime(2026, 3, 4, 4, tzinfo=dt.UTC)  # the night of the 3rd ended at 22:00 UTC

    def missing(hours: int) -> bool:
        now = due + dt.timedelta(hours=hours, seconds=1)
        gauges = {name: value for (name, labels), value in figures(settings, now).items() if not labels}
        return bool(eval(rule["expr"], {"time": now.timestamp, **gauges}))

    assert [missing(hours) for hours in (-6, -1, 0, 17, 18, 19, 24, 42, 43, 200)] == [False] * 2 + [True] * 8
    commit(settings, NIGHT + dt.timedelta(days=1), due)
    assert not missing(1)


def test_a_desk_whose_first_nights_fail_has_none_and_a_rule_says_so(settings: Settings) -> None:
    Lake.open(settings.lake).commit({"ticks": ticks(1)}, night=NIGHT, run_id="r", publish=False)
    assert figures(settings)[key("nights_published")] == 0
    assert any(rule["expr"].startswith("nightdesk_nights_published == 0 and") for rule in rules())

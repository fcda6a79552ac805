"""The verb over a real lake: what monitors see, what a crash does, and that a re-run changes nothing."""

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pytest

from data_contracts import alerts, counts, mentions
from data_contracts.alerts import Alert
from data_contracts.article import CONTRACT as ARTICLES
from data_contracts.article import Article
from data_contracts.counts import SourceCount
from data_contracts.mentions import EntityMention
from tasks.lake import Lake
from tasks.monitors import raised
from tasks.plugins import PluginRefused, UnknownPlugin
from tasks.watch import LakeView, Monitor, run, watch

NIGHT = dt.date(2026, 3, 20)
NOW = dt.datetime(2026, 3, 20, 23, tzinfo=dt.UTC)
ALL = {
    "class_shift": {},
    "contract_failures": {},
    "negative_surge": {},
    "source_failed": {},
    "source_silent": {},
    "volume_surge": {},
}


def rows(night: dt.date, negative: int) -> dict[str, object]:
    """A night's tables with so many negative articles about Norvane and a failed source."""
    seen = {"published_at": NOW, "first_seen_at": NOW, "available_at": NOW}
    articles = [
        Article(article_id=f"{night}-{n}", version=1, content_hash=f"{n}", run_date=night, source="wire", title="t", repeats=0,
                row_id=f"r{n}", story_id=f"{night}-{n}", novelty_rank=1, is_canonical=True, **seen)
        for n in range(negative)
    ]  # fmt: skip
    named = [
        EntityMention(article_id=a.article_id, version=1, run_date=night, entity="norvane", mention_text="Norvane", mention_type="ORG",
                      mention_start=0, mention_end=7, ner_score=0.9, sentiment="negative", sentiment_score=-0.5, scored_at=NOW,
                      source="wire", model_digest="digest", **seen)
        for a in articles
    ]  # fmt: skip
    source = SourceCount(run_date=night, source="gazette", kind="rss", rows_read=0, rows_new=0, rows_outside=0, rows_quarantined=0,
                         rows_repeated=0, articles=0, failed=True, error="503", available_at=NOW)  # fmt: skip
    return {
        "articles": ARTICLES.table(articles),
        "entity_mentions": mentions.CONTRACT.table(named),
        "source_counts": counts.CONTRACT.table([source]),
    }


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """One published night with one bad story, the next staged with nine."""
    lake = Lake.open(str(tmp_path / "lake"))
    earlier = NIGHT - dt.timedelta(days=1)
    lake.commit(rows(earlier, 1), night=earlier, run_id="first")
    for name, table in rows(NIGHT, 9).items():
        lake.stage(NIGHT).write(name, table)
    return lake


def watched(lake: Lake, monitors: dict[str, dict[str, object]], now: dt.datetime = NOW) -> list[Alert]:
    partition = watch.fn(lake.root, night=NIGHT, now=now, monitors=monitors, model_digest="digest")
    assert partition.table == "alerts"
    table = lake.stage(NIGHT).read("alerts")
    assert table.num_rows == partition.rows
    return [Alert(**row) for row in table.to_pylist()]


def test_monitors_see_the_staged_night_and_earlier_ones_and_the_gravest_comes_first(lake) -> None:
    found = watched(lake, ALL)
    assert [(alert.severity, alert.monitor, alert.subject) for alert in found] == [
        ("critical", "source_failed", "gazette"),
        ("warning", "negative_surge", "norvane"),
    ]
    assert found[1].model_digest == "digest"
    assert found[0].model_digest is None


def test_a_later_night_is_no_history(lake) -> None:
    later = NIGHT + dt.timedelta(days=1)
    lake.commit(rows(later, 9), night=later, run_id="later")
    view = LakeView(lake, NIGHT)
    assert view.nights(9) == [NIGHT - dt.timedelta(days=1)]
    assert view.history("articles", 9)["run_date"].unique().to_list() == [NIGHT - dt.timedelta(days=1)]
    assert LakeView(lake, NIGHT - dt.timedelta(days=1)).history("articles", 9).is_empty()


def test_articles_that_abstained_make_no_surge(lake) -> None:
    stage = lake.stage(NIGHT)
    named = stage.read("entity_mentions")
    unsure = pa.array([True] * 6 + [None] * 3, pa.bool_())
    place = named.schema.get_field_index("abstained")
    stage.write("entity_mentions", named.set_column(place, named.schema.field(place), unsure))
    assert [alert.monitor for alert in watched(lake, {"negative_surge": {}})] == []


def test_a_monitor_s_own_settings_count(lake) -> None:
    assert [a.monitor for a in watched(lake, {"negative_surge": {"min_stories": 10}})] == []


def test_an_unknown_monitor_or_setting_says_what_exists(lake) -> None:
    with pytest.raises(UnknownPlugin, match=r"given 'surge'; allowed are .*'negative_surge', 'source_failed'"):
        watched(lake, {"surge": {}})
    with pytest.raises(
        PluginRefused, match=r"negative_surge: given the settings \['min_store'\]; allowed are \['nights'"
    ):
        watched(lake, {"negative_surge": {"min_store": 5}})
    with pytest.raises(PluginRefused, match="min_stories: Input should be a valid integer"):
        watched(lake, {"negative_surge": {"min_stories": "many"}})


def test_a_monitor_that_crashes_becomes_a_critical_alert_and_the_others_go_on(lake, caplog) -> None:
    def crash(view: object, config: object, now: dt.datetime) -> list[Alert]:
        raise ZeroDivisionError("no rows at all")

    def calm(view: LakeView, config: object, now: dt.datetime) -> list[Alert]:
        return [raised(view, now, monitor="calm", subject=s, severity="info", message=s) for s in ("b", "a", "b")]

    found = run(LakeView(lake, NIGHT), [Monitor("crash", crash, None), Monitor("calm", calm, None)], NOW)
    assert [(a.severity, a.monitor, a.subject) for a in found] == [
        ("critical", "crash", "crash"),
        ("info", "calm", "a"),
        ("info", "calm", "b"),
    ]
    assert "ZeroDivisionError: no rows at all" in found[0].message
    assert "monitor crash failed" in caplog.text


def test_a_published_alert_keeps_its_times_and_a_changed_one_is_available_anew(lake) -> None:
    first = watched(lake, ALL)
    staged = {name: lake.stage(NIGHT).read(name) for name in ("articles", "entity_mentions", "source_counts", "alerts")}
    lake.commit(staged, night=NIGHT, run_id="second")
    later = NOW + dt.timedelta(hours=3)
    assert watched(lake, ALL, later) == first
    assert lake.stage(NIGHT).read("alerts").equals(staged["alerts"])
    for name, table in rows(NIGHT, 12).items():
        lake.stage(NIGHT).write(name, table)
    failed, surge = sorted(watched(lake, ALL, later), key=lambda alert: alert.subject)
    assert failed == first[0]
    assert (surge.value, surge.created_at, surge.available_at) == (12.0, NOW, later)


def test_a_night_without_monitors_stages_an_empty_table(lake) -> None:
    assert watched(lake, {}) == []
    assert lake.stage(NIGHT).read("alerts").schema.equals(alerts.CONTRACT.schema)

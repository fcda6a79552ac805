"""Each monitor over small nights built by hand, and one test that walks every file of the folder."""

import dataclasses
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl
import pytest

from data_contracts.alerts import CONTRACT, SEVERITIES
from data_contracts.catalog import contract
from tasks import plugins
from tasks.monitors import class_shift, contract_failures, negative_surge, source_failed, source_silent, volume_surge

NIGHT = dt.date(2026, 3, 20)
NOW = dt.datetime(2026, 3, 20, 23, tzinfo=dt.UTC)
MONITORS = plugins.names("tasks.monitors")


@dataclass
class FakeView:
    """A night and its past as plain rows: table -> night -> rows; what a row leaves out is null."""

    rows: dict[str, dict[dt.date, list[dict[str, object]]]] = field(default_factory=dict)
    night: dt.date = NIGHT
    model_digest: str | None = "digest"
    past: list[dt.date] = field(default_factory=list)

    def add(self, table: str, nights_ago: int, *rows: dict[str, object]) -> None:
        night = NIGHT - dt.timedelta(days=nights_ago)
        if nights_ago and night not in self.past:
            self.past = sorted([*self.past, night])
        self.rows.setdefault(table, {}).setdefault(night, []).extend({"run_date": night} | row for row in rows)

    def nights(self, count: int) -> list[dt.date]:
        return self.past[-count:]

    def tonight(self, table: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
        return self._frame(table, [self.night], columns)

    def history(self, table: str, nights: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        return self._frame(table, self.nights(nights), columns)

    def _frame(self, table: str, nights: Sequence[dt.date], columns: Sequence[str] | None) -> pl.DataFrame:
        empty = pl.DataFrame(pl.from_arrow(contract(table).empty()))
        rows = [row for night in nights for row in self.rows.get(table, {}).get(night, [])]
        frame = pl.DataFrame(rows, schema_overrides=empty.schema) if rows else empty
        missing = [
            pl.lit(None, dtype=kind).alias(name) for name, kind in empty.schema.items() if name not in frame.columns
        ]
        return frame.with_columns(missing).select(columns or empty.columns)


def news(
    view: FakeView, nights_ago: int, entity: str, count: int, sentiment: str = "negative", *, copies: int = 1
) -> None:
    """`count` stories about an entity, each told by `copies` articles."""
    for number in range(count):
        story = f"{entity}-{nights_ago}-{number}-{sentiment}-0"
        for copy in range(copies):
            name = story[:-1] + str(copy)
            score = -0.9 + number / 100 if sentiment == "negative" else 0.5
            key = {"article_id": name, "version": 1}
            view.add(
                "articles", nights_ago, key | {"story_id": story, "novelty_rank": copy + 1, "is_canonical": copy == 0}
            )
            view.add(
                "scored_articles",
                nights_ago,
                key | {"sentiment": sentiment, "sentiment_score": score, "model_digest": "digest"},
            )
            mention = {
                "entity": entity,
                "mention_text": entity.title(),
                "sentiment": sentiment,
                "sentiment_score": score,
            }
            view.add("entity_mentions", nights_ago, key | mention, key | mention)


def source(view: FakeView, nights_ago: int, name: str, articles: int, *, failed: bool = False) -> None:
    error = "the server answered 503" if failed else None
    view.add(
        "source_counts",
        nights_ago,
        {"source": name, "kind": "rss", "articles": articles, "failed": failed, "error": error},
    )


def quarantine(view: FakeView, nights_ago: int, failed: int, judged: int, stage: str = "raw") -> None:
    view.add("raw", nights_ago, *[{"row_id": f"{nights_ago}-{n}"} for n in range(judged)])
    view.add("quarantine", nights_ago, *[{"stage": stage, "reason": "published_at.not_null"}] * failed)
    view.add(
        "articles", nights_ago, *[{"article_id": f"q{nights_ago}-{n}", "version": 1} for n in range(judged - failed)]
    )


def eventful() -> FakeView:
    """Five quiet nights, then one on which every monitor has something to say."""
    view = FakeView()
    for ago in range(5, 0, -1):
        news(view, ago, "norvane", 1)
        news(view, ago, "talbrook", 30, "positive")
        source(view, ago, "wire", 40)
        source(view, ago, "gazette", 12)
        quarantine(view, ago, 1, 100)
    news(view, 0, "norvane", 40)
    news(view, 0, "talbrook", 15, "positive")
    source(view, 0, "wire", 0)
    source(view, 0, "gazette", 0, failed=True)
    quarantine(view, 0, 30, 100)
    return view


@pytest.mark.parametrize("name", MONITORS)
class TestEveryMonitor:
    def test_has_a_frozen_config_whose_every_field_has_a_default_and_a_sentence(self, name: str) -> None:
        config = plugins.resolve("tasks.monitors", name, "Config")
        assert config.__dataclass_params__.frozen
        assert all(field.kw_only for field in dataclasses.fields(config))
        config()
        assert all(field.name in config.__doc__ for field in dataclasses.fields(config))

    def test_raises_alerts_that_keep_the_contract(self, name: str) -> None:
        alerts = plugins.resolve("tasks.monitors", name, "check")(
            eventful(), plugins.configure("tasks.monitors", name, {}), NOW
        )
        assert alerts
        assert CONTRACT.table(alerts).num_rows == len({alert.alert_key for alert in alerts})
        for alert in alerts:
            assert alert.monitor == name
            assert alert.run_date == NIGHT
            assert alert.severity in SEVERITIES
            assert len(alert.article_ids) <= 10
            assert any(sign.isdigit() for sign in alert.message)
            assert alert.alert_key == f"{name}:{alert.subject}:2026-03-20"

    def test_says_nothing_about_an_empty_night_or_a_first_one(self, name: str) -> None:
        check, config = plugins.resolve("tasks.monitors", name, "check"), plugins.configure("tasks.monitors", name, {})
        assert check(FakeView(), config, NOW) == []
        first = FakeView()
        news(first, 0, "norvane", 40)
        source(first, 0, "wire", 40)
        quarantine(first, 0, 1, 100)
        assert check(first, config, NOW) == []

    def test_gives_the_same_alerts_again(self, name: str) -> None:
        check, config = plugins.resolve("tasks.monitors", name, "check"), plugins.configure("tasks.monitors", name, {})
        assert check(eventful(), config, NOW) == check(eventful(), config, NOW)


def test_one_wire_story_told_six_times_is_no_surge() -> None:
    view = FakeView()
    news(view, 1, "norvane", 1)
    news(view, 0, "norvane", 1, copies=6)
    assert negative_surge.check(view, negative_surge.Config(), NOW) == []


def test_one_earlier_night_is_enough_for_a_surge_of_bad_news() -> None:
    view = FakeView()
    news(view, 1, "norvane", 1)
    news(view, 1, "talbrook", 6)
    news(view, 0, "norvane", 9, copies=2)
    news(view, 0, "talbrook", 8)
    (alert,) = negative_surge.check(view, negative_surge.Config(), NOW)
    assert (alert.subject, alert.value, alert.baseline, alert.severity) == ("norvane", 9.0, 1.0, "warning")
    assert alert.threshold == pytest.approx(1 + 3 * 2**0.5)
    assert "9 negative stories (18 articles)" in alert.message
    assert alert.article_ids[:2] == ["norvane-0-0-negative-0", "norvane-0-1-negative-0"]
    assert alert.model_digest == "digest"


def test_a_night_without_a_mention_counts_zero_and_an_earlier_surge_does_not_hide_the_next() -> None:
    view = FakeView()
    for ago in range(1, 10):
        news(view, ago, "talbrook", 1)
    news(view, 5, "norvane", 30)
    news(view, 0, "norvane", 6)
    (alert,) = negative_surge.check(view, negative_surge.Config(), NOW)
    assert alert.baseline == 0.0


def test_nights_that_number_a_version_alike_keep_their_own_stories() -> None:
    view = FakeView()
    for ago, stories in ((1, ("one", "one")), (2, ("one", "other"))):
        for article, story in zip(("a", "b"), stories, strict=True):
            key = {"article_id": article, "version": 1}
            view.add("articles", ago, key | {"story_id": story, "novelty_rank": 1, "is_canonical": True})
            view.add(
                "entity_mentions", ago, key | {"entity": "norvane", "mention_text": "Norvane", "sentiment": "negative"}
            )
    news(view, 0, "norvane", 9)
    (alert,) = negative_surge.check(view, negative_surge.Config(), NOW)
    assert alert.baseline == 1.5


def test_positive_news_is_no_surge_of_negative_news_but_of_volume() -> None:
    view = FakeView()
    for ago in (3, 2, 1):
        news(view, ago, "norvane", 2, "positive")
    news(view, 0, "norvane", 20, "positive")
    assert negative_surge.check(view, negative_surge.Config(), NOW) == []
    (alert,) = volume_surge.check(view, volume_surge.Config(), NOW)
    assert alert.value == 20.0


def test_a_failed_share_over_the_limit_is_critical_without_any_history() -> None:
    view = FakeView()
    quarantine(view, 0, 20, 100)
    (alert,) = contract_failures.check(view, contract_failures.Config(), NOW)
    assert (alert.subject, alert.severity, alert.value, alert.threshold) == ("raw", "critical", 0.2, 0.1)
    assert "published_at.not_null (20 rows)" in alert.message


def test_a_rise_of_the_failed_share_under_the_limit_needs_history_size_and_clarity() -> None:
    def alerts(failed: int, judged: int, nights: int = 4, before: int = 1) -> list[str]:
        view = FakeView()
        for ago in range(1, nights + 1):
            quarantine(view, ago, before, 100)
        quarantine(view, 0, failed, judged)
        return [alert.severity for alert in contract_failures.check(view, contract_failures.Config(), NOW)]

    assert alerts(9, 100) == ["warning"]
    assert alerts(9, 100, nights=2) == []
    assert alerts(4, 50) == []
    assert alerts(600, 20_000) == []
    assert alerts(9, 100, before=8) == []


def test_failed_scores_are_a_share_of_the_articles_and_failed_mentions_of_the_mentions() -> None:
    view = FakeView()
    quarantine(view, 0, 6, 46, stage="score")
    (alert,) = contract_failures.check(view, contract_failures.Config(), NOW)
    assert alert.value == pytest.approx(6 / 40)
    news(view, 0, "norvane", 9)
    view.add("quarantine", 0, *[{"stage": "entity_mentions", "reason": "entity.length"}] * 6)
    by_subject = {a.subject: a.value for a in contract_failures.check(view, contract_failures.Config(), NOW)}
    assert by_subject["entity_mentions"] == pytest.approx(6 / 24)


def test_a_source_is_silent_only_when_it_is_usually_heard() -> None:
    view = FakeView()
    for ago in range(7, 0, -1):
        source(view, ago, "wire", 40)
        source(view, ago, "weekly", 9 if ago == 3 else 0)
        source(view, ago, "broken", 9)
        source(view, ago, "gone", 9)
        if ago < 3:
            source(view, ago, "new", 9)
    for name in ("wire", "weekly", "new"):
        source(view, 0, name, 0)
    source(view, 0, "broken", 0, failed=True)
    found = {a.subject: a.severity for a in source_silent.check(view, source_silent.Config(), NOW)}
    assert found == {"wire": "warning", "gone": "info"}
    every = {a.subject for a in source_silent.check(view, source_silent.Config(failed_too=True), NOW)}
    assert every == {"wire", "gone", "broken"}


def test_a_failed_source_is_quoted_and_all_failing_is_critical() -> None:
    view = FakeView()
    source(view, 0, "wire", 40)
    source(view, 0, "gazette", 0, failed=True)
    (alert,) = source_failed.check(view, source_failed.Config(), NOW)
    assert (alert.subject, alert.severity) == ("gazette", "warning")
    assert "the server answered 503" in alert.message
    view.rows["source_counts"][NIGHT][0]["failed"] = True
    assert [a.severity for a in source_failed.check(view, source_failed.Config(), NOW)] == ["critical", "critical"]


def mix(view: FakeView, nights_ago: int, negative: int, neutral: int, positive: int) -> None:
    for label, count in (("negative", negative), ("neutral", neutral), ("positive", positive)):
        news(view, nights_ago, f"all {label}", count, label)


def test_a_shift_alarm_does_not_grow_with_the_sample() -> None:
    def alerts(times: int, negative: int, neutral: int, positive: int) -> int:
        view = FakeView()
        for ago in (3, 2, 1):
            mix(view, ago, 20 * times, 50 * times, 30 * times)
        mix(view, 0, negative * times, neutral * times, positive * times)
        return len(class_shift.check(view, class_shift.Config(), NOW))

    assert [alerts(times, 25, 48, 27) for times in (1, 10)] == [0, 0]
    assert [alerts(times, 55, 30, 15) for times in (1, 10)] == [1, 1]


def test_a_shift_in_a_small_night_is_no_alarm() -> None:
    view = FakeView()
    for ago in (3, 2, 1):
        mix(view, ago, 20, 50, 30)
    mix(view, 0, 18, 10, 10)
    assert class_shift.check(view, class_shift.Config(), NOW) == []
    assert len(class_shift.check(view, class_shift.Config(min_rows=10), NOW)) == 1


def test_the_distance_equals_a_reference_and_stays_finite() -> None:
    spatial = pytest.importorskip("scipy.spatial.distance")
    stats = pytest.importorskip("scipy.stats")
    for one, other in [((20, 50, 30), (55, 30, 15)), ((0, 1, 3), (7, 0, 9))]:
        assert class_shift.jensen_shannon_distance(one, other) == pytest.approx(
            spatial.jensenshannon(one, other, base=2)
        )
        assert class_shift.chi_squared_p(one, other) == pytest.approx(stats.chi2_contingency([one, other]).pvalue)
    assert class_shift.jensen_shannon_distance((9, 0, 0), (0, 0, 9)) == pytest.approx(1.0)


def test_copies_of_one_story_do_not_shift_the_shares() -> None:
    view = FakeView()
    for ago in (3, 2, 1):
        mix(view, ago, 20, 50, 30)
    mix(view, 0, 19, 50, 30)
    news(view, 0, "storm", 1, "negative", copies=150)
    assert class_shift.check(view, class_shift.Config(), NOW) == []

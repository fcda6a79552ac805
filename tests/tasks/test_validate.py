"""Every raw row ends as an article, a counted repeat or a quarantined row; a re-run changes nothing; too many failures stop the night."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.alerts import CONTRACT as ALERTS
from data_contracts.alerts import Alert
from data_contracts.article import CONTRACT as ARTICLES
from data_contracts.counts import CONTRACT as COUNTS
from data_contracts.counts import SourceCount
from data_contracts.errors import ContractBroken
from data_contracts.quarantine import CONTRACT as QUARANTINE
from data_contracts.quarantine import QuarantineRow
from data_contracts.raw import CONTRACT as RAW
from data_contracts.raw import RawRow
from data_contracts.scores import CONTRACT as SCORES
from data_contracts.scores import ScoredArticle, ScoredEntity
from data_contracts.validate import check
from tasks.daily import daily_of, mentions_of
from tasks.judge import Past, RowsUnaccounted, judge
from tasks.lake import Lake
from tasks.quarantine import merged, quarantine_id, quarantined
from tasks.validate import Validated, validate, validate_alerts, validate_scores

NIGHT = date(2026, 1, 2)
NOW = datetime(2026, 1, 2, 6, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def raw(number: int, **given: object) -> RawRow:
    fields: dict[str, object] = {
        "row_id": f"r{number}",
        "run_date": NIGHT,
        "source": "wire",
        "origin": "feed.jsonl",
        "position": number,
        "url": f"https://example.com/{number}",
        "title": f"Company {number} reports",
        "body": f"The company number {number} said on Friday that its profit rose by {number} percent.",
        "published_at": NOW - timedelta(hours=2),
        "first_seen_at": NOW,
    }
    return RawRow(**(fields | given))  # type: ignore[arg-type]


def source(name: str, rows: int) -> SourceCount:
    return SourceCount(
        run_date=NIGHT, source=name, kind="jsonl", rows_read=rows, rows_new=rows, rows_outside=0, rows_quarantined=0, rows_repeated=0,
        articles=0, failed=False, available_at=NOW,
    )  # fmt: skip


def delivered() -> list[RawRow]:
    return [
        *(raw(n) for n in range(8)),
        raw(8, url="https://other.example/7", title=raw(7).title, body=raw(7).body, source="copycat", published_at=NOW),
        raw(9, title=None, payload='{"headline": ""}'),
        raw(10, published_at=None, source="copycat"),
    ]


def night_with(path: Path, rows: Sequence[RawRow], counts: Sequence[SourceCount] | None = None) -> Lake:
    lake = Lake.open(str(path))
    lake.commit({"raw": RAW.table(rows)}, night=NIGHT, run_id="first", publish=False)
    names = sorted({row.source for row in rows})
    counted = counts if counts is not None else [source(n, sum(row.source == n for row in rows)) for n in names]
    lake.stage(NIGHT).write("source_counts", COUNTS.table(counted))
    return lake


def run(lake: Lake, *, now: datetime = NOW, share: float = 0.5, night: date = NIGHT) -> Validated:
    return validate.fn(lake.root, night=night, now=now, run_id="run", max_failed_share=share, lookback_nights=7)


def test_rows_become_articles_repeats_and_quarantine(tmp_path: Path) -> None:
    lake = night_with(tmp_path / "lake", delivered())
    done = run(lake)
    stage = lake.stage(NIGHT)
    articles, quarantine = stage.read("articles"), stage.read("quarantine")
    assert (articles.num_rows, quarantine.num_rows, done.repeats) == (8, 2, 1)
    assert sum(articles.column("repeats").to_pylist()) == 1
    assert articles.column("story_id").null_count == 0
    assert articles.schema == ARTICLES.schema
    assert quarantine.schema == QUARANTINE.schema
    assert (done.rows, done.failed) == (11, 2)
    by_row = {row["row_id"]: row for row in quarantine.to_pylist()}
    assert by_row["r9"]["row"] == '{"headline": ""}'
    assert by_row["r9"]["reason"] == "title.not_null"
    assert json.loads(by_row["r10"]["row"])["title"] == "Company 10 reports"
    assert by_row["r10"]["detail"] == "published_at: given nothing, allowed a value."


def test_source_counts_say_what_became_of_every_row(tmp_path: Path) -> None:
    lake = night_with(tmp_path / "lake", delivered())
    run(lake)
    counts = {row["source"]: row for row in lake.stage(NIGHT).read("source_counts").to_pylist()}
    assert {n: (c["articles"], c["rows_quarantined"], c["rows_repeated"]) for n, c in counts.items()} == {
        "wire": (8, 1, 0),
        "copycat": (0, 1, 1),
    }
    for count in counts.values():
        assert count["articles"] + count["rows_quarantined"] + count["rows_repeated"] == count["rows_new"]


def test_rows_of_a_run_that_was_killed_before_it_published_are_counted_when_the_counts_are_kept(tmp_path: Path) -> None:
    kept = source("wire", 5).model_copy(update={"rows_read": 8, "rows_outside": 3})
    lake = night_with(tmp_path / "lake", delivered(), counts=[kept])
    run(lake)
    wire = {row["source"]: row for row in lake.stage(NIGHT).read("source_counts").to_pylist()}["wire"]
    assert (wire["rows_read"], wire["rows_new"], wire["rows_outside"]) == (12, 9, 3)


def test_a_source_that_left_the_settings_keeps_a_count(tmp_path: Path) -> None:
    lake = night_with(tmp_path / "lake", delivered(), counts=[source("wire", 9), source("quiet", 0)])
    run(lake)
    counts = {row["source"]: row for row in lake.stage(NIGHT).read("source_counts").to_pylist()}
    assert (counts["copycat"]["kind"], counts["copycat"]["rows_new"]) == ("unknown", 2)
    assert counts["quiet"]["articles"] == 0


def test_an_empty_night_passes(tmp_path: Path) -> None:
    lake = night_with(tmp_path / "lake", [], counts=[source("wire", 0)])
    done = run(lake, share=0.0)
    assert (done.rows, done.failed) == (0, 0)
    assert lake.stage(NIGHT).read("articles").schema == ARTICLES.schema
    assert Path(done.page).is_file()


def test_a_rerun_of_a_published_night_stages_the_same_bytes(tmp_path: Path) -> None:
    lake = night_with(tmp_path / "lake", delivered())
    run(lake)
    stage = lake.stage(NIGHT)
    tables = {name: stage.read(name) for name in ("articles", "quarantine", "source_counts")}
    first = {name: Path(stage.path(name)).read_bytes() for name in tables}
    lake.commit({"raw": lake.read("raw", nights=[NIGHT]), **tables}, night=NIGHT, run_id="first")
    run(lake, now=LATER)
    assert {name: Path(stage.path(name)).read_bytes() for name in tables} == first


def test_only_new_rows_of_a_rerun_get_new_times(tmp_path: Path) -> None:
    lake = night_with(tmp_path / "lake", delivered())
    run(lake)
    stage = lake.stage(NIGHT)
    tables = {name: stage.read(name) for name in ("articles", "quarantine", "source_counts")}
    rows = [*delivered(), raw(20, first_seen_at=LATER), raw(21, title=None, first_seen_at=LATER)]
    lake.commit({"raw": RAW.table(rows), **tables}, night=NIGHT, run_id="first")
    stage.write("source_counts", COUNTS.table([source("copycat", 2), source("wire", 11)]))
    run(lake, now=LATER)
    times = dict(zip(*stage.read("articles").select(["row_id", "available_at"]).to_pydict().values(), strict=True))
    assert times == {f"r{n}": NOW for n in range(8)} | {"r20": LATER}
    kept = dict(zip(*stage.read("quarantine").select(["row_id", "quarantined_at"]).to_pydict().values(), strict=True))
    assert kept == {"r9": NOW, "r10": NOW, "r21": LATER}
    counts = {row["source"]: row["available_at"] for row in stage.read("source_counts").to_pylist()}
    assert counts == {"copycat": NOW, "wire": LATER}


def test_what_earlier_nights_have_is_a_repeat_or_a_new_version(tmp_path: Path) -> None:
    lake = night_with(tmp_path / "lake", [raw(1), raw(2)])
    run(lake)
    lake.commit({"articles": lake.stage(NIGHT).read("articles")}, night=NIGHT, run_id="first")
    next_night = NIGHT + timedelta(days=1)
    rows = [
        raw(1, row_id="again", run_date=next_night, first_seen_at=LATER),
        raw(2, row_id="changed", body="Now different.", run_date=next_night, first_seen_at=LATER),
    ]
    lake.commit({"raw": RAW.table(rows)}, night=next_night, run_id="second", publish=False)
    lake.stage(next_night).write("source_counts", COUNTS.empty())
    assert run(lake, night=next_night, now=LATER).repeats == 1
    articles = lake.stage(next_night).read("articles")
    assert articles.select(["row_id", "version"]).to_pylist() == [{"row_id": "changed", "version": 2}]


def test_a_night_run_after_a_later_one_gets_the_articles_it_would_have_got_before(tmp_path: Path) -> None:
    next_night = NIGHT + timedelta(days=1)
    rows = [raw(1), raw(2), raw(3)]
    later_rows = [
        raw(1, row_id="again", run_date=next_night, first_seen_at=LATER),
        raw(2, row_id="changed", body="Now different.", run_date=next_night, first_seen_at=LATER),
    ]
    forwards = night_with(tmp_path / "forwards", rows)
    run(forwards)
    backwards = night_with(tmp_path / "backwards", rows)
    backwards.commit({"raw": RAW.table(later_rows)}, night=next_night, run_id="later", publish=False)
    later_stage = backwards.stage(next_night)
    later_stage.write("source_counts", COUNTS.empty())
    run(backwards, night=next_night, now=LATER)
    backwards.commit({"articles": later_stage.read("articles")}, night=next_night, run_id="later")
    assert later_stage.read("articles").column("version").to_pylist() == [1, 1]
    assert run(backwards).repeats == 0
    for table in ("articles", "source_counts", "quarantine"):
        assert backwards.stage(NIGHT).read(table).equals(forwards.stage(NIGHT).read(table))


def test_too_large_a_failed_share_stops_the_night_after_keeping_all(tmp_path: Path) -> None:
    lake = night_with(tmp_path / "lake", delivered())
    with pytest.raises(ContractBroken) as raised:
        run(lake, share=0.1)
    message = str(raised.value)
    assert message.startswith("raw: 2 of 11 rows failed their contract, a share of 18.2%; allowed is at most 10.0%.")
    assert "published_at.not_null (1), title.not_null (1)" in message
    page = tmp_path / "lake/_reports/2026-01-02/contract.html"
    assert str(page) in message
    assert "title.not_null" in page.read_text(encoding="utf-8")
    stage = lake.stage(NIGHT)
    assert stage.path("quarantine") in message
    assert stage.read("quarantine").num_rows == 2
    assert not stage.exists("articles")
    assert not lake.published(NIGHT)


def test_a_share_at_the_limit_passes(tmp_path: Path) -> None:
    lake = night_with(tmp_path / "lake", [raw(0), raw(1), raw(2), raw(3, title=None)])
    assert run(lake, share=0.25).failed == 1


SMALL = st.builds(
    lambda number, title, body, url, time, name: raw(
        number, title=title, body=body, url=url, published_at=time, source=name
    ),
    st.integers(0, 3),
    st.sampled_from(["Acme rises", "Acme falls", "", " ", None, "x" * 1001]),
    st.sampled_from([None, "", "Its shares rose by five percent on Friday.", "Its shares fell."]),
    st.sampled_from([None, "https://example.com/a", "https://example.com/b?utm_source=x", "nowhere"]),
    st.sampled_from([None, NOW, NOW + timedelta(hours=25), datetime(1980, 1, 1, tzinfo=UTC)]),
    st.sampled_from(["wire", "copycat"]),
)


@given(st.lists(SMALL, max_size=12), st.booleans())
@settings(max_examples=10)
def test_articles_quarantine_and_repeats_are_the_input(rows: list[RawRow], distinct: bool) -> None:
    given_rows = [row.model_copy(update={"row_id": f"r{n}"}) for n, row in enumerate(rows)] if distinct else rows
    past = Past(earlier=ARTICLES.empty(), existing=ARTICLES.empty())
    judged = judge(RAW.table(given_rows), past, night=NIGHT, now=NOW)
    repeats = sum(judged.repeats_by_source.values())
    assert judged.articles.num_rows + judged.quarantine.num_rows + repeats == len(given_rows)
    assert sum(judged.articles.column("repeats").to_pylist()) == repeats
    table = merged([judged.quarantine, judged.quarantine], published=QUARANTINE.empty())
    assert table.num_rows == judged.quarantine.num_rows
    if distinct:
        out = {*judged.articles.column("row_id").to_pylist(), *judged.quarantine.column("row_id").to_pylist()}
        assert len(out) == judged.articles.num_rows + judged.quarantine.num_rows
        assert out <= {row.row_id for row in given_rows}


def test_copies_of_one_failed_row_stay_apart_in_quarantine() -> None:
    verdict = check(RAW.table([raw(1), raw(1), raw(1)]), RAW)
    table = merged([quarantined(verdict, RAW, night=NIGHT, now=NOW)], published=QUARANTINE.empty())
    assert table.num_rows == 2


# Scores


def scored_of(articles: pa.Table, **changes: dict[str, object]) -> pa.Table:
    """Scores of articles as a model would give them; `changes` by row_id."""
    rows = []
    for article in articles.to_pylist():
        entity = ScoredEntity(mention_text="Company", mention_type="ORG", ner_score=0.9, mention_start=0, mention_end=7)
        fields = {
            name: article[name] for name in ("article_id", "version", "run_date", "source", "url", "title", "published_at", "first_seen_at")
        } | {
            "scored_at": NOW, "available_at": NOW, "sentiment": "neutral", "p_negative": 0.2, "p_neutral": 0.5, "p_positive": 0.3,
            "sentiment_score": 0.1, "tokens_scored": 9, "tokens_total": 9, "windows": 1, "entities": [entity], "model_digest": "d",
        }  # fmt: skip
        rows.append(ScoredArticle(**(fields | changes.get(article["row_id"], {}))))
    return SCORES.table(rows)


def stage_scores(lake: Lake, scored: pa.Table) -> None:
    stage = lake.stage(NIGHT)
    mentions = mentions_of(scored, min_ner_score=0.5)
    stage.write("scored_articles", scored)
    stage.write("entity_mentions", mentions)
    stage.write("daily_entity_sentiment", daily_of(mentions))


def hold_scores(lake: Lake, *, now: datetime = NOW, share: float = 0.5) -> Validated:
    return validate_scores.fn(lake.root, night=NIGHT, now=now, max_failed_share=share)


@pytest.fixture
def validated(tmp_path: Path) -> Lake:
    lake = night_with(tmp_path / "lake", [raw(n) for n in range(5)])
    run(lake)
    return lake


def test_good_scores_stay_as_they_are(validated: Lake) -> None:
    scored = scored_of(validated.stage(NIGHT).read("articles"))
    stage_scores(validated, scored)
    done = hold_scores(validated, share=0.0)
    assert validated.stage(NIGHT).read("scored_articles").equals(scored)
    assert (done.rows, done.failed) == (5, 0)
    assert {name: partition.rows for name, partition in done.tables.items()} == {
        "scored_articles": 5,
        "entity_mentions": 5,
        "daily_entity_sentiment": 1,
    }


def test_a_bad_score_goes_to_quarantine_with_its_mentions(validated: Lake) -> None:
    stage = validated.stage(NIGHT)
    scored = scored_of(stage.read("articles"), r2={"p_neutral": 0.9})
    stage_scores(validated, scored)
    done = hold_scores(validated)
    assert stage.read("scored_articles").num_rows == 4
    assert stage.read("entity_mentions").num_rows == 4
    assert stage.read("daily_entity_sentiment").column("articles").to_pylist() == [4]
    [row] = stage.read("quarantine").to_pylist()
    bad = scored.filter(pl.from_arrow(scored)["p_neutral"].gt(0.8).to_arrow()).to_pylist()[0]  # type: ignore[union-attr]
    assert (row["stage"], row["reason"]) == ("scored_articles", "p_negative.sums_to_one")
    assert row["row_id"] == f"{bad['article_id']}:1"
    assert json.loads(row["row"])["entities"][0]["mention_text"] == "Company"
    page = Path(done.page).read_text(encoding="utf-8")
    for table in ("raw", "articles", "score", "scored_articles", "entity_mentions", "daily_entity_sentiment"):
        assert f'<h2 id="{table}">' in page


def test_holding_scores_twice_gives_the_same_tables(validated: Lake) -> None:
    stage = validated.stage(NIGHT)
    stage_scores(validated, scored_of(stage.read("articles"), r2={"p_neutral": 0.9}))
    hold_scores(validated)
    names = ("scored_articles", "entity_mentions", "daily_entity_sentiment")
    first = {name: stage.read(name) for name in (*names, "quarantine")}
    validated.commit(first, night=NIGHT, run_id="first")
    hold_scores(validated, now=LATER)
    assert {name: stage.read(name) for name in first} == first


def test_an_article_that_broke_the_model_is_accounted_for_by_its_quarantine_row(validated: Lake) -> None:
    stage = validated.stage(NIGHT)
    scored = scored_of(stage.read("articles"))
    broke = scored.slice(0, 1).to_pylist()[0]
    stage_scores(validated, scored.slice(1))
    with pytest.raises(RowsUnaccounted, match=r"1 are in neither"):
        hold_scores(validated)
    row_id = f"{broke['article_id']}:1"
    row = QuarantineRow(
        quarantine_id=quarantine_id("score", row_id, "text.not_scored"), run_date=NIGHT, stage="score", source="wire", row_id=row_id,
        reason="text.not_scored", detail="the model gave no number", row="{}", quarantined_at=NOW,
    )  # fmt: skip
    stage.write("quarantine", QUARANTINE.table([row]))
    done = hold_scores(validated)
    assert done.failed == 0
    assert "text.not_scored" in Path(done.page).read_text(encoding="utf-8")
    with pytest.raises(ContractBroken, match=r"articles to score: 1 of 5 .* text\.not_scored \(1\)"):
        hold_scores(validated, share=0.1)


def test_a_score_or_mention_without_an_article_stops_the_night(validated: Lake) -> None:
    stage = validated.stage(NIGHT)
    scored = scored_of(stage.read("articles"))
    stage_scores(validated, scored)
    stage.write("articles", stage.read("articles").slice(1))
    with pytest.raises(RowsUnaccounted, match="1 scored rows have no article"):
        hold_scores(validated)


def test_too_many_bad_scores_stop_the_night(validated: Lake) -> None:
    stage = validated.stage(NIGHT)
    changes: dict[str, dict[str, object]] = {f"r{n}": {"sentiment": "bullish"} for n in range(3)}
    stage_scores(validated, scored_of(stage.read("articles"), **changes))
    with pytest.raises(ContractBroken, match=r"3 of 5 rows failed .* sentiment\.in_set \(3\)"):
        hold_scores(validated)
    assert stage.read("quarantine").num_rows == 3


def test_a_bad_alert_is_quarantined_and_the_others_go_on(validated: Lake) -> None:
    def alert(key: str, severity: str) -> Alert:
        return Alert(
            alert_key=key, run_date=NIGHT, monitor="m", subject="Acme", severity=severity, message="x", article_ids=["a"], created_at=NOW,
            available_at=NOW,
        )  # fmt: skip

    stage = validated.stage(NIGHT)
    stage.write("alerts", ALERTS.table([alert("a", "warning"), alert("b", "panic")]))
    done = validate_alerts.fn(validated.root, night=NIGHT, now=NOW)
    assert stage.read("alerts").column("alert_key").to_pylist() == ["a"]
    assert [(row["stage"], row["row_id"]) for row in stage.read("quarantine").to_pylist()] == [("alerts", "b")]
    assert (done.rows, done.failed) == (2, 1)

"""Each rule of each kind fails the rows it should, with its reason, and no others; and the checker does not trust its checker."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts import validate
from data_contracts.alerts import CONTRACT as ALERTS
from data_contracts.alerts import Alert
from data_contracts.catalog import CONTRACTS
from data_contracts.daily import CONTRACT as DAILY
from data_contracts.daily import DailyEntitySentiment
from data_contracts.mentions import CONTRACT as MENTIONS
from data_contracts.raw import CONTRACT as RAW
from data_contracts.raw import RawRow
from data_contracts.schema import FLOAT64, STRING, Column, Contract, Order, Row, SchemaMismatch
from data_contracts.scores import CONTRACT as SCORES
from data_contracts.suite import Expectation, expectations
from data_contracts.validate import CheckFailed, Verdict, check
from tests.rows import entity, scored_article

NOW = datetime(2026, 1, 2, tzinfo=UTC)
NIGHT = date(2026, 1, 2)


def raw(number: int = 0, **given: object) -> RawRow:
    fields: dict[str, object] = {
        "row_id": f"r{number}",
        "run_date": NIGHT,
        "source": "wire",
        "origin": "feed.xml",
        "position": number,
        "title": "Acme rises",
        "published_at": NOW,
        "first_seen_at": NOW,
    }
    return RawRow(**(fields | given))  # type: ignore[arg-type]


# Great Expectations costs tenths of a second a call, whatever the number of rows: all cases of a kind go into one table.
# fmt: off
BAD_RAW: list[tuple[dict[str, object], str, str]] = [
    ({"title": None}, "title.not_null", "title: given nothing, allowed a value."),
    ({"title": " \u2009 "}, "title.matches", "allowed more than white space."),
    ({"title": ""}, "title.length;title.matches", "title: given '', allowed 1 to 1000 characters"),
    ({"title": "x" * 1001}, "title.length", "and more (1001 characters), allowed 1 to 1000 characters."),
    ({"published_at": None}, "published_at.not_null", "published_at: given nothing"),
    (
        {"published_at": datetime(1989, 12, 31, 23, 59, 59, tzinfo=UTC)},
        "published_at.between",
        "published_at: given 1989-12-31T23:59:59Z, allowed at least 1990-01-01T00:00:00Z.",
    ),
    ({"published_at": NOW + timedelta(hours=24, seconds=1)}, "published_at.not_in_future", "published_at_lead_seconds 86401"),
    ({"published_at": datetime(9999, 12, 31, tzinfo=UTC)}, "published_at.not_in_future", "9999-12-31T00:00:00Z"),
    ({"published_at": datetime(1, 1, 1, tzinfo=UTC)}, "published_at.between", "allowed at least 1990-01-01T00:00:00Z."),
    ({"url": "ftp://example.com/a"}, "url.matches", "url: given 'ftp://example.com/a', allowed an http"),
    ({"url": "javascript:alert(1)"}, "url.matches", "allowed an http"),
    ({"url": "https://example.com/a b"}, "url.matches", "without white space"),
    ({"url": "read https://example.com"}, "url.matches", "allowed an http"),
    ({"parse_error": "not JSON"}, "parse_error.absent", "parse_error: given 'not JSON', allowed none."),
    ({"body": "x" * (2 * 1024 * 1024 + 1)}, "body.length", "allowed at most 2097152 characters."),
    ({"source": ""}, "source.length", "source: given '', allowed 1 to 200 characters."),
    ({"position": -1}, "position.between", "position: given -1, allowed at least 0."),
    ({"title": None, "published_at": None}, "published_at.not_null;title.not_null", "given nothing, allowed a value; title:"),
]
ODD_RAW: list[dict[str, object]] = [
    {"body": None},
    {"body": ""},
    {"url": None},
    {"url": "HTTPS://Example.com/a?b=c#d"},
    {"url": "http://b\u00fccher.example/\u00e9"},
    {"url": "file:///news/a.xml"},
    {"published_at": NOW + timedelta(hours=24)},
    {"published_at": datetime(1990, 1, 1, tzinfo=UTC)},
    {"title": "\U0001f680" * 1000},
    {"title": "x" * 1000, "body": "x" * (2 * 1024 * 1024)},
]
BAD_SCORES: list[tuple[dict[str, object], str]] = [
    ({"p_neutral": 0.3}, "p_negative.sums_to_one"),
    ({"p_negative": float("nan")}, "p_negative.not_null"),
    ({"p_positive": 1.5, "p_negative": -0.7}, "p_negative.between;p_positive.between;sentiment_score.is_difference"),
    ({"sentiment": "bullish"}, "sentiment.in_set"),
    ({"sentiment_score": -0.6}, "sentiment_score.is_difference"),
    ({"tokens_scored": 4}, "tokens_total.at_least_tokens_scored"),
    ({"scored_at": NOW - timedelta(seconds=1)}, "scored_at.at_least_first_seen_at"),
    ({"entities": [entity(), entity(mention_type="GPE")]}, "entities.mention_type.in_set"),
    ({"entities": [entity(mention_end=0)]}, "entities.mention_end.above_mention_start;entities.mention_end.between"),
    ({"entities": [entity(ner_score=1.01), entity(mention_text="")]}, "entities.mention_text.length;entities.ner_score.between"),
]
# fmt: on


@pytest.fixture(scope="module")
def raw_verdict() -> Verdict:
    broken = [raw(n, **(case | {"row_id": f"bad {n}"})) for n, (case, _, _) in enumerate(BAD_RAW)]
    odd = [raw(n, **(case | {"row_id": f"odd {n}"})) for n, case in enumerate(ODD_RAW)]
    return check(RAW.table([*broken, *odd]), RAW)


@pytest.mark.parametrize("number", range(len(BAD_RAW)), ids=[reason for _, reason, _ in BAD_RAW])
def test_a_bad_raw_row_fails_with_its_reason(raw_verdict: Verdict, number: int) -> None:
    _, reason, said = BAD_RAW[number]
    place = raw_verdict.failed.column("row_id").to_pylist().index(f"bad {number}")
    assert raw_verdict.reasons[place] == reason
    assert said in raw_verdict.details[place]


def test_odd_but_possible_raw_rows_pass(raw_verdict: Verdict) -> None:
    assert raw_verdict.passed.column("row_id").to_pylist() == [f"odd {n}" for n in range(len(ODD_RAW))]


def test_only_later_copies_of_a_key_fail_even_across_shards() -> None:
    rows = [raw(0), raw(1), raw(0), raw(2), raw(0)]
    verdict = check(RAW.table(rows), RAW, max_shard_rows=2)
    assert verdict.passed.column("row_id").to_pylist() == ["r0", "r1", "r2"]
    assert verdict.reasons == ("row_id.unique", "row_id.unique")


@pytest.fixture(scope="module")
def score_verdict() -> Verdict:
    broken = [scored_article(NOW, version=n, **case) for n, (case, _) in enumerate(BAD_SCORES, start=1)]
    return check(
        SCORES.table(
            [*broken, scored_article(NOW, version=1000), scored_article(NOW, version=1001, entities=[entity()])]
        ),
        SCORES,
    )


@pytest.mark.parametrize("number", range(len(BAD_SCORES)), ids=[reason for _, reason in BAD_SCORES])
def test_a_bad_score_fails_with_its_reason(score_verdict: Verdict, number: int) -> None:
    assert score_verdict.failed.column("version")[number].as_py() == number + 1
    assert score_verdict.reasons[number] == BAD_SCORES[number][1]


def test_good_scores_pass_with_and_without_entities(score_verdict: Verdict) -> None:
    assert score_verdict.passed.column("version").to_pylist() == [1000, 1001]


def test_a_bad_item_of_a_list_is_named_by_its_place() -> None:
    row = scored_article(NOW, entities=[entity(), entity(), entity(mention_start=4)])
    verdict = check(SCORES.table([row]), SCORES)
    assert verdict.details == (
        "entities[2].mention_end: given mention_end 4, mention_start 4, allowed mention_end > mention_start.",
    )


def test_the_labels_of_an_entity_sum_to_its_articles() -> None:
    fields: dict[str, object] = {
        "run_date": NIGHT, "entity": "acme", "display_name": "Acme", "mention_type": "ORG", "articles": 3, "mentions": 5, "negative": 1,
        "neutral": 1, "positive": 1, "mean_score": 0.0, "negative_share": 0.33, "available_at": NOW, "model_digest": "d",
    }  # fmt: skip
    rows = [DailyEntitySentiment(**fields), DailyEntitySentiment(**(fields | {"entity": "b", "positive": 2}))]  # type: ignore[arg-type]
    assert check(DAILY.table(rows), DAILY).reasons == ("articles.sums_labels",)


def test_an_alert_of_unknown_severity_fails_and_null_numbers_pass() -> None:
    fields: dict[str, object] = {
        "run_date": NIGHT, "monitor": "m", "subject": "s", "severity": "warning", "message": "x", "article_ids": [], "created_at": NOW,
        "available_at": NOW,
    }  # fmt: skip
    rows = [Alert(alert_key="a", **fields), Alert(alert_key="b", **(fields | {"severity": "panic"}))]  # type: ignore[arg-type]
    assert check(ALERTS.table(rows), ALERTS).reasons == ("severity.in_set",)


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda c: c.name)
def test_an_empty_table_passes_every_contract(contract: Contract) -> None:
    verdict = check(contract.empty(), contract)
    assert verdict.passed.num_rows == verdict.failed.num_rows == 0
    assert verdict.passed.schema == contract.schema
    assert all(result.success and result.element_count == 0 for result in verdict.results)


def test_all_rows_null_in_a_required_column_all_fail() -> None:
    verdict = check(RAW.table([raw(n, title=None) for n in range(3)]), RAW)
    assert verdict.reasons == ("title.not_null",) * 3


def test_nulls_beyond_the_schema_are_judged_not_raised() -> None:
    table = MENTIONS.empty().schema.empty_table()
    holed = pa.table([pa.nulls(1, field.type) for field in table.schema], names=table.column_names)
    verdict = check(holed, MENTIONS)
    assert verdict.failed.num_rows == 1
    assert verdict.reasons[0].split(";")[0] == "article_id.not_null"


def test_a_table_of_other_columns_is_refused() -> None:
    with pytest.raises(SchemaMismatch, match="missing columns"):
        check(RAW.empty().drop_columns(["title"]), RAW)


def test_results_count_rows_over_all_shards() -> None:
    rows = [raw(n, title=None if n % 2 else "x") for n in range(7)]
    whole, sharded = (check(RAW.table(rows), RAW, max_shard_rows=size) for size in (100, 2))
    assert whole.results == sharded.results
    assert whole.reasons == sharded.reasons
    [result] = [result for result in whole.results if result.code == "title.not_null"]
    assert (result.success, result.unexpected_count, result.element_count) == (False, 3, 7)


class Pair(Row):
    low: Annotated[float | None, Column(FLOAT64, "Low.")] = None
    high: Annotated[float | None, Column(FLOAT64, "High.")] = None
    name: Annotated[str | None, Column(STRING, "Name.")] = None


PAIRS = Contract(name="pairs", row=Pair, says="Pairs.", orders=(Order(low="low", high="high"),))


def test_an_order_passes_where_either_side_is_missing() -> None:
    rows = [Pair(low=1.0), Pair(high=1.0), Pair(), Pair(low=2.0, high=1.0), Pair(low=1.0, high=1.0)]
    verdict = check(PAIRS.table(rows), PAIRS)
    assert verdict.reasons == ("high.at_least_low",)
    assert verdict.failed.to_pylist() == [{"low": 2.0, "high": 1.0, "name": None}]


@given(st.lists(st.tuples(st.none() | st.floats(-5, 5), st.none() | st.floats(-5, 5)), max_size=30), st.integers(1, 7))
@settings(max_examples=10)
def test_passed_and_failed_are_the_input_in_its_order(
    pairs: list[tuple[float | None, float | None]], size: int
) -> None:
    rows = [Pair(low=low, high=high, name=str(n)) for n, (low, high) in enumerate(pairs)]
    verdict = check(PAIRS.table(rows), PAIRS, max_shard_rows=size)
    bad = [str(n) for n, (low, high) in enumerate(pairs) if low is not None and high is not None and high < low]
    assert verdict.failed.column("name").to_pylist() == bad
    assert verdict.passed.column("name").to_pylist() == [row.name for row in rows if row.name not in bad]
    assert len(verdict.reasons) == len(verdict.details) == len(bad)


def with_rule(change: Callable[[Expectation], Expectation]) -> Callable[[Contract], tuple[Expectation, ...]]:
    return lambda contract: tuple(change(rule) for rule in expectations(contract))


def test_an_expectation_type_that_is_not_known_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_contracts.suite.expectations", with_rule(lambda rule: replace(rule, type="expect_magic")))
    with pytest.raises(CheckFailed, match="1 expectations declared, 0 understood"):
        check(PAIRS.table([Pair(low=1.0, high=2.0)]), PAIRS)


def test_an_expectation_that_cannot_be_evaluated_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = with_rule(lambda rule: replace(rule, kwargs=rule.kwargs | {"column_A": "nowhere"}))
    monkeypatch.setattr("data_contracts.suite.expectations", broken)
    with pytest.raises(CheckFailed, match=r"high\.at_least_low .* was not evaluated"):
        check(PAIRS.table([Pair(low=1.0, high=2.0)]), PAIRS)


def test_a_result_over_fewer_rows_than_given_raises() -> None:
    class Config:
        meta: dict[str, str] = {}  # noqa: RUF012

    class Result:
        success = True
        result = {"element_count": 2, "unexpected_count": 0, "unexpected_index_list": []}  # noqa: RUF012
        expectation_config = Config()
        exception_info: dict[str, object] = {}  # noqa: RUF012

    with pytest.raises(CheckFailed, match="over 2 of 3 rows"):
        validate._rows(Result(), expectations(PAIRS)[0], PAIRS, 3)


def test_importing_the_checker_does_not_import_great_expectations() -> None:
    code = "import sys, data_contracts.validate, data_contracts.page; sys.exit('great_expectations' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_check_opens_no_connection_and_leaves_no_file_whatever_the_environment_says(tmp_path: Path) -> None:
    code = """
import os, socket, sys
import tempfile
for name in [n for n in os.environ if n.startswith(("GX_", "ge_", "DO_NOT_TRACK"))]:
    del os.environ[name]
tried = []
def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.gethostbyname"):
        tried.append((event, args[1:])); raise OSError("refused")
sys.addaudithook(refuse)
from data_contracts.validate import check
from data_contracts.labelled_check import LABELLED, SentimentRow
contract = LABELLED["sentiment"]
verdict = check(contract.table([SentimentRow(line=1, text="x", label="neutral"), SentimentRow(line=2, text="x", label="odd")]), contract)
assert verdict.reasons == ("label.in_set",), verdict
left = os.listdir(tempfile.gettempdir())
sys.exit(str((tried, left)) if tried or left else 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr

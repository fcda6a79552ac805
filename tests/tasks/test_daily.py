"""Names to entities, mentions to daily sums."""

import datetime as dt

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.daily import CONTRACT as DAILY
from data_contracts.labels import ENTITY_TYPES
from data_contracts.mentions import CONTRACT as MENTIONS
from data_contracts.scores import CONTRACT as SCORES
from data_contracts.scores import ScoredArticle, ScoredEntity
from tasks.daily import daily_of, mentions_of
from tasks.entities import entity_key, shared_keys

NIGHT = dt.date(2026, 3, 2)
NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)


def article(key: str, names: list[tuple[str, str]], *, score: float = 0.0, **more: object) -> ScoredArticle:
    """A scored article that names these (text, type) pairs with probability 0.9."""
    negative, positive = max(0.0, -score), max(0.0, score)
    entities = [
        ScoredEntity(mention_text=text, mention_type=kind, ner_score=0.9, mention_start=10 * i, mention_end=10 * i + 5)
        for i, (text, kind) in enumerate(names)
    ]
    values = {
        "article_id": key, "version": 1, "run_date": NIGHT, "source": "wire", "title": "t", "published_at": NOON, "first_seen_at": NOON,
        "scored_at": NOON, "available_at": NOON, "p_negative": negative, "p_neutral": 1 - negative - positive, "p_positive": positive,
        "sentiment": "negative" if score < -0.5 else "positive" if score > 0.5 else "neutral", "sentiment_score": score,
        "tokens_scored": 9, "tokens_total": 9, "windows": 1, "entities": entities, "model_digest": "d1",
    }  # fmt: skip
    return ScoredArticle.model_validate(values | more)


def mentions(*articles: ScoredArticle, min_ner_score: float = 0.5) -> pa.Table:
    return mentions_of(SCORES.table(articles), min_ner_score=min_ner_score)


def daily(*articles: ScoredArticle) -> list[dict[str, object]]:
    return daily_of(mentions(*articles)).to_pylist()


@pytest.mark.parametrize(
    ("text", "kind", "key"),
    [
        ("The Goldman Sachs Group, Inc.'s", "ORG", "goldman sachs group"),
        ("Apple, Inc.", "ORG", "apple"),
        ("apple’s", "ORG", "apple"),
        ("Siemens AG", "ORG", "siemens"),
        ("Barclays PLC", "ORG", "barclays"),
        ("Toyota Motor Corporation", "ORG", "toyota motor"),
        ("JPMorgan Chase & Co.", "ORG", "jpmorgan chase"),
        ("AT&T Inc.", "ORG", "at&t"),
        ("Lloyds Banks'", "ORG", "lloyds banks"),
        ("ＡＢＣ Co.", "ORG", "abc"),
        ("U.S.", "LOC", "us"),
        ("Ana Sa", "PER", "ana sa"),
        ("Co", "ORG", "co"),
        ("The", "ORG", "the"),
        ("...", "MISC", "..."),
    ],
)
def test_a_name_becomes_its_key(text: str, kind: str, key: str) -> None:
    assert entity_key(text, kind) == key


@given(st.text(min_size=1).filter(lambda text: text.strip() != ""), st.sampled_from(ENTITY_TYPES))
def test_no_name_loses_its_key(text: str, kind: str) -> None:
    assert entity_key(text, kind)


def test_a_short_name_stands_for_the_one_long_name_it_opens_or_closes() -> None:
    given = [
        ("john smith", "PER"),
        ("smith", "PER"),
        ("apple", "ORG"),
        ("apple computer", "ORG"),
        ("apple computer europe", "ORG"),
    ]
    shared = shared_keys(given)
    assert shared["smith", "PER"] == "john smith"
    assert shared["apple", "ORG"] == shared["apple computer", "ORG"] == "apple computer europe"


def test_a_short_name_of_two_long_ones_stays_its_own() -> None:
    assert shared_keys([("john smith", "PER"), ("jane smith", "PER"), ("smith", "PER")])["smith", "PER"] == "smith"


def test_types_and_places_are_not_merged() -> None:
    shared = shared_keys([("morgan", "PER"), ("morgan stanley", "ORG"), ("paris", "LOC"), ("paris texas", "LOC")])
    assert shared["morgan", "PER"] == "morgan"
    assert shared["paris", "LOC"] == "paris"


def test_short_names_are_resolved_within_their_article_only() -> None:
    table = mentions(article("a", [("John Smith", "PER"), ("Smith", "PER")]), article("b", [("Smith", "PER")]))
    assert [(r["article_id"], r["entity"]) for r in table.to_pylist()] == [
        ("a", "john smith"),
        ("a", "john smith"),
        ("b", "smith"),
    ]


def test_mentions_are_sorted_by_entity_then_time_and_keep_the_contract() -> None:
    later = article("a", [("Zeta AG", "ORG"), ("Acme Corp", "ORG")], published_at=NOON + dt.timedelta(hours=1))
    table = mentions(later, article("b", [("Acme", "ORG")]))
    assert table.schema.equals(MENTIONS.schema)
    assert [(r["entity"], r["article_id"]) for r in table.to_pylist()] == [("acme", "b"), ("acme", "a"), ("zeta", "a")]


def test_doubtful_mentions_are_left_out() -> None:
    assert mentions(article("a", [("Acme", "ORG")]), min_ner_score=0.95).num_rows == 0


def test_articles_without_entities_give_empty_tables() -> None:
    assert mentions(article("a", [])).equals(MENTIONS.empty())
    assert daily(article("a", [])) == []
    assert daily_of(MENTIONS.empty()).schema.equals(DAILY.schema)
    assert mentions().num_rows == 0


def test_an_article_counts_once_however_often_it_names_the_entity() -> None:
    (row,) = daily(article("a", [("Acme", "ORG")] * 5, score=-0.9), article("b", [("Acme Inc", "ORG")], score=0.6))
    assert (row["articles"], row["mentions"], row["negative"], row["neutral"], row["positive"]) == (2, 6, 1, 0, 1)
    assert row["mean_score"] == pytest.approx(-0.15)
    assert row["negative_share"] == pytest.approx(0.5)
    assert row["display_name"] == "Acme"


def test_of_two_versions_in_a_night_the_last_counts() -> None:
    (row,) = daily(
        article("a", [("Acme", "ORG")], score=-0.9), article("a", [("Acme", "ORG")] * 2, score=0.9, version=2)
    )
    assert (row["articles"], row["mentions"], row["positive"]) == (1, 2, 1)


def test_a_row_is_available_with_the_last_of_what_it_sums_and_names_all_its_models() -> None:
    late = NOON + dt.timedelta(minutes=5)
    rows = [article("a", [("Acme", "ORG")]), article("b", [("Acme", "ORG")], available_at=late, model_digest="d0")]
    (row,) = daily(*rows)
    assert row["available_at"] == late
    assert row["model_digest"] == "d0;d1"


def test_the_order_of_articles_does_not_change_a_byte() -> None:
    articles = [article(f"a{i}", [("Acme", "ORG"), ("Bolt Ltd", "ORG")], score=0.1 * (i % 7) - 0.3) for i in range(30)]
    table = daily_of(mentions(*articles))
    again = daily_of(mentions(*reversed(articles)))
    assert table.drop_columns(["mean_score"]).equals(again.drop_columns(["mean_score"]))
    assert pl.Series(table["mean_score"]).to_list() == pytest.approx(pl.Series(again["mean_score"]).to_list())

"""Articles that are too unsure: the label is kept and shown, no count of a label has it, and old lakes stay readable."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from data_contracts.daily import CONTRACT as DAILY
from data_contracts.mentions import CONTRACT as MENTIONS
from data_contracts.scores import CONTRACT as SCORES
from data_contracts.scores import ScoredEntity
from data_contracts.validate import check
from tasks.cluster import ClusterConfig
from tasks.daily import daily_of, mentions_of
from tasks.lake import Lake
from tasks.lake.parquet import columns, require_compatible
from tasks.lake.schemas import read_as
from tasks.score import score
from tests.rows import scored_article

NIGHT = dt.date(2026, 3, 2)
NOW = dt.datetime(2026, 3, 3, 3, 30, tzinfo=dt.UTC)
AT = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)
Rows = list[tuple[str, str, str | None]]
NAMED = [ScoredEntity(mention_text="Norvane", mention_type="ORG", ner_score=0.9, mention_start=0, mention_end=7)]
BAD = {"sentiment": "negative", "p_negative": 0.7, "p_positive": 0.1, "sentiment_score": -0.6, "entities": NAMED}


def test_an_unsure_article_keeps_its_label_and_counts_under_none() -> None:
    rows = [
        scored_article(AT, article_id="a", abstained=True, **BAD),
        scored_article(AT, article_id="b", abstained=False, **BAD),
        scored_article(AT, article_id="c", **BAD),
    ]
    mentions = mentions_of(SCORES.table(rows), min_ner_score=0.5)
    assert mentions["sentiment"].to_pylist() == ["negative"] * 3
    assert mentions["abstained"].to_pylist() == [True, False, None]
    daily = daily_of(mentions)
    (row,) = daily.to_pylist()
    assert (row["articles"], row["negative"], row["abstained"], row["neutral"]) == (3, 2, 1, 0)
    assert check(daily, DAILY).failed.num_rows == 0


@pytest.mark.parametrize(("least", "unsure"), [(0.0, 0), (1.0, 10)])
def test_the_settings_say_how_sure_a_label_must_be(
    tmp_path: Path,
    tiny_bundle: Path,
    stage_articles: Callable[..., None],
    news: Callable[[int], Rows],
    least: float,
    unsure: int,
) -> None:
    stage_articles(tmp_path, news(10))
    score.fn(
        str(tmp_path),
        night=NIGHT,
        now=NOW,
        run_id="r",
        bundles=[str(tiny_bundle)],
        cluster=ClusterConfig(),
        min_confidence=least,
    )
    table = Lake.open(str(tmp_path)).stage(NIGHT).read("scored_articles")
    assert sum(table["abstained"].to_pylist()) == unsure


def test_a_lake_from_before_the_column_reads_as_null_and_may_be_added_to() -> None:
    old = SCORES.table([scored_article(AT, **BAD)]).drop_columns(["abstained"])
    assert read_as(old, SCORES.schema)["abstained"].to_pylist() == [None]
    for contract in (SCORES, MENTIONS, DAILY):
        before = pa.schema([field for field in contract.schema if field.name != "abstained"])
        require_compatible(contract.name, columns(before), columns(contract.schema))

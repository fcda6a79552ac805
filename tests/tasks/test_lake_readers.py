"""Analysts read the published tables by a plain glob, with whatever they have."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from data_contracts.catalog import contract
from tasks.lake import Lake
from tests.rows import entity, scored_article

FIRST = date(2026, 11, 19)
NIGHTS = [FIRST, FIRST + timedelta(days=1)]
AT = datetime(2026, 11, 19, 22, tzinfo=UTC)


@pytest.fixture(params=["*/*.parquet", "**/*.parquet", "night=*/part-0.parquet"])
def glob(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    lake = Lake.open(str(tmp_path))
    wanted = contract("scored_articles")
    for number, night in enumerate(NIGHTS):
        row = scored_article(AT, article_id=f"a{number}", run_date=night, entities=[entity()])
        lake.commit({"scored_articles": wanted.table([row])}, night=night, run_id="r1")
    lake.commit({"scored_articles": wanted.empty()}, night=FIRST - timedelta(days=1), run_id="r1")
    lake.stage(FIRST).write("scored_articles", wanted.empty())
    return f"{tmp_path}/scored_articles/{request.param}"


def test_duckdb(glob: str) -> None:
    query = f"SELECT night, run_date, article_id, entities[1].mention_text FROM '{glob}' ORDER BY night"
    assert duckdb.sql(query).fetchall() == [(night, night, f"a{n}", "Acme") for n, night in enumerate(NIGHTS)]


def test_polars(glob: str) -> None:
    frame = pl.read_parquet(glob, hive_partitioning=False).sort("run_date")
    assert frame["run_date"].to_list() == NIGHTS
    assert frame.explode("entities").unnest("entities")["mention_text"].to_list() == ["Acme", "Acme"]
    assert frame.schema["published_at"] == pl.Datetime("us", "UTC")


def test_polars_lazily_by_folder(glob: str) -> None:
    folder = glob.partition("scored_articles")[0] + "scored_articles/"
    frame = pl.scan_parquet(folder, hive_partitioning=True).filter(pl.col("night") == NIGHTS[1]).collect()
    assert frame["article_id"].to_list() == ["a1"]


def test_pandas(glob: str) -> None:
    folder = glob.partition("scored_articles")[0] + "scored_articles"
    assert sorted(pd.read_parquet(folder)["article_id"]) == ["a0", "a1"]


def test_pyarrow(glob: str) -> None:
    folder = glob.partition("scored_articles")[0] + "scored_articles"
    hive = ds.partitioning(pa.schema([("night", pa.date32())]), flavor="hive")
    table = ds.dataset(folder, partitioning=hive).to_table(columns=["night", "article_id"])
    assert sorted(zip(table["night"].to_pylist(), table["article_id"].to_pylist(), strict=True)) == [
        (NIGHTS[0], "a0"),
        (NIGHTS[1], "a1"),
    ]

"""The analyst's connection: every table a view, the lake within reach and nothing else."""

import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from data_contracts.catalog import CONTRACTS, contract
from data_contracts.daily import DailyEntitySentiment
from tasks.lake import Lake
from tasks.query import View, connect, tables

NIGHT = date(2026, 11, 20)
NEXT = NIGHT + timedelta(days=1)


def daily(night: date) -> pa.Table:
    row = DailyEntitySentiment(
        run_date=night,
        entity="acme",
        display_name="ACME",
        mention_type="ORG",
        articles=1,
        mentions=2,
        negative=0,
        neutral=0,
        positive=1,
        mean_score=0.5,
        negative_share=0.0,
        available_at=datetime(2026, 11, 20, tzinfo=UTC),
        model_digest="d",
    )
    return contract("daily_entity_sentiment").table([row])


@pytest.fixture(params=["local", "memory"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    lake = Lake.open(str(tmp_path / "it's") if request.param == "local" else f"memory://{uuid.uuid4().hex}/lake")
    lake.commit({"daily_entity_sentiment": daily(NIGHT)}, night=NIGHT, run_id="r1")
    return lake


def test_a_published_table_is_a_view_with_its_night_as_a_date(lake: Lake) -> None:
    with connect(lake.root) as connection:
        query = "SELECT night, run_date, entity, available_at FROM daily_entity_sentiment WHERE night = '2026-11-20'"
        (row,) = connection.sql(query).fetchall()
        assert row[:3] == (NIGHT, NIGHT, "acme")
        assert row[3] == datetime(2026, 11, 20, tzinfo=UTC)


def test_a_night_published_later_shows_up_without_connecting_again(lake: Lake) -> None:
    with connect(lake.root) as connection:
        lake.commit({"daily_entity_sentiment": daily(NEXT)}, night=NEXT, run_id="r2")
        nights = connection.sql("SELECT night FROM daily_entity_sentiment ORDER BY 1").fetchall()
        assert nights == [(NIGHT,), (NEXT,)]


def test_tables_lists_every_view_with_its_rows(lake: Lake) -> None:
    lake.commit({"alerts": contract("alerts").empty()}, night=NIGHT, run_id="r2")
    with connect(lake.root) as connection:
        views = tables(connection)
    assert [view.name for view in views] == sorted(CONTRACTS)
    assert [view for view in views if view.rows] == [View(name="daily_entity_sentiment", rows=1, nights=1)]


def test_an_unpublished_table_is_an_empty_view_with_the_contracts_columns(lake: Lake) -> None:
    lake.commit({"alerts": contract("alerts").empty()}, night=NIGHT, run_id="r2")
    with connect(lake.root) as connection:
        for name, wanted in CONTRACTS.items():
            found = connection.sql(f"SELECT * FROM {name} LIMIT 0")
            assert found.columns == [*wanted.schema.names, "night"]
            assert str(found.types[-1]) == "DATE"
        entities = connection.sql("SELECT unnest(entities).mention_text FROM scored_articles").fetchall()
        assert entities == []


def test_a_column_that_older_nights_lack_is_null_there(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    lake.commit({"ticks": pa.table({"a": [1]})}, night=NIGHT, run_id="r1")
    lake.commit({"ticks": pa.table({"a": [2], "b": ["new"]})}, night=NEXT, run_id="r2")
    with connect(str(tmp_path)) as connection:
        assert connection.sql("SELECT a, b FROM ticks ORDER BY a").fetchall() == [(1, None), (2, "new")]


def test_a_lake_that_does_not_exist_yet_is_all_empty_views(tmp_path: Path) -> None:
    with connect(str(tmp_path / "none")) as connection:
        assert {view.rows for view in tables(connection)} == {0}
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_text('/etc/hostname')",
        "COPY (SELECT 1) TO '/tmp/stolen.parquet'",
        "ATTACH '/tmp/other.db'",
        "SELECT * FROM 'https://example.com/x.parquet'",
        "SELECT * FROM read_text('{root}/_commits/*')",
        "SELECT * FROM read_text('{root}/alerts/../_commits/*')",
        "COPY (SELECT 1) TO '{root}/_state/x.parquet'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
    ],
)
def test_nothing_outside_the_published_tables_is_reachable(tmp_path: Path, statement: str) -> None:
    Lake.open(str(tmp_path)).commit({"daily_entity_sentiment": daily(NIGHT)}, night=NIGHT, run_id="r1")
    with connect(str(tmp_path)) as connection, pytest.raises(duckdb.Error, match=r"disabled|locked|Cannot"):
        connection.execute(statement.format(root=tmp_path)).fetchall()


def test_harmless_settings_stay_open(tmp_path: Path) -> None:
    with connect(str(tmp_path)) as connection:
        connection.execute("SET threads = 1")


def test_a_view_cannot_be_written_and_an_overwritten_file_is_repaired(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path))
    (partition,) = lake.commit({"daily_entity_sentiment": daily(NIGHT)}, night=NIGHT, run_id="r1")
    with connect(str(tmp_path)) as connection:
        with pytest.raises(duckdb.Error):
            connection.execute("DELETE FROM daily_entity_sentiment").fetchall()
        connection.execute(f"COPY (SELECT 1 AS x) TO '{partition.path}' (FORMAT parquet)").fetchall()
    assert lake.read("daily_entity_sentiment").equals(daily(NIGHT))
    assert lake.repair() == [partition]
    assert connect(str(tmp_path)).sql("SELECT entity FROM daily_entity_sentiment").fetchall() == [("acme",)]

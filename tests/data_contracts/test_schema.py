"""Tables are built from row classes, cast to their contract, and refused where they are not what it says."""

from datetime import UTC, date, datetime, timedelta, timezone

import polars as pl
import pyarrow as pa
import pytest
from pydantic import ValidationError

from data_contracts.catalog import CONTRACTS, UnknownTable, contract
from data_contracts.quarantine import QuarantineRow
from data_contracts.raw import CONTRACT as RAW
from data_contracts.raw import RawRow
from data_contracts.schema import Contract, SchemaMismatch
from data_contracts.scores import CONTRACT as SCORES
from tests.rows import entity, scored_article

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def raw_row(**given: object) -> RawRow:
    fields: dict[str, object] = {
        "row_id": "r",
        "run_date": date(2026, 1, 2),
        "source": "wire",
        "origin": "feed.xml",
        "position": 0,
        "first_seen_at": NOW,
    }
    return RawRow(**(fields | given))  # type: ignore[arg-type]


@pytest.mark.parametrize("table", CONTRACTS.values(), ids=lambda c: c.name)
def test_every_empty_table_has_the_schema_and_survives_polars(table: Contract) -> None:
    assert table.empty().schema == table.schema
    assert table.conform(pl.DataFrame(pl.from_arrow(table.empty()))).schema == table.schema


@pytest.mark.parametrize("table", CONTRACTS.values(), ids=lambda c: c.name)
def test_every_time_is_utc_with_microseconds(table: Contract) -> None:
    for field in table.schema:
        assert not pa.types.is_timestamp(field.type) or field.type == pa.timestamp("us", tz="UTC")


def test_rows_come_back_as_they_went_in_whatever_the_column_order() -> None:
    table = SCORES.table([scored_article(NOW, entities=[entity(ner_score=0.5)])])
    frame = pl.DataFrame(pl.from_arrow(table))
    assert SCORES.conform(frame.select(sorted(frame.columns))).equals(table)
    assert table.to_pylist()[0]["entities"][0]["mention_text"] == "Acme"


def test_times_of_another_zone_become_utc() -> None:
    india = timezone(timedelta(hours=5, minutes=30))
    table = RAW.table([raw_row(published_at=datetime(2026, 1, 2, 5, 30, tzinfo=india))])
    assert table.column("published_at")[0].as_py() == datetime(2026, 1, 2, tzinfo=UTC)


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValidationError, match="timezone"):
        raw_row(published_at=datetime(2026, 1, 2))
    table = RAW.table([raw_row()])
    place = table.schema.get_field_index("first_seen_at")
    naive = table.set_column(place, "first_seen_at", table.column("first_seen_at").cast(pa.timestamp("us")))
    with pytest.raises(SchemaMismatch, match=r"raw\.first_seen_at.*no time zone"):
        RAW.conform(naive)


def test_a_misspelt_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        raw_row(titel="x")


def test_dicts_and_rows_of_another_table_are_refused() -> None:
    with pytest.raises(SchemaMismatch, match="row 0 is a dict; allowed is RawRow"):
        RAW.table([{"row_id": "r"}])  # type: ignore[list-item]
    other = QuarantineRow(
        quarantine_id="q",
        run_date=date(2026, 1, 2),
        stage="raw",
        row_id="r",
        reason="x",
        detail="x",
        row="x",
        quarantined_at=NOW,
    )
    with pytest.raises(SchemaMismatch, match="row 1 is a QuarantineRow"):
        RAW.table([raw_row(), other])


def test_missing_and_extra_columns_are_named() -> None:
    table = RAW.table([raw_row()])
    with pytest.raises(SchemaMismatch, match=r"missing columns \['title'\], extra columns \['headline'\]"):
        RAW.conform(table.rename_columns({"title": "headline"}))


def test_nulls_where_none_may_be_are_counted_by_column() -> None:
    table = RAW.table([raw_row(), raw_row()])
    holed = table.set_column(2, "source", pa.array(["wire", None]))
    with pytest.raises(SchemaMismatch, match=r"\{'source': 1\}"):
        RAW.conform(holed)


def test_a_value_beyond_its_type_is_refused() -> None:
    table = SCORES.table([scored_article(NOW, entities=[entity(ner_score=0.5)])])
    place = table.schema.get_field_index("version")
    with pytest.raises(SchemaMismatch, match=r"scored_articles\.version.*given int64"):
        SCORES.conform(table.set_column(place, "version", pa.array([2**40])))


def test_a_lone_surrogate_is_refused_with_its_column() -> None:
    with pytest.raises(SchemaMismatch, match=r"raw\.title.*surrogate"):
        RAW.table([raw_row(title="half \ud83d")])


def test_an_unknown_table_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownTable, match=r"'artikel'; allowed are raw, articles"):
        contract("artikel")

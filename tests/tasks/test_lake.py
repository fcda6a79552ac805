"""The lake in a directory: commits, what readers see of them, and what is refused."""

import json
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.catalog import contract
from data_contracts.errors import Fatal
from data_contracts.schema import SchemaMismatch
from tasks.lake import BadName, Lake, Partition, SchemaChanged
from tasks.lake.local import LocalStore
from tests.rows import files_below, ticks

NIGHT = date(2026, 11, 20)
NEXT = NIGHT + timedelta(days=1)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(str(tmp_path / "lake"))


def test_opening_a_lake_writes_nothing(tmp_path: Path) -> None:
    lake = Lake.open(str(tmp_path / "lake"))
    assert lake.repair() == []
    assert lake.nights("raw") == []
    assert not (tmp_path / "lake").exists()


def test_a_commit_is_one_record_one_object_and_one_published_file_a_table(lake: Lake) -> None:
    partitions = lake.commit({"ticks": ticks(1, 2), "tocks": ticks(3)}, night=NIGHT, run_id="r1")
    path = Path(lake.root, "ticks/night=2026-11-20/part-0.parquet")
    assert partitions[0] == Partition(table="ticks", night=NIGHT, path=str(path), rows=2)
    assert path.samefile(lake.files("ticks")[0])
    assert files_below(lake, "ticks") | files_below(lake, "tocks") == {
        "ticks/night=2026-11-20/part-0.parquet",
        "tocks/night=2026-11-20/part-0.parquet",
    }
    (record,) = files_below(lake, "_commits")
    stored = json.loads(Path(lake.root, record).read_text())
    assert [entry["table"] for entry in stored["tables"]] == ["ticks", "tocks"]
    assert {"path", "rows", "sha256", "fingerprint"} <= stored["tables"][0].keys()
    assert files_below(lake, "_tmp") == set()


def test_kept_tables_are_read_through_the_log_and_published_by_a_later_commit(lake: Lake) -> None:
    (kept,) = lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1", publish=False)
    assert "_objects" in kept.path
    assert not Path(lake.root, "ticks").exists()
    assert lake.read("ticks").equals(ticks(1))
    assert not lake.published(NIGHT)
    lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    assert lake.published(NIGHT)
    assert pq.read_table(Path(lake.root, "ticks/night=2026-11-20/part-0.parquet"), partitioning=None).equals(ticks(1))
    assert len(files_below(lake, "_objects")) == 1, "the same bytes are stored once"


def test_one_run_may_keep_and_then_publish_different_rows(lake: Lake) -> None:
    lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1", publish=False)
    lake.commit({"ticks": ticks(1, 2)}, night=NIGHT, run_id="r1")
    assert lake.read("ticks").equals(ticks(1, 2))
    assert len(files_below(lake, "_objects")) == 2


def test_keeping_a_newer_version_leaves_the_published_one_in_place(lake: Lake) -> None:
    lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    lake.commit({"ticks": ticks(2)}, night=NIGHT, run_id="r2", publish=False)
    assert lake.read("ticks").equals(ticks(2))
    assert lake.repair() == []
    assert pq.read_table(Path(lake.root, "ticks/night=2026-11-20/part-0.parquet"), partitioning=None).equals(ticks(1))


def test_published_nights_are_those_that_readers_find(lake: Lake) -> None:
    assert lake.published_nights() == []
    for night, publish in ((NEXT, True), (NIGHT, True), (NEXT + timedelta(days=1), False), (NIGHT, False)):
        lake.commit({"ticks": ticks(1)}, night=night, run_id="r1", publish=publish)
    assert lake.published_nights() == [NIGHT, NEXT]


def test_rewriting_a_night_leaves_other_nights_alone(lake: Lake) -> None:
    lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    lake.commit({"ticks": ticks(2)}, night=NEXT, run_id="r2")
    lake.commit({"ticks": ticks(9)}, night=NIGHT, run_id="r3")
    assert lake.nights("ticks") == [NIGHT, NEXT]
    assert lake.read("ticks")["value"].to_pylist() == [9, 2]
    assert lake.read("ticks", nights=[NEXT], columns=["value"]).to_pydict() == {"value": [2]}
    assert lake.files("ticks", nights=[]) == []


def test_the_past_is_read_as_it_was_known(tmp_path: Path) -> None:
    now = NOON
    lake = Lake.open(str(tmp_path), clock=lambda: now)
    lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    now = NOON + timedelta(hours=1)
    lake.commit({"ticks": ticks(2)}, night=NIGHT, run_id="r2")
    assert lake.files("ticks", as_of=NOON - timedelta(seconds=1)) == []
    assert lake.read("ticks", as_of=NOON).equals(ticks(1))
    assert lake.read("ticks", as_of=NOON + timedelta(minutes=59)).equals(ticks(1))
    assert lake.read("ticks", as_of=now).equals(ticks(2))
    with pytest.raises(Fatal, match="time zone"):
        lake.files("ticks", as_of=datetime(2026, 11, 20))


def test_commits_keep_their_order_when_the_clock_goes_back(tmp_path: Path) -> None:
    now = NOON
    lake = Lake.open(str(tmp_path), clock=lambda: now)
    lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r2")
    now = NOON - timedelta(hours=3)
    lake.commit({"ticks": ticks(2)}, night=NIGHT, run_id="r1")
    assert lake.read("ticks").equals(ticks(2))
    assert Lake.open(str(tmp_path)).read("ticks").equals(ticks(2))


def test_a_record_of_the_log_is_read_once_a_process(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    read, asked = LocalStore.read_many, []

    def noting(store: LocalStore, relatives: list[str]) -> dict[str, bytes]:
        asked.extend(relatives)
        return read(store, relatives)

    monkeypatch.setattr(LocalStore, "read_many", noting)
    for night in (NIGHT, NEXT):
        lake.commit({"ticks": ticks(1)}, night=night, run_id="r1")
        assert night in Lake.open(lake.root).nights("ticks")
        assert Lake.open(lake.root).nights("ticks") == lake.nights("ticks")
    assert sorted(asked) == sorted(files_below(lake, "_commits"))


def test_a_lake_made_again_in_the_same_place_shows_nothing_of_the_old_one(tmp_path: Path) -> None:
    """Even where its records have the same names, as clocks that stand still give them."""
    for value in (1, 2):
        lake = Lake.open(str(tmp_path / "lake"), clock=lambda: NOON)
        lake.commit({"ticks": ticks(value)}, night=NIGHT, run_id="r1")
        assert lake.read("ticks").equals(ticks(value))
        shutil.rmtree(lake.root)
        assert lake.nights("ticks") == Lake.open(lake.root).nights("ticks") == []


def test_the_same_rows_give_the_same_bytes_however_they_were_chunked(lake: Lake) -> None:
    lake.commit({"ticks": ticks(1, 2, 3)}, night=NIGHT, run_id="r1")
    before = lake.files("ticks")
    lake.commit({"ticks": pa.concat_tables([ticks(1), ticks(2, 3)])}, night=NIGHT, run_id="r2")
    assert lake.files("ticks") == before


def test_an_empty_table_is_a_file_without_rows(lake: Lake) -> None:
    (partition,) = lake.commit({"alerts": contract("alerts").empty()}, night=NIGHT, run_id="r1")
    assert partition.rows == 0
    assert pq.ParquetFile(partition.path).schema_arrow.equals(contract("alerts").schema)
    assert lake.nights("alerts") == [NIGHT]


def test_a_table_with_a_contract_is_held_to_it_and_read_in_its_schema(lake: Lake) -> None:
    assert lake.read("scored_articles").equals(contract("scored_articles").empty())
    with pytest.raises(SchemaMismatch, match="missing columns"):
        lake.commit({"scored_articles": ticks(1)}, night=NIGHT, run_id="r1")
    assert not Path(lake.root).exists()


def test_only_nullable_columns_may_be_added(lake: Lake) -> None:
    lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id="r1")
    wider = ticks(2).append_column("note", pa.array(["n"]))
    with pytest.raises(SchemaChanged, match="note is new and not nullable"):
        lake.commit(
            {"ticks": ticks(2).append_column(pa.field("note", pa.string(), nullable=False), [["n"]])},
            night=NEXT,
            run_id="r2",
        )
    with pytest.raises(SchemaChanged, match="value was 'value int64', now 'value double'"):
        lake.commit({"ticks": ticks(2).set_column(1, "value", pa.array([2.0]))}, night=NEXT, run_id="r2")
    assert lake.nights("ticks") == [NIGHT]
    lake.commit({"ticks": wider}, night=NEXT, run_id="r2")
    assert lake.read("ticks", columns=["note", "value"]).to_pydict() == {"note": [None, "n"], "value": [1, 2]}
    with pytest.raises(SchemaChanged, match="note is gone"):
        lake.commit({"ticks": ticks(3)}, night=NEXT, run_id="r3")


def test_nulls_where_none_may_be_are_refused(lake: Lake) -> None:
    table = pa.Table.from_arrays([pa.array([1, None])], schema=pa.schema([pa.field("x", pa.int64(), nullable=False)]))
    with pytest.raises(Fatal, match="1 of 2 values are null"):
        lake.commit({"ticks": table}, night=NIGHT, run_id="r1")


def test_files_carry_the_measured_settings(lake: Lake) -> None:
    rows = 130_000
    table = pa.table(
        {"article_id": [f"{n:08x}" for n in range(rows)], "t": pa.array([NOON] * rows, pa.timestamp("us", "UTC"))}
    )
    lake.commit({"ticks": table}, night=NIGHT, run_id="r1")
    footer = pq.ParquetFile(lake.files("ticks")[0])
    group = footer.metadata.row_group(0)
    assert [footer.metadata.row_group(n).num_rows for n in range(footer.num_row_groups)] == [122_880, 7_120]
    assert group.column(0).compression == "ZSTD"
    assert group.column(0).bloom_filter_offset is not None
    assert footer.schema_arrow.field("t").type == pa.timestamp("us", "UTC")


@pytest.mark.parametrize("name", ["", "Ticks", "_commits", "a/b", "..", "1st"])
def test_odd_table_names_are_refused(lake: Lake, name: str) -> None:
    with pytest.raises(BadName, match="not allowed"):
        lake.commit({name: ticks(1)}, night=NIGHT, run_id="r1")


@pytest.mark.parametrize("run_id", ["", "../x", "a b", "-x"])
def test_odd_run_names_are_refused(lake: Lake, run_id: str) -> None:
    with pytest.raises(BadName, match="not allowed"):
        lake.commit({"ticks": ticks(1)}, night=NIGHT, run_id=run_id)


@pytest.mark.parametrize("path", ["ticks/x.json", "x.json", "_commits/x.json", "_reports/../x", "/etc/x", "_reports/"])
def test_free_files_stay_out_of_the_tables_and_the_log(lake: Lake, path: str) -> None:
    with pytest.raises(BadName, match="not allowed"):
        lake.write_file(path, b"x")


def test_free_files_and_states_are_read_back(lake: Lake) -> None:
    path = lake.write_file("_reports/2026-11-20/report.html", b"<p>")
    assert Path(path).read_bytes() == b"<p>" == lake.read_file("_reports/2026-11-20/report.html")
    assert lake.read_state("source/köln 1") is None
    lake.write_state("source/köln 1", "one")
    lake.write_state("source/köln 1", "two")
    lake.write_state("..", "dots")
    assert lake.read_state("source/köln 1") == "two"
    assert lake.read_state("..") == "dots"
    with pytest.raises(Fatal, match="no file"):
        lake.read_file("_reports/none.html")


def test_the_stage_holds_tables_of_one_night_out_of_readers_sight(lake: Lake) -> None:
    stage = lake.stage(NIGHT)
    assert stage.names() == []
    stage.write("articles", ticks(1))
    stage.write("shards/0001", ticks(2))
    (staged,) = [stage.write("shards/0002", ticks(3, 4))]
    assert (staged.table, staged.rows, staged.path) == ("shards/0002", 2, stage.path("shards/0002"))
    assert stage.read("shards/0002").equals(ticks(3, 4))
    assert stage.exists("articles")
    assert not lake.stage(NEXT).exists("articles")
    with pytest.raises(Fatal, match=r"nothing is staged as 'scores'.*articles, shards/0001"):
        stage.read("scores")
    stage.clear(keep=["shards"])
    assert stage.names() == ["shards/0001", "shards/0002"]
    stage.clear()
    assert stage.names() == []
    assert lake.nights("articles") == []

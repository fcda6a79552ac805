"""A whole night as a person runs it, its lake on an object store: the same tables as in a directory, for every reader, and no key is told."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.dataset
import pytest
import s3fs
from polars.testing import assert_frame_equal
from pyarrow.fs import S3FileSystem

from tasks.lake import Lake
from tests.flows.conftest import Desk, settled
from tests.flows.test_night import TABLES, clockless
from tests.object_store import ObjectStore, serving_s3
from tests.tasks.conftest import ner_examples, news, sentiment_examples, tiny_bundle, tiny_trunk

__all__ = ["ner_examples", "news", "sentiment_examples", "tiny_bundle", "tiny_trunk"]  # fixtures

pytestmark = pytest.mark.slow

NIGHT = "2026-03-02"
SECRET = "sentinel-of-the-object-store"
LAKE = "s3://desk/lake"


@dataclass(frozen=True, kw_only=True)
class Night:
    """One night run twice: into a directory, and into the store with Ray for the scores."""

    desk: Desk
    store: ObjectStore
    said: str

    def local(self, table: str) -> pl.DataFrame:
        """The table in the directory."""
        path = self.desk.lake / table / f"night={NIGHT}" / "part-0.parquet"
        return clockless(pl.read_parquet(path, hive_partitioning=False))


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, tiny_bundle: Path, news: object) -> Iterator[Night]:
    folder = tmp_path_factory.mktemp("s3-night")
    desk = Desk(home=folder / "home", lake=folder / "lake", guard_log=folder / "outbound.log")
    rows = [
        {"title": title, "body": body, "url": f"https://news.example/{key}", "published": f"{NIGHT}T12:00:00Z"}
        for key, title, body in news(60)  # type: ignore[operator]
    ]
    (folder / "feed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = folder / "desk.toml"
    settings.write_text(
        f'[[sources]]\nname = "feed"\nkind = "json"\nlocation = "{folder}/feed.jsonl"\n'
        f'[[sources]]\nname = "gone"\nkind = "json"\nlocation = "{folder}/gone.jsonl"\n'
        f'[scoring]\nmodel = "{tiny_bundle}"\n[alerting.sinks.jsonl]\npath = "_alerts/alerts.jsonl"\n'
    )
    arguments = ("run", "--night", NIGHT, "--settings", str(settings))
    done = desk.call(*arguments)
    assert done.returncode == 0, done.stderr[-4000:]
    with serving_s3(secret=SECRET) as store:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in store.environment.items():
                patch.setenv(name, value)
            s3fs.S3FileSystem.clear_instance_cache()
            s3fs.S3FileSystem().mkdir("desk")
            on_ray = {"NIGHTDESK_CLUSTER__MIN_ROWS": "1", "NIGHTDESK_CLUSTER__ROWS_PER_SHARD": "20"}
            done = desk.call(*arguments, **store.environment, **on_ray, NIGHTDESK_LAKE=LAKE)
            assert done.returncode == 0, done.stderr[-4000:]
            yield Night(desk=desk, store=store, said=done.stdout + done.stderr)
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize("table", TABLES)
def test_the_tables_are_those_of_a_lake_in_a_directory(night: Night, table: str) -> None:
    with s3fs.S3FileSystem().open(f"{LAKE}/{table}/night={NIGHT}/part-0.parquet") as file:
        stored = clockless(pl.read_parquet(file, hive_partitioning=False))
    expected = night.local(table)
    if table == "source_counts":
        assert stored.height == expected.height == 2
    assert_frame_equal(stored, expected, abs_tol=1e-5)  # how many threads sum a float decides its last digits


def test_the_scores_were_computed_on_ray_workers_that_found_the_store_by_their_environment(night: Night) -> None:
    assert "(ray)" in night.said


def test_readers_of_all_kinds_see_the_same_rows_by_a_plain_glob(night: Night) -> None:
    expected = sorted(night.local("scored_articles")["article_id"])
    glob = f"{LAKE}/scored_articles/*/*.parquet"
    with duckdb.connect() as connection:
        connection.register_filesystem(s3fs.S3FileSystem())
        found = connection.sql(f"SELECT article_id FROM read_parquet('{glob}')").fetchall()
    assert sorted(row[0] for row in found) == expected
    options = {
        "aws_endpoint_url": night.store.url, "aws_allow_http": "true", "aws_region": "us-east-1",
        "aws_access_key_id": "testing-key", "aws_secret_access_key": SECRET,
    }  # fmt: skip
    by_polars = pl.scan_parquet(glob, storage_options=options, hive_partitioning=False).collect()
    assert sorted(by_polars["article_id"]) == expected
    filesystem = S3FileSystem(endpoint_override=night.store.url, access_key="testing-key", secret_key=SECRET)
    by_pyarrow = pyarrow.dataset.dataset(
        "desk/lake/scored_articles", filesystem=filesystem, partitioning="hive"
    ).to_table()
    assert sorted(by_pyarrow.column("article_id").to_pylist()) == expected
    assert Lake.open(LAKE).read("scored_articles").num_rows == len(expected)


def test_report_and_alerts_lie_in_the_store(night: Night) -> None:
    lake = Lake.open(LAKE)
    assert b"<html" in lake.read_file(f"_reports/{NIGHT}/report.html")
    (alert,) = [json.loads(line) for line in lake.read_file("_alerts/alerts.jsonl").splitlines()]
    assert alert["subject"] == "gone"


def test_nothing_of_the_run_is_left_behind(night: Night) -> None:
    lake = Lake.open(LAKE)
    below = s3fs.S3FileSystem().find(LAKE)
    assert not [path for path in below if "/_staging/" in path or "/_locks/" in path or "/_tmp/" in path]
    assert lake.repair() == []


def test_no_key_is_told(night: Night) -> None:
    """Not in a log, a report, a table, a parameter or an artifact: neither in the store nor in the home, Prefect's database included."""
    assert SECRET not in night.said
    filesystem = s3fs.S3FileSystem()
    for path in filesystem.find(LAKE):
        assert SECRET.encode() not in filesystem.cat_file(path), path
    files = settled(night.desk.home)
    assert any(path.suffix == ".db" for path in files)
    for path in files:
        assert SECRET.encode() not in path.read_bytes(), path


def test_nothing_called_home(night: Night) -> None:
    log = night.desk.guard_log
    assert not log.exists(), log.read_text()[:4000]

"""A range of nights: one that fails does not stop the others, and the next call redoes it and looks again at what comes after."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from tasks.lake import Lake
from tests.flows.conftest import NIGHTS, Desk
from tests.flows.test_night import tables

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_a_failed_night_does_not_stop_the_others_and_once_it_is_redone_all_are_as_if_it_had_not_failed(
    desk: Desk, tmp_path: Path
) -> None:
    lake = tmp_path / "lake"
    arguments = ("backfill", "--first", NIGHTS[0], "--last", NIGHTS[1])
    with Lake.open(str(lake)).lock(dt.date.fromisoformat(NIGHTS[0]), run_id="another"):
        done = desk.call(*arguments, lake=lake)
    assert done.returncode == 1
    assert "NightLocked" in done.stderr
    assert not Lake.open(str(lake)).published(dt.date.fromisoformat(NIGHTS[0]))
    again = desk.call(*arguments, lake=lake)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "skipped" in again.stderr
    assert Lake.open(str(lake)).published(dt.date.fromisoformat(NIGHTS[0]))
    undisturbed = tmp_path / "undisturbed"
    assert desk.call(*arguments, lake=undisturbed).returncode == 0
    for night in NIGHTS:
        expected = tables(undisturbed, night)
        for name, frame in tables(lake, night).items():
            assert frame.equals(expected[name]), f"{name} of {night}"


def test_a_backfilled_night_holds_what_was_published_within_it(desk: Desk, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    done = desk.call("backfill", "--first", NIGHTS[0], "--last", NIGHTS[0], lake=lake)
    assert done.returncode == 0, done.stderr[-3000:]
    articles = pl.read_parquet(lake / "articles" / f"night={NIGHTS[0]}" / "part-0.parquet", hive_partitioning=False)
    start = dt.datetime(2026, 3, 2, 3, tzinfo=dt.UTC)
    assert articles["published_at"].is_between(start, start + dt.timedelta(days=1), closed="left").all()
    assert (articles["first_seen_at"] > dt.datetime(2026, 10, 1, tzinfo=dt.UTC)).all(), "the true time of ingestion"


def test_a_night_whose_sources_all_failed_fails_and_is_not_taken_for_done(desk: Desk, tmp_path: Path) -> None:
    lake = tmp_path / "lake"
    for _ in range(2):
        done = desk.call("backfill", "--first", "2026-03-04", "--last", "2026-03-04", lake=lake)
        assert done.returncode == 1
        assert "every source failed" in " ".join(done.stderr.split())
    alerts = pl.read_parquet(lake / "alerts" / "night=2026-03-04" / "part-0.parquet", hive_partitioning=False)
    assert set(alerts["monitor"]) >= {"source_failed"}

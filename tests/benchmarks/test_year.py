"""The parts of the year's benchmark that need no year: what is filled, and when two lakes count as the same."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from benchmarks import year
from benchmarks.figure import Missing

NIGHT = dt.date(2020, 3, 2)


def lake(folder: Path, rows: int = 2, seen: str = "2020-03-03T04:00:00Z") -> Path:
    (folder / "quarantine" / f"night={NIGHT}").mkdir(parents=True)
    (folder / "_commits").mkdir()
    text = [f'{{"title": "{row}", "first_seen_at": "{seen}"}}' for row in range(rows)]
    frame = pl.DataFrame({"row": text, "detail": [""] * rows, "quarantined_at": [seen] * rows})
    frame.write_parquet(folder / "quarantine" / f"night={NIGHT}" / "part-0.parquet")
    return folder


def test_months_hold_each_night_once() -> None:
    first = year.LAST - dt.timedelta(days=year.NIGHTS - 1)
    nights = [night for span in year.months(first, year.LAST) for night in year.days(*span)]
    assert nights == list(year.days(first, year.LAST))
    assert len(nights) == year.NIGHTS


def test_two_lakes_are_the_same_whatever_the_runs_watches_said_and_not_when_a_row_differs(tmp_path: Path) -> None:
    one = lake(tmp_path / "one")
    assert year.same(one, lake(tmp_path / "later", seen="2020-09-09T09:00:00Z"), NIGHT)
    assert not year.same(one, lake(tmp_path / "more", rows=3), NIGHT)


def test_without_the_public_data_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="--data DIR"):
        year.measure(home=tmp_path)

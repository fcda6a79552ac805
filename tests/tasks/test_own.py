"""Files that are a night's own, read by publication time: nothing that only they have is lost, and no order of nights shows."""

import itertools
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks import fetch
from tasks.ingest import Ingested
from tasks.sources import SourceConfig
from tests.loopback import Answer, Site
from tests.tasks.test_ingest import FIELDS, NIGHT, Desk, site, titles, window

__all__ = ["site"]  # a fixture

NIGHTS = [NIGHT + timedelta(days=number) for number in range(3)]


def put(desk: Desk, night: date, *lines: str) -> None:
    (desk.files / f"wire.{night}.csv").write_text("date,headline\n" + "\n".join(lines), encoding="utf-8")


def fill(desk: Desk, night: date, **more: Any) -> Ingested:
    place = str(desk.files / "wire.{night}.csv")

    def on(night: date) -> SourceConfig:
        return SourceConfig(
            name="wire", kind="csv", location=place.replace("{night}", str(night)), fields=FIELDS, **more
        )

    def of(moment: datetime) -> SourceConfig:
        return on(next(day for day in (moment.date(), moment.date() + timedelta(days=1)) if moment in window(day)))

    return desk.run(on(night), night=night, backfill=True, beside=True, own={"wire": of})


def test_a_row_published_after_the_cut_off_is_of_the_night_whose_file_alone_has_it(desk: Desk) -> None:
    put(desk, NIGHT, f"{NIGHT} 12:00,In time", f"{NIGHT} 23:00,After the cut-off", "soon,Undated", "2031-01-01,A slip")
    put(desk, NIGHTS[1], f"{NIGHTS[1]} 12:00,Another")
    for night in (NIGHTS[1], NIGHT):
        fill(desk, night)
    assert titles(desk.raw()) == ["In time", "After the cut-off", "Undated", "A slip"]
    assert titles(desk.raw(NIGHTS[1])) == ["Another"]


@pytest.mark.parametrize("order", list(itertools.permutations(NIGHTS)), ids=str)
def test_files_that_overlap_give_each_row_to_the_night_of_its_publication_in_any_order(
    desk: Desk, order: tuple[date, ...]
) -> None:
    rows = [f"{night} 12:00,Story {number}" for number, night in enumerate(NIGHTS)]
    for number, night in enumerate(NIGHTS):
        put(desk, night, *rows[: number + 2])  # all before, and the next night's first
    for night in order:
        fill(desk, night)
    assert [titles(desk.raw(night)) for night in NIGHTS] == [["Story 0"], ["Story 1"], ["Story 2"]]
    fill(desk, NIGHT)
    assert [titles(desk.raw(night)) for night in NIGHTS] == [["Story 0"], ["Story 1"], ["Story 2"]]


def test_a_file_that_is_not_there_yet_claims_nothing(desk: Desk) -> None:
    put(desk, NIGHT, f"{NIGHT} 23:00,Tomorrow's")
    fill(desk, NIGHT)
    assert titles(desk.raw()) == ["Tomorrow's"]


def test_a_source_without_a_usable_time_has_failed_and_says_what_to_mend(desk: Desk) -> None:
    desk.run(desk.csv("05.03.26 at noon,One", "soon,Two"), backfill=True, beside=True)
    assert desk.raw() == []
    counts = desk.counts()["wire"]
    assert counts["failed"]
    assert "none of the first 2 rows has a usable time" in counts["error"]
    assert "`time_formats`" in counts["error"]


def test_a_row_without_a_time_goes_with_the_row_before_it_also_in_another_document(desk: Desk, tmp_path: Path) -> None:
    for number, line in enumerate(("soon,First", "2026-03-05 23:00,Dated", "later,Third", "2026-03-07,Not tonight's")):
        desk.csv(line, name=f"part{number}")
    source = replace(desk.csv(name="unused"), location=str(desk.files / "part*.csv"))
    (desk.files / "unused.csv").unlink()
    desk.run(source, backfill=True, beside=True)
    assert titles(desk.raw()) == ["First", "Dated", "Third"]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_corrected_zone_takes_no_row_out_of_the_file_that_alone_has_it(desk: Desk) -> None:
    put(desk, NIGHT, f"{NIGHT} 21:00,Evening")
    fill(desk, NIGHT)
    fill(desk, NIGHT, timezone="America/New_York")
    (row,) = desk.raw()
    assert row["published_at"] >= window(NIGHT).end
    before = desk.raw()
    assert fill(desk, NIGHT, timezone="America/New_York").rows_corrected == 0
    assert desk.raw() == before


def test_a_file_of_another_night_that_cannot_be_had_now_fails_the_source(desk: Desk, site: Site) -> None:
    site.pages["/today"] = Answer(body=f"date,headline\n{NIGHT} 23:00,Whose\n".encode())
    site.pages["/tomorrow"] = Answer(status=503)
    source = desk.feed(site)
    today = replace(source, name="wire", kind="csv", fields=FIELDS, location=f"{site.url}/today")
    own = {"wire": lambda _: replace(today, location=f"{site.url}/tomorrow")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetch, "_wait", lambda _: 0)
        desk.run(today, backfill=True, beside=True, own=own)
    assert desk.raw() == []
    assert "nobody knows which rows are this night's" in desk.counts()["wire"]["error"]
    site.pages["/tomorrow"] = Answer(status=404)
    desk.run(today, backfill=True, beside=True, own=own)
    assert titles(desk.raw()) == ["Whose"]

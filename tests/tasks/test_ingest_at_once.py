"""Nights that are read at the same time: a row goes to one of them."""

from collections.abc import Iterator
from threading import Barrier, Thread
from typing import Any

import pytest

from tasks import reading
from tests.tasks.test_ingest import NIGHT, Desk, titles

BEFORE = NIGHT.replace(day=1)


@pytest.fixture
def desk(tmp_path) -> Desk:
    return Desk(tmp_path)


def test_a_row_that_two_nights_read_at_once_is_one_night_s_and_counted_by_the_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, both_have_read, real = desk.csv(f"{BEFORE} 12:00,Story"), Barrier(2, timeout=60), reading.reader

    def reader(kind: str) -> Any:
        def read(*given: Any) -> Iterator[Any]:
            yield from real(kind)(*given)
            both_have_read.wait()  # so neither can have committed before

        return read

    monkeypatch.setattr(reading, "reader", reader)
    live = Thread(target=desk.run, args=(source,))
    backfill = Thread(target=desk.run, args=(source,), kwargs={"night": BEFORE, "backfill": True, "beside": True})
    for thread in (live, backfill):
        thread.start()
    for thread in (live, backfill):
        thread.join(120)
    assert sorted([*titles(desk.raw()), *titles(desk.raw(BEFORE))]) == ["Story"]
    counts = [desk.counts(night)["wire"] for night in (NIGHT, BEFORE)]
    assert sorted((one["rows_new"], one["rows_outside"]) for one in counts) == [(0, 1), (1, 0)]
    assert [one["rows_read"] for one in counts] == [1, 1]

"""What a night is, also where clocks change."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.errors import Fatal
from flows.nights import NotBegun, cutoff_at, last_ended, night_of, refuse_not_begun, span, window_of

NEW_YORK = ZoneInfo("America/New_York")
CUTOFF = dt.time(22, 0)


def test_a_night_ends_at_its_cutoff_and_begins_at_the_one_before() -> None:
    window = window_of(dt.date(2026, 3, 3), NEW_YORK, CUTOFF)
    assert window.start == dt.datetime(2026, 3, 3, 3, 0, tzinfo=dt.UTC)
    assert window.end == dt.datetime(2026, 3, 4, 3, 0, tzinfo=dt.UTC)


def test_nights_are_23_and_25_hours_long_where_clocks_change() -> None:
    spring = window_of(dt.date(2026, 3, 8), NEW_YORK, CUTOFF)
    autumn = window_of(dt.date(2026, 11, 1), NEW_YORK, CUTOFF)
    assert (spring.end - spring.start, autumn.end - autumn.start) == (dt.timedelta(hours=23), dt.timedelta(hours=25))


@given(
    st.datetimes(min_value=dt.datetime(2020, 1, 1), max_value=dt.datetime(2030, 1, 1), timezones=st.just(dt.UTC)),
    st.sampled_from(["America/New_York", "Europe/London", "Asia/Tokyo", "Australia/Lord_Howe", "UTC"]),
    st.times(),
)
def test_every_moment_belongs_to_exactly_one_night(moment: dt.datetime, zone: str, cutoff: dt.time) -> None:
    cutoff = cutoff.replace(microsecond=0, tzinfo=None)
    night = last_ended(moment, ZoneInfo(zone), cutoff)
    assert (
        cutoff_at(night, ZoneInfo(zone), cutoff)
        <= moment
        < cutoff_at(night + dt.timedelta(days=1), ZoneInfo(zone), cutoff)
    )


def test_the_last_night_is_the_one_whose_cutoff_has_passed() -> None:
    just_before = dt.datetime(2026, 3, 4, 2, 59, tzinfo=dt.UTC)
    assert last_ended(just_before, NEW_YORK, CUTOFF) == dt.date(2026, 3, 2)
    assert last_ended(just_before + dt.timedelta(minutes=1), NEW_YORK, CUTOFF) == dt.date(2026, 3, 3)


def test_a_range_that_ends_before_it_begins_is_refused() -> None:
    assert span(dt.date(2026, 3, 2), dt.date(2026, 3, 3)) == [dt.date(2026, 3, 2), dt.date(2026, 3, 3)]
    with pytest.raises(Fatal, match="must not lie before"):
        span(dt.date(2026, 3, 3), dt.date(2026, 3, 2))


def test_a_night_may_be_run_once_it_has_begun_and_not_before() -> None:
    now = dt.datetime(2026, 3, 4, 3, 0, tzinfo=dt.UTC)  # 22:00 of the third in New York
    assert night_of(now, NEW_YORK, CUTOFF) == dt.date(2026, 3, 4)
    refuse_not_begun(dt.date(2026, 3, 4), now, NEW_YORK, CUTOFF)
    with pytest.raises(NotBegun, match=r"2026-03-05, which begins 2026-03-05 03:00 UTC; allowed is 2026-03-04"):
        refuse_not_begun(dt.date(2026, 3, 5), now, NEW_YORK, CUTOFF)

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.when import When, when


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2023-01-05T23:00:33Z", at(2023, 1, 5, 23, 0, 33)),
        ("2023-01-05 23:00:33+02:00", at(2023, 1, 5, 21, 0, 33)),
        ("2023-01-05T23:00:33.123456-0500", at(2023, 1, 6, 4, 0, 33, 123456)),
        ("2023-01-05T23:00:33,5Z", at(2023, 1, 5, 23, 0, 33, 500000)),
        ("2023-01-05T23:00:33.123456789Z", at(2023, 1, 5, 23, 0, 33, 123456)),
        ("20230105T230033Z", at(2023, 1, 5, 23, 0, 33)),
        ("2023-01-05 23:00 UTC", at(2023, 1, 5, 23)),
        ("2023-01-05 23:00 EST", at(2023, 1, 6, 4)),
        ("Thu, 05 Jan 2023 10:00:00 GMT", at(2023, 1, 5, 10)),
        ("Thu, 5 Jan 23 10:00 EDT", at(2023, 1, 5, 14)),
        ("05 Jan 2023 10:00:00 +0100 (CET)", at(2023, 1, 5, 9)),
        ("Thursday, 05-Jan-23 10:00:00 GMT", at(2023, 1, 5, 10)),
        ("1672959633", at(2023, 1, 5, 23, 0, 33)),
        ("1672959633.5", at(2023, 1, 5, 23, 0, 33, 500000)),
        ("1672959633250", at(2023, 1, 5, 23, 0, 33, 250000)),
        ("1672959633000001", at(2023, 1, 5, 23, 0, 33, 1)),
        (" 2023-01-05\n", at(2023, 1, 5)),
        ("20230105", at(2023, 1, 5)),
    ],
)
def test_a_stated_time_becomes_utc(text: str, expected: datetime) -> None:
    assert when(text) == When(at=expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2023-01-05 23:00:33", at(2023, 1, 6, 4, 0, 33)),
        ("2023-07-05 23:00:33", at(2023, 7, 6, 3, 0, 33)),
        ("Thu, 05 Jan 2023 10:00:00", at(2023, 1, 5, 15)),
        ("2023-01-05", at(2023, 1, 5, 5)),
        ("5 Jan 2023", at(2023, 1, 5, 5)),
    ],
)
def test_a_time_without_zone_takes_the_declared_one(text: str, expected: datetime) -> None:
    assert when(text, zone="America/New_York").at == expected


def test_of_an_hour_that_comes_twice_the_first_is_taken() -> None:
    assert when("2026-11-01 01:30", zone="America/New_York").at == at(2026, 11, 1, 5, 30)


def test_an_hour_that_never_was_is_read_with_the_offset_before_the_change() -> None:
    assert when("2026-03-08 02:30", zone="America/New_York").at == at(2026, 3, 8, 7, 30)


@pytest.mark.parametrize(
    "text",
    [None, "", "  ", "now", "today", "yesterday", "2 hours ago", "10:30", "10:30:00", "Thu", "Jan 2023", "2023", "2023-01", "01/02/2023", "5 January",
     "2023-02-30", "2023-13-01", "2023-01-05 25:00", "2023-01-05 10", "31 Feb 2023 10:00", "05 Foo 2023", "2023-01-05T10:00:00 XYZ", "12345", "0",
     "000000000", "9" * 19, "-1672959633", "0001-01-01T00:00:00Z", "9999-12-31", "1970-01-01", "nan", "null", "2023-W01-4", "٢٠٢٣-٠١-٠٥",
     "2023-01-05T10:00:00+99:00", "date"],
)  # fmt: skip
def test_a_missing_or_impossible_time_is_none_with_a_reason(text: str | None) -> None:
    found = when(text)
    assert found.at is None
    assert found.reason


def test_the_reason_says_what_was_given_and_what_is_allowed() -> None:
    assert (
        when("01/02/2023").reason
        == "given '01/02/2023': allowed is ISO 8601, RFC 822, an epoch, a date; other forms need `time_formats`"
    )
    assert when("2023-02-30").reason == "given '2023-02-30': no such moment (day is out of range for month)"


def test_the_sources_own_formats_come_first() -> None:
    assert when("01/02/2023", formats=("%d/%m/%Y",)).at == at(2023, 2, 1)
    assert when("January 5, 2023 10:00 PM", zone="Asia/Tokyo", formats=("%d.%m.%Y", "%B %d, %Y %I:%M %p")).at == at(
        2023, 1, 5, 13
    )
    assert when("2023-01-05", formats=("%d/%m/%Y",)).at == at(2023, 1, 5)


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2199, 1, 1), timezones=st.timezones()))
def test_every_iso_time_with_an_offset_is_the_same_moment(moment: datetime) -> None:
    offset = moment.utcoffset()
    assert offset is not None
    if offset.total_seconds() % 60 == 0:
        assert when(moment.isoformat()).at == moment.astimezone(UTC)


@given(st.text())
def test_no_text_makes_it_fail_or_answer_with_a_time_close_to_now(text: str) -> None:
    found = when(text, zone="Europe/Berlin")
    assert (found.at is None) != (found.reason is None)
    assert found.at is None or abs((found.at - datetime.now(UTC)).total_seconds()) > 1

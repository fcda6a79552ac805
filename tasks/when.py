"""Times as they are delivered -> UTC, or a reason why not.

News arrives with times in every dress, and a parser that fills what is missing with today's date turns an undated story into tonight's.
So only forms that state a whole date are read: the source's own strptime formats first, then ISO 8601, RFC 822 (feeds), epoch seconds,
milliseconds, microseconds or nanoseconds, and a date alone. Everything else is None with a reason, which the contract turns into a
quarantined row; "now" is never an answer.

Rules:
- a time with an offset or a known zone name keeps it; a time without takes the source's declared zone;
- a zone name that is not in `ZONE_HOURS` is refused, for guessing one moves a story by hours;
- a date alone is midnight at the start of that day in the declared zone;
- where the clocks go back, the first of the two moments is taken; where they go forward, a local time that never was is read with the
  offset before the change (PEP 495, fold=0), so 02:30 becomes what the new clock calls 03:30;
- a year outside 1900 to 2199 is impossible: such times are another system's "none" (0001-01-01, 9999-12-31) and break readers that
  count nanoseconds. So is the epoch itself, 0.

Not covered: month names in other languages, relative times ("2 hours ago"), and orders that only a person can tell apart (01/02/2023):
give a strptime format.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo

YEARS = range(1900, 2200)
SHOWN_CHARACTERS = 60
MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTHS = {name: number for number, name in enumerate(MONTH_NAMES, start=1)}
ZONE_HOURS = {
    "z": 0, "ut": 0, "utc": 0, "gmt": 0, "est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7,
    "wet": 0, "west": 1, "cet": 1, "cest": 2, "eet": 2, "eest": 3, "jst": 9,
}  # fmt: skip
EPOCH_UNITS = {9: 1, 10: 1, 12: 1e3, 13: 1e3, 15: 1e6, 16: 1e6, 18: 1e9, 19: 1e9}  # digits -> units in a second
EPOCH = re.compile(r"(\d{9,19})(\.\d{1,9})?", re.ASCII)
ISO = re.compile(
    r"(\d{4}-\d{2}-\d{2}|\d{8})(?:[T ]\s?(\d{2}(?::?\d{2}){1,2}(?:[.,]\d{1,9})?)\s?([A-Za-z]{1,4}|[+-]\d{2}(?::?\d{2})?)?)?",
    re.ASCII,
)
RFC822 = re.compile(
    r"(?:[A-Za-z]{3,9},?\s+)?(\d{1,2})[\s-]+([A-Za-z]{3})[a-z]*\.?[\s-]+(\d{4}|\d{2})"
    r"(?:,?\s+(\d{1,2}):(\d{2})(?::(\d{2}))?\s*([A-Za-z]{1,4}|[+-]\d{2}:?\d{2})?(?:\s*\([^)]*\))?)?",
    re.ASCII,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class When:
    """A moment in UTC, or the reason why there is none; exactly one of the two is set."""

    at: datetime | None = None
    reason: str | None = None


class _UnusableError(ValueError):
    """Carries the reason out of the attempt; never leaves this module."""


def when(text: str | None, *, zone: str = "UTC", formats: tuple[str, ...] = ()) -> When:
    """Read a delivered time.

    Args:
        text: as delivered.
        zone: IANA name of the zone of times that carry none.
        formats: strptime formats, tried first, in order.
    """
    cleaned = " ".join((text or "").split())
    if not cleaned:
        return When(reason="no time was delivered")
    return _when(cleaned, zone, formats)


@lru_cache(maxsize=8192)  # a headline file repeats each date some forty times
def _when(text: str, zone: str, formats: tuple[str, ...]) -> When:
    try:
        moment = _moment(text, formats)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=ZoneInfo(zone))
        utc = moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        reason = str(error) if isinstance(error, _UnusableError) else f"no such moment ({error})"
        return When(reason=f"given {text[:SHOWN_CHARACTERS]!r}: {reason}")
    if utc.year not in YEARS or utc == datetime.fromtimestamp(0, UTC):
        return When(
            reason=f"given {text[:SHOWN_CHARACTERS]!r}: outside the years {YEARS.start} to {YEARS.stop - 1}, or the epoch itself"
        )
    return When(at=utc)


def _moment(text: str, formats: tuple[str, ...]) -> datetime:
    for time_format in formats:
        try:
            return datetime.strptime(text, time_format)  # noqa: DTZ007 - the zone is given by the caller
        except ValueError:
            continue
    if found := ISO.fullmatch(text):
        return _iso(*found.groups())
    if found := RFC822.fullmatch(text):
        return _rfc822(*found.groups())
    if found := EPOCH.fullmatch(text):
        return _epoch(found[1], found[2] or "")
    wanted = " or ".join([*map(repr, formats), "ISO 8601, RFC 822, an epoch, a date"])
    raise _UnusableError(f"allowed is {wanted}; other forms need `time_formats`")


def _iso(day: str, clock: str | None, zone: str | None) -> datetime:
    moment = datetime.fromisoformat(f"{day}T{clock.replace(',', '.')}" if clock else day)
    return moment.replace(tzinfo=_offset(zone)) if zone else moment


def _rfc822(
    day: str, month: str, year: str, hour: str | None, minute: str | None, second: str | None, zone: str | None
) -> datetime:
    if month.lower() not in MONTHS:
        raise _UnusableError(f"{month!r} is no month; allowed are {', '.join(MONTHS)}")
    full_year = int(year) + (0 if len(year) == 4 else 2000 if int(year) < 70 else 1900)
    moment = datetime(full_year, MONTHS[month.lower()], int(day), int(hour or 0), int(minute or 0), int(second or 0))  # noqa: DTZ001
    return moment.replace(tzinfo=_offset(zone)) if zone else moment


def _epoch(digits: str, fraction: str) -> datetime:
    if len(digits) not in EPOCH_UNITS:
        raise _UnusableError(f"{len(digits)} digits are no epoch; allowed are {sorted(EPOCH_UNITS)}")
    units = EPOCH_UNITS[len(digits)]
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=(int(digits) + float(fraction or 0)) / units)


def _offset(zone: str) -> timezone:
    if zone[0] in "+-":
        sign = -1 if zone[0] == "-" else 1
        return timezone(sign * timedelta(hours=int(zone[1:3]), minutes=int(zone[3:].lstrip(":") or 0)))
    if zone.lower() not in ZONE_HOURS:
        raise _UnusableError(
            f"zone {zone!r} is not known; allowed are an offset such as +01:00 and {', '.join(sorted(ZONE_HOURS))}"
        )
    return timezone(timedelta(hours=ZONE_HOURS[zone.lower()]))

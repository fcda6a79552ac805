"""What a night is: date D names the span of time that ends at D's cut-off and began at the cut-off of the day before.

The cut-off is a local time in the settings' zone, so that a night is 23 or 25 hours long where clocks change; a cut-off that falls into
the missing hour of spring is read with the offset before the change. Pure arithmetic: the clock is an argument.
"""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from data_contracts.errors import Fatal
from tasks.ingest import Window

ONE_DAY = dt.timedelta(days=1)


def cutoff_at(night: dt.date, zone: ZoneInfo, cutoff: dt.time) -> dt.datetime:
    """The moment, in UTC, at which `night` ends."""
    return dt.datetime.combine(night, cutoff, tzinfo=zone).astimezone(dt.UTC)


def window_of(night: dt.date, zone: ZoneInfo, cutoff: dt.time) -> Window:
    """The span of time that `night` holds, start inclusive, end exclusive, in UTC."""
    return Window(start=cutoff_at(night - ONE_DAY, zone, cutoff), end=cutoff_at(night, zone, cutoff))


def last_ended(moment: dt.datetime, zone: ZoneInfo, cutoff: dt.time) -> dt.date:
    """The latest night whose cut-off has passed at `moment` (aware)."""
    day = moment.astimezone(zone).date() + ONE_DAY
    while cutoff_at(day, zone, cutoff) > moment:
        day -= ONE_DAY
    return day


def span(first: dt.date, last: dt.date) -> list[dt.date]:
    """Every night from `first` to `last`, both included, the earliest first.

    Raises:
        Fatal: `last` lies before `first`.
    """
    if last < first:
        raise Fatal(f"given the nights {first} to {last}; the last must not lie before the first")
    return [first + ONE_DAY * i for i in range((last - first).days + 1)]

"""What a night is: date D names the span of time that ends at D's cut-off and began at the cut-off of the day before.

The cut-off is a local time in the settings' zone, so that a night is 23 or 25 hours long where clocks change. One that falls into the missing
hour of spring is read with the offset after the change, an hour earlier, because that is how Prefect reads a schedule that falls there; one in
the doubled hour of autumn is the first of the two. So a schedule at or soon after the cut-off gives each night one run, with one exception: where
the schedule falls into the missing hour and the cut-off does not, that run comes before its night has ended, and the next one makes up for it.

Pure arithmetic: the clock is an argument.
"""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from data_contracts.errors import Fatal
from tasks.ingest import Window

ONE_DAY = dt.timedelta(days=1)


class NotBegun(Fatal):
    """A night is asked for that has not begun."""


def cutoff_at(night: dt.date, zone: ZoneInfo, cutoff: dt.time) -> dt.datetime:
    """The moment, in UTC, at which `night` ends."""
    there = dt.datetime.combine(night, cutoff.replace(fold=0), tzinfo=zone)
    moment = there.astimezone(dt.UTC)
    missing = moment.astimezone(zone).time() != cutoff
    return there.replace(fold=1).astimezone(dt.UTC) if missing else moment


def window_of(night: dt.date, zone: ZoneInfo, cutoff: dt.time) -> Window:
    """The span of time that `night` holds, start inclusive, end exclusive, in UTC."""
    return Window(start=cutoff_at(night - ONE_DAY, zone, cutoff), end=cutoff_at(night, zone, cutoff))


def last_ended(moment: dt.datetime, zone: ZoneInfo, cutoff: dt.time) -> dt.date:
    """The latest night whose cut-off has passed at `moment` (aware)."""
    day = moment.astimezone(zone).date() + ONE_DAY
    while cutoff_at(day, zone, cutoff) > moment:
        day -= ONE_DAY
    return day


def night_of(moment: dt.datetime, zone: ZoneInfo, cutoff: dt.time) -> dt.date:
    """The night in which `moment` (aware) lies."""
    return last_ended(moment, zone, cutoff) + ONE_DAY


def refuse_not_begun(night: dt.date, now: dt.datetime, zone: ZoneInfo, cutoff: dt.time) -> None:
    """Raise NotBegun where `night` begins after `now`: what is read now would be its news for ever."""
    if night > (latest := night_of(now, zone, cutoff)):
        begins = cutoff_at(night - ONE_DAY, zone, cutoff)
        raise NotBegun(
            f"given the night {night}, which begins {begins:%Y-%m-%d %H:%M} UTC; allowed is {latest} at the latest, "
            f"the night in which this machine's clock is ({now:%Y-%m-%d %H:%M} UTC)"
        )


def earlier(night: dt.date, *, first: dt.date, at_most: int) -> list[dt.date]:
    """The nights before `night`, the earliest first: at most so many, and none before `first`."""
    start = max(first, night - ONE_DAY * at_most)
    return span(start, night - ONE_DAY) if start < night else []


def span(first: dt.date, last: dt.date) -> list[dt.date]:
    """Every night from `first` to `last`, both included, the earliest first.

    Raises:
        Fatal: `last` lies before `first`.
    """
    if last < first:
        raise Fatal(f"given the nights {first} to {last}; the last must not lie before the first")
    return [first + ONE_DAY * i for i in range((last - first).days + 1)]

"""Which nights a backfill fills, and which published ones it looks at again, the earliest first.

What a night says rests on the nights before it: repeats, versions, stories, baselines. So a night that is published already and comes after
one that is filled in now is judged again, in its turn, until so many in a row came out as they were that none further on can see the
difference. That makes the order in which nights are filled in not matter. Which nights changed is remembered in the lake until all that
come after them were looked at, so that a backfill that was killed in between, or in which one of them failed, is made good by the next one.

A nightly run that is late keeps its night so too (`remember`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from tasks.lake import Lake
from tasks.lake.waiting import waited_for

STATE = "backfill-unsettled"
STATE_LOCK = dt.date.min.replace(day=3)  # no night of news


def remember(lake: Lake, nights: Collection[dt.date]) -> set[dt.date]:
    """Keep that these may change while later nights are published, to be called before they do; returns those that were not kept yet."""
    last = max(lake.published_nights(), default=dt.date.min)
    affected = {night for night in nights if night < last} - _kept(lake)
    if affected:
        _change(lake, lambda kept: kept | affected)
    return affected


def forget(lake: Lake, nights: Collection[dt.date]) -> None:
    """They came out as they were, or what comes after them was judged again."""
    if nights:
        _change(lake, lambda kept: kept.difference(nights))


def _kept(lake: Lake) -> set[dt.date]:
    return {dt.date.fromisoformat(night) for night in (lake.read_state(STATE) or "").split()}


def _change(lake: Lake, change: Callable[[set[dt.date]], set[dt.date]]) -> None:
    with waited_for(lake, STATE_LOCK, run_id=STATE):  # a late night and a backfill may do so at once
        lake.write_state(STATE, " ".join(sorted(night.isoformat() for night in change(_kept(lake)))))


@dataclass(frozen=True, kw_only=True)
class Todo:
    """A night: to be filled, or (`again`) published and looked at again; `cut_short`: it was published, and then its run was killed."""

    night: dt.date
    again: bool = False
    cut_short: bool = False


class Plan:
    """The nights of a range that are to be filled, and those from the first of them on that are published."""

    def __init__(self, lake: Lake, nights: Sequence[dt.date], *, pending: Collection[dt.date], reach: int) -> None:
        """`reach` is how many nights back a night may look."""
        self._lake, self._reach = lake, reach
        self._range = frozenset(nights)
        self._filled = frozenset(pending)
        self._pending = set(pending)  # not handed out yet
        self._at_work: set[dt.date] = set()
        self._unsettled = _kept(lake)
        self._still: int | None = None  # nights in a row that came out as they were; None before any has changed
        self._followed = True
        starts = {*pending, *self._unsettled, *(night for night in nights if self._cut_short(night))}
        self._last = min(starts) - dt.timedelta(days=1) if starts else dt.date.max

    @property
    def left(self) -> int:
        """Nights that are still to be filled."""
        return len(self._pending | (self._at_work & self._filled))

    def next(self, count: int) -> list[Todo]:
        """The next nights in their order, `count` at most; none where nothing is left, or what is left waits for `told`."""
        found: list[Todo] = []
        for night in sorted(self._pending.union(self._lake.nights("raw"))):
            if len(found) == count:
                break
            if night <= self._last:
                continue
            self._last = night
            fresh, cut_short = night in self._pending, self._cut_short(night)
            if fresh or cut_short or night in self._unsettled:
                self._pending.discard(night)
                self._at_work.add(night)
            elif not self._at_work and (self._still is None or self._still >= self._reach):
                continue
            found.append(Todo(night=night, again=not fresh, cut_short=cut_short and not fresh))
        return found

    def _cut_short(self, night: dt.date) -> bool:
        return night in self._range and bool(self._lake.stage(night).names())

    def told(self, night: dt.date, *, changed: bool | None) -> None:
        """Whether a night's tables changed, None of one that was not published now; to be called in the order of the nights."""
        before = night in self._at_work and night not in self._filled  # by a run that was killed
        self._at_work.discard(night)
        if changed is None and night in self._lake.published_nights():
            self._followed = False
        if changed or before:
            self._still = 0
        elif self._still is not None and changed is not None:
            self._still += 1

    def unsettle(self, nights: Collection[dt.date]) -> None:
        """Remember that these may change, where published nights come after them; called before they do."""
        self._unsettled |= remember(self._lake, nights)

    def settle(self) -> None:
        """Nothing is left: forget the changes, unless a published night that may have to follow them failed."""
        if self._unsettled and self._followed:
            forget(self._lake, self._unsettled)
            self._unsettled = set()

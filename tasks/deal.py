"""The rows of a source with the time that decides whose night they are in a backfill, and one reading of it dealt to several nights.

A row without a usable time goes with the dated row before it in its source, at its head with the first one after: so it is some night's, and
always the same one, whatever order the nights are filled in. Rows that are the same go together. A source without any usable time, or with
`MOST_WAITING` rows before the first, is given up: most likely its `time_formats` are wrong.

A range of nights over one file would read the whole file for each of them. `deal` reads it once for several nights and holds their rows; what
a night is given is what it would have read, and the counts of the rest. Not covered: live nights, which take what no other night has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from data_contracts.errors import Skippable
from tasks.context import go_on
from tasks.fetch import Fetcher, Limits
from tasks.hosts import redacted
from tasks.sources import Delivered, Item, SourceConfig, reader
from tasks.step import step
from tasks.terms import Window
from tasks.when import when

MOST_WAITING = 10_000


class NoUsableTime(Skippable):
    """The rows of a source cannot be told apart by their times."""

    def __init__(self, config: SourceConfig, rows: Sequence[Delivered]) -> None:
        first = next((row for row in rows if row.parse_error is None), rows[0])
        why = when(first.published_text, zone=config.timezone, formats=config.time_formats).reason
        super().__init__(
            f"{redacted(first.origin)}: none of the first {len(rows)} rows has a usable time, which says whose night a row is in a backfill; "
            f"row {first.position}: {why}; mend `fields` or `time_formats` of the source {config.name}"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed:
    """Something delivered, its time of publication, and the time that decides whose it is; rows alone have either."""

    item: Item
    published_at: datetime | None = None
    placed_at: datetime | None = None


def placed(config: SourceConfig, items: Iterable[Item], *, beside: bool) -> Iterator[Placed]:
    """`items` in their order; with `beside`, rows without a time are placed with their neighbours.

    Raises:
        NoUsableTime: with `beside`, no row has a time, or too many before the first have none.
    """
    last: datetime | None = None
    waiting: list[Delivered] = []
    firsts: dict[tuple[str | None, ...], datetime] = {}

    def go(with_time: datetime) -> Iterator[Placed]:
        for row in waiting:
            same = (row.url, row.title, row.body, row.published_text, row.parse_error and row.payload)
            yield Placed(item=row, placed_at=firsts.setdefault(same, with_time))
        waiting.clear()

    for item in items:
        go_on()
        if not isinstance(item, Delivered):
            yield Placed(item=item)
            continue
        at = when(item.published_text, zone=config.timezone, formats=config.time_formats).at
        if at is None and beside:
            waiting.append(item)
            if last is not None:
                yield from go(last)
            elif len(waiting) == MOST_WAITING:
                raise NoUsableTime(config, waiting)
            continue
        if at is not None:
            yield from go(at)
            last = at
        yield Placed(item=item, published_at=at, placed_at=at)
    if waiting:
        raise NoUsableTime(config, waiting)


class Hand:
    """What one reading of a source gave each of some nights."""

    def __init__(self, windows: Mapping[date, Window]) -> None:
        self._windows = windows
        self._nights: dict[date, list[Placed]] = {night: [] for night in windows}
        self._all: list[Placed] = []
        self.rows: Counter[str] = Counter()  # of every document, by its origin
        self.latest_published_at: datetime | None = None
        self._error: Exception | None = None

    def fill(self, given: Iterator[Placed]) -> None:
        """Read to the end; what is raised is kept for each night."""
        try:
            for one in given:
                self._put(one)
        except Exception as error:
            self._error = error

    def of(self, night: date) -> Iterator[Placed]:
        """What the night would have read, without the rows of other nights; ends in the error that the reading ended in."""
        yield from self._all
        yield from self._nights[night]
        if self._error is not None:
            raise self._error

    def _put(self, one: Placed) -> None:
        if not isinstance(one.item, Delivered):
            self._all.append(one)
            return
        self.rows[one.item.origin] += 1
        if one.published_at is not None:
            self.latest_published_at = max(one.published_at, self.latest_published_at or one.published_at)
        if one.placed_at is None:
            self._all.append(one)
            return
        for night, window in self._windows.items():
            if one.placed_at in window:
                self._nights[night].append(one)


class Dealt:
    """The hands of several sources, by name; a source that is not there is read by each night itself."""

    def __init__(self, hands: Mapping[str, Hand]) -> None:
        self._hands = dict(hands)

    @property
    def said(self) -> str:
        """The counts in a line."""
        return ", ".join(f"{sum(hand.rows.values())} rows of {name}" for name, hand in self._hands.items())

    def get(self, source: str) -> Hand | None:
        """The source's, if it was read for several nights."""
        return self._hands.get(source)


@step("read sources")
def deal(sources: Iterable[SourceConfig], windows: Mapping[date, Window]) -> Dealt:
    """Read each source once for the nights of `windows`."""
    hands, last_asked = {}, dict[str, float]()
    for config in sources:
        fetcher = Fetcher(limits_of(config, config.max_bytes), last_asked=last_asked)
        hand = hands[config.name] = Hand(windows)
        try:
            hand.fill(placed(config, reader(config.kind)(config, fetcher), beside=True))
        finally:
            fetcher.close()
    return Dealt(hands)


def limits_of(config: SourceConfig, max_bytes: int) -> Limits:
    """What one download of the source may cost."""
    return Limits(
        timeout_seconds=config.timeout_seconds,
        max_bytes=max_bytes,
        delay_seconds=config.delay_seconds,
        allow_private=config.allow_private,
    )

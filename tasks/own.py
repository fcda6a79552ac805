"""Files that are a night's own: a source whose place names the night (`drops/{night}.csv`), read by publication time.

What such a file delivers is its night's, also a row that was published after the cut-off, since no other night's file may have it. Only where
the file of the night in which a row was published holds the row too, as files that overlap do, it is that night's. So it does not matter in
which order the nights are read. A row without a usable time is the file's night's.

Not covered: a row that two files have and that of its own night has not; it goes to whichever of the two nights is read first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime

from tasks.deal import Placed, limits_of, placed
from tasks.fetch import Fetcher
from tasks.intake import row_id
from tasks.sources import Delivered, Item, SourceConfig, SourceFailed, Unreadable, reader
from tasks.terms import Window

OfMoment = Callable[[datetime], SourceConfig]


@dataclass(frozen=True, kw_only=True)
class OwnFiles:
    """One source's file of one night; `of` gives the source as it is on the night in which a moment lies."""

    config: SourceConfig
    window: Window
    of: OfMoment
    last_asked: dict[str, float]
    _held: dict[str, frozenset[str]] = field(default_factory=dict)

    def placed(self, items: Iterable[Item]) -> Iterator[Placed]:
        """`items` in their order, those placed within the window that are the night's.

        Raises:
            SourceFailed: whose a row is cannot be known, since another night's file cannot be had at the moment.
        """
        for one in placed(self.config, items, beside=False):
            if isinstance(one.item, Delivered) and self._ours(one.item, one.published_at):
                yield replace(one, placed_at=self.window.start)
            else:
                yield one

    def _ours(self, row: Delivered, published_at: datetime | None) -> bool:
        if published_at is None or published_at in self.window:
            return True
        return row_id(self.config.name, row) not in self._ids_of(self.of(published_at))

    def _ids_of(self, other: SourceConfig) -> frozenset[str]:
        """The ids of the rows in another night's file; none where there is no such file, or none that can be read."""
        if other.location not in self._held:
            self._held[other.location] = frozenset(self._read(other))
        return self._held[other.location]

    def _read(self, other: SourceConfig) -> Iterator[str]:
        with closing(Fetcher(limits_of(other, other.max_bytes), last_asked=self.last_asked)) as fetcher:
            for item in reader(other.kind)(other, fetcher):
                if isinstance(item, Delivered):
                    yield row_id(other.name, item)
                elif isinstance(item, Unreadable) and item.busy:
                    raise SourceFailed(
                        f"{item.error}; without it nobody knows which rows are this night's: run it again"
                    )

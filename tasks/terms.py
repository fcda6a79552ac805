"""What makes a delivered row tonight's, by its time: the window of a backfill, the end of a published night.

Not covered: rows that another night has (`tasks/watermark.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True, kw_only=True)
class Window:
    """A span of time in UTC: start <= t < end."""

    start: datetime
    end: datetime

    def __contains__(self, moment: datetime) -> bool:
        """Whether the moment lies in it."""
        return self.start <= moment < self.end


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What makes a row tonight's; `now` becomes `first_seen_at`; with `closed_at`, live, new rows must be published before it."""

    night: date
    window: Window | None
    take_undated: bool
    now: datetime
    keep_raw: bool
    closed_at: datetime | None = None
    beside: bool = False

    def take_in(self, published_at: datetime | None) -> bool:
        """Whether the time of a new row leaves it to tonight; in a backfill, with `beside`, that of the dated row beside it will do."""
        if self.window is not None:
            return self.take_undated if published_at is None else published_at in self.window
        return self.closed_at is None or (published_at is not None and published_at < self.closed_at)

    def send_away(self, before: datetime | None, corrected: datetime | None) -> bool:
        """Whether a row of tonight leaves it when its time is corrected."""
        if self.window is None or corrected is None or corrected < self.window.end:
            return False
        return before is None or before < self.window.end

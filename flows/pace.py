"""How far a range of nights is: a progress page on the run's page, and log records that a command line draws a bar from.

How long the rest takes is an estimate and said to be one: the nights left times the median time of a night so far, where the time of a
night is that of the group it was run in, divided by the group's nights. Nights that bring more news than those so far take longer.
"""

from __future__ import annotations

import datetime as dt
import logging
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args
from uuid import UUID

from prefect import get_client
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.client.schemas.actions import ArtifactUpdate

logger = logging.getLogger(__name__)

SHOWN = 50  # failed nights on the page
KEY = "backfill"

State = Literal["done", "skipped", "refreshed", "failed"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one night; `minutes` with its share of what was done for several at once."""

    night: dt.date
    state: State
    reason: str
    minutes: float


def pace(seconds: Sequence[float], left: int) -> tuple[float, dt.timedelta] | None:
    """Nights a minute, and how long `left` nights may take, from the seconds a night took in each group so far; None without any."""
    if not seconds:
        return None
    usual = max(statistics.median(seconds), 1e-3)
    return 60.0 / usual, dt.timedelta(seconds=round(usual * left))


class Page:
    """The artifacts of one backfill, and its log records."""

    def __init__(self, first: dt.date, last: dt.date, nights: int) -> None:
        self._title, self._nights = f"Nights {first} to {last}", nights
        self._seconds: list[float] = []
        begin = f"# {self._title}\n\nNo night is finished yet."
        self._page = cast(UUID, create_markdown_artifact(begin, key=f"{KEY}-page", description=self._title))
        self._bar = cast(UUID, create_progress_artifact(0.0, key=f"{KEY}-progress", description=self._title))

    def paced(self, seconds: float, nights: int) -> None:
        """A group of so many nights took so long."""
        if nights:
            self._seconds.append(seconds / nights)

    def show(self, told: Mapping[dt.date, Outcome], left: int) -> None:
        """Say how far it is, with `left` nights to fill; a server that is away does not stop the work."""
        outcomes, now = [told[night] for night in sorted(told)], dt.datetime.now(dt.UTC)
        line = self._line(outcomes, left, now)
        done = self._nights - left
        logger.info("%s", line, extra={"done": done, "total": self._nights})
        try:
            update_progress_artifact(self._bar, progress=100.0 * done / max(1, self._nights), description=line)
            with get_client(sync_client=True) as client:
                client.update_artifact(self._page, ArtifactUpdate(data=self.text(outcomes, left, now)))
        except Exception as error:
            logger.debug("the progress is not shown: %s", error)

    def text(self, outcomes: Sequence[Outcome], left: int, now: dt.datetime) -> str:
        """The page in Markdown."""
        counts = Counter(outcome.state for outcome in outcomes)
        titles = get_args(State)
        failed = [outcome for outcome in outcomes if outcome.state == "failed"]
        lines = [
            f"# {self._title}",
            "",
            f"| {' | '.join([*titles, 'left'])} |",
            "| ---: " * (len(titles) + 1) + "|",
            f"| {' | '.join(str(counts[title]) for title in titles)} | {left} |",
            "",
            self._line(outcomes, left, now) + ".",
            "",
            *(["## Failed\n\n| night | reason |\n| --- | --- |"] if failed else []),
            *(f"| {one.night} | {_cell(one.reason)} |" for one in failed[:SHOWN]),
            *([f"\nand {len(failed) - SHOWN} more"] if len(failed) > SHOWN else []),
        ]
        return "\n".join(lines)

    def _line(self, outcomes: Sequence[Outcome], left: int, now: dt.datetime) -> str:
        counts = Counter(outcome.state for outcome in outcomes)
        said = ", ".join(f"{number} {state}" for state, number in sorted(counts.items())) or "nothing done"
        known = pace(self._seconds, left)
        if known is None or not left:
            return f"{said}, {left} left"
        speed, rest = known
        until = f"{now + rest:%Y-%m-%d %H:%M} UTC"
        return (
            f"{said}, {left} left; {speed:.1f} nights a minute; estimated to take {_spoken(rest)} more, until {until}"
        )


def _spoken(time: dt.timedelta) -> str:
    minutes = time.total_seconds() / 60
    return f"{minutes:.0f} minutes" if minutes < 100 else f"{minutes / 60:.1f} hours"


def _cell(text: str) -> str:
    """Text that cannot break a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")

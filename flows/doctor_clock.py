"""The clock, held against the world: what the feeds' and the Prefect server's clocks say, the lake's last commit, the program's own files.

A night is cut by the clock, so one that is wrong puts news into the wrong night without any error. Part of `nightdesk doctor`; it asks
nobody, but looks at the `Date` of the answers that the others got. Not covered: asking a time server, which the system should do all day.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from statistics import median_low

from flows.findings import Finding
from flows.settings import Settings
from tasks.lake import Lake

MAX_SKEW = dt.timedelta(minutes=1)
MAX_AHEAD = dt.timedelta(minutes=5)  # of the lake's last commit: another machine's clock may be ahead by so much
REMEDY = "set the clock, and let the system keep it (timedatectl set-ntp true)"


@dataclass(frozen=True, kw_only=True)
class Witness:
    """What a server's clock said when ours said `ours`, both UTC; a `Date` header counts whole seconds."""

    who: str
    theirs: dt.datetime
    ours: dt.datetime

    @property
    def ahead(self) -> dt.timedelta:
        """By how much our clock is ahead of theirs."""
        return self.ours - self.theirs


def witness(who: str, headers: Mapping[str, str]) -> Iterator[Witness]:
    """The witness in an answer's headers, if there is one; an answer from a cache (`Age`) is none."""
    if "age" in headers or "date" not in headers:
        return
    try:
        theirs = parsedate_to_datetime(headers["date"])
    except (ValueError, OverflowError):
        return
    if theirs.tzinfo is not None:
        yield Witness(who=who, theirs=theirs, ours=dt.datetime.now(dt.UTC))


def examine(settings: Settings, now: dt.datetime, witnesses: list[Witness]) -> Iterator[Finding]:
    """The clock by its witnesses, and the lake's last commit by the clock."""
    yield _clock(now, witnesses)
    try:
        commits = Lake.open(settings.lake).commits()
    except Exception:  # the lake has a finding of its own
        return
    if commits and commits[-1].time > now + MAX_AHEAD:
        found = f"the last commit is of {commits[-1].time:%Y-%m-%d %H:%M:%S} UTC, and now it is {now:%Y-%m-%d %H:%M:%S}"
        remedy = f"{REMEDY}; if the clock was ahead then, new commits follow that time until it has come"
        yield Finding(what="time of the lake", good=False, found=found, remedy=remedy)


def _clock(now: dt.datetime, witnesses: list[Witness]) -> Finding:
    shown = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    made = dt.datetime.fromtimestamp(Path(__file__).stat().st_mtime, dt.UTC)
    if now < made - dt.timedelta(days=1):
        return Finding(what="clock", good=False, found=f"{shown}, before this program was installed", remedy=REMEDY)
    if not witnesses:
        return Finding(what="clock", good=True, found=f"{shown}; nobody was asked who has another clock")
    ahead = median_low([one.ahead for one in witnesses])
    by = f"{abs(ahead.total_seconds()):.0f} s {'ahead' if ahead > dt.timedelta() else 'behind'}"
    if abs(ahead) <= MAX_SKEW:
        return Finding(what="clock", good=True, found=f"{shown}, {by} of {len(witnesses)} answers' clocks")
    who = ", ".join(sorted({one.who for one in witnesses})[:3])
    return Finding(what="clock", good=False, found=f"{shown}, {by} of what {who} say", remedy=REMEDY)

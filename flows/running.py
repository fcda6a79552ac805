"""Run nights at the command line: one after another, or a range over files, with the count of nights and what each gave on standard error."""

from __future__ import annotations

import datetime as dt
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from rich.table import Table

from flows import pace
from flows.artifacts import totals
from flows.backfill import NightsFailed, backfill
from flows.nightly import nightly
from flows.nights import last_ended, span
from flows.operate import logs
from flows.pace import Outcome
from flows.settings import load
from flows.showing import bars, plain, show, tell
from tasks.lake import Lake

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.progress import Progress

By = Literal["first_seen", "published"]


def run_nights(given: Sequence[dt.date], *, settings_file: str | None, lake: str | None, by: By, rescore: bool) -> None:
    """Run these nights, or the last one ended (live, after those missed before it); after each, say what it gave."""
    settings = load(settings_file, lake=lake)
    logs.begin(settings.operate.log_format)
    last = last_ended(dt.datetime.now(dt.UTC), settings.zone, settings.cutoff)
    with bars() as progress:
        bar = progress.add_task("nights", total=len(given), visible=len(given) > 1)
        for number, night in enumerate(given or [last], start=1):
            progress.update(bar, completed=number - 1, description=f"night {night}, {number} of {len(given)}")
            page = nightly(
                night=night if given else None, settings_file=settings_file, lake=lake, by=by, rescore=rescore
            )
            tell(f"night {night}: {totals(Lake.open(settings.lake), night)}")
            tell(f"report: {page}")
            progress.update(bar, completed=number)


def run_range(
    first: dt.date,
    last: dt.date,
    *,
    settings_file: str | None,
    lake: str | None,
    by: By,
    redo: bool,
    rescore: bool,
    nights_at_once: int,
) -> None:
    """Run every night of a range, then show what became of each, also where some failed.

    Raises:
        NightsFailed: some nights failed.
    """
    with bars() as progress, _following(progress, pace.logger, len(span(first, last))):
        try:
            outcomes: Sequence[Outcome] = backfill(
                first=first,
                last=last,
                settings_file=settings_file,
                lake=lake,
                by=by,
                redo=redo,
                rescore=rescore,
                nights_at_once=nights_at_once,
            )
        except NightsFailed as error:
            show_outcomes(error.outcomes)
            raise
    show_outcomes(outcomes)


@contextmanager
def _following(progress: Progress, said: logging.Logger, nights: int) -> Iterator[None]:
    """Move a bar with the records that say how many nights are `done`."""
    bar = progress.add_task(f"{nights} nights", total=nights)

    class Follower(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            progress.update(bar, completed=getattr(record, "done", None), description=record.getMessage())

    follower = Follower()
    said.addHandler(follower)
    try:
        yield
    finally:
        said.removeHandler(follower)


def show_outcomes(outcomes: Sequence[Outcome]) -> None:
    """What became of each night, on standard error."""
    table = Table("night", "state", "minutes", "reason")
    for outcome in outcomes:
        table.add_row(*plain(outcome.night, outcome.state, f"{outcome.minutes:.2f}", outcome.reason))
    show(table, stderr=True)

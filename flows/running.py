"""Run nights at the command line: one after another, or a range over files, with the count of nights and what each gave on standard error."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Literal

from rich.table import Table

from flows.backfill import NightsFailed, Outcome, backfill
from flows.nightly import nightly
from flows.nights import last_ended, span
from flows.settings import load
from flows.showing import bars, plain, show, tell
from tasks.lake import Lake

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prefect.client.schemas.objects import FlowRun

By = Literal["first_seen", "published"]


def run_nights(given: Sequence[dt.date], *, settings_file: str | None, lake: str | None, by: By, rescore: bool) -> None:
    """Run these nights, or the last one ended; after each, say what it gave."""
    settings = load(settings_file, lake=lake)
    nights = list(given) or [last_ended(dt.datetime.now(dt.UTC), settings.zone, settings.cutoff)]
    with bars() as progress:
        bar = progress.add_task("nights", total=len(nights), visible=len(nights) > 1)
        for number, night in enumerate(nights, start=1):
            progress.update(bar, completed=number - 1, description=f"night {night}, {number} of {len(nights)}")
            page = nightly(night=night, settings_file=settings_file, lake=lake, by=by, rescore=rescore)
            tell(f"night {night}: {totals(Lake.open(settings.lake), night)}")
            tell(f"report: {page}")
            progress.update(bar, completed=number)


def totals(lake: Lake, night: dt.date) -> str:
    """What a published night holds, in a line."""
    counts = lake.read("source_counts", nights=[night], columns=["rows_read", "articles", "failed"])
    failed = sum(counts["failed"].to_pylist())
    sources = f"{counts.num_rows} sources" + (f" ({failed} failed)" if failed else "")
    held = {
        name: lake.read(table, nights=[night], columns=["run_date"]).num_rows
        for table, name in (
            ("scored_articles", "scored"),
            ("entity_mentions", "entity mentions"),
            ("quarantine", "quarantined"),
            ("alerts", "alerts"),
        )
    }
    return (
        f"{sum(counts['rows_read'].to_pylist())} rows from {sources}, {sum(counts['articles'].to_pylist())} articles, "
        + ", ".join(f"{number} {name}" for name, number in held.items())
    )


def run_range(
    first: dt.date,
    last: dt.date,
    *,
    settings_file: str | None,
    lake: str | None,
    by: By,
    redo: bool,
    rescore: bool,
) -> None:
    """Run every night of a range, then show what became of each, also where some failed.

    Raises:
        NightsFailed: some nights failed.
    """
    nights = span(first, last)
    with bars() as progress:
        bar = progress.add_task(f"{len(nights)} nights", total=len(nights))

        def began(flow: Any, flow_run: FlowRun, state: Any) -> None:
            number = nights.index(dt.date.fromisoformat(str(flow_run.parameters["night"])[:10])) + 1
            progress.update(
                bar, completed=number - 1, description=f"night {nights[number - 1]}, {number} of {len(nights)}"
            )

        if not progress.disable:
            nightly.on_running(began)
        try:
            outcomes: Sequence[Outcome] = backfill(
                first=first, last=last, settings_file=settings_file, lake=lake, by=by, redo=redo, rescore=rescore
            )
        except NightsFailed as error:
            show_outcomes(error.outcomes)
            raise
    show_outcomes(outcomes)


def show_outcomes(outcomes: Sequence[Outcome]) -> None:
    """What became of each night, on standard error."""
    table = Table("night", "state", "minutes", "reason")
    for outcome in outcomes:
        table.add_row(*plain(outcome.night, outcome.state, f"{outcome.minutes:.2f}", outcome.reason))
    show(table, stderr=True)

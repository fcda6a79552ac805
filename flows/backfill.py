"""Nights in a range over the files that hold them, the earliest first, skipping what is done; a failed night does not stop the others.

Earliest first, because repeats, versions and baselines look only backwards: so a range gives the same tables however often it is
interrupted. Each night is a run of the nightly flow.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact

from data_contracts.errors import Fatal
from flows.nightly import nightly
from flows.nights import span
from flows.settings import load, quiet
from flows.wiring import refuse_unknown_plugins
from tasks.lake import Lake

logger = logging.getLogger(__name__)


class NightsFailed(Fatal):
    """Some nights of a backfill failed; the others are published. `outcomes` has what became of each."""

    def __init__(self, message: str, outcomes: Sequence[Outcome]) -> None:
        super().__init__(message)
        self.outcomes = tuple(outcomes)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one night."""

    night: dt.date
    state: Literal["done", "skipped", "failed"]
    reason: str
    minutes: float


@flow(name="backfill", flow_run_name="backfill {first} to {last}")
def backfill(
    first: dt.date,
    last: dt.date,
    settings_file: str | None = None,
    lake: str | None = None,
    by: Literal["first_seen", "published"] = "published",
    redo: bool = False,
    rescore: bool = False,
) -> list[Outcome]:
    """Run every night from the first to the last over the sources' files.

    Args:
        first: The earliest night of the range. Rows without a usable time are quarantined on the first night that is run.
        last: The latest night of the range.
        settings_file: A TOML settings file on the worker. Empty: NIGHTDESK_SETTINGS, nightdesk.toml, or the shipped sample's.
        lake: Where the tables are, a directory or a URL. Empty: as the settings say.
        by: published: an article belongs to the night in which it was published. first_seen: to the night that reads it first (one file a night).
        redo: Run nights again that are published already.
        rescore: With redo: score again what has a published score.
    """
    quiet()
    settings = load(settings_file, lake=lake)
    desk = Lake.open(settings.lake)
    refuse_unknown_plugins(settings)
    nights = span(first, last)
    pending = [night for night in nights if redo or not complete(desk, night)]
    progress = cast(
        UUID,
        create_progress_artifact(progress=0.0, key="backfill-progress", description=f"nights {first} to {last}"),
    )
    outcomes: list[Outcome] = []
    for done, night in enumerate(nights, start=1):
        began = dt.datetime.now(dt.UTC)
        state: Literal["done", "skipped", "failed"] = "done"
        reason = ""
        if night not in pending:
            state, reason = "skipped", "published already"
        else:
            try:
                nightly(
                    night=night,
                    settings_file=settings_file,
                    lake=settings.lake,
                    by=by,
                    take_undated=night == pending[0],
                    rescore=rescore,
                )
            except Exception as error:
                logger.exception("night %s failed", night)
                state, reason = "failed", f"{type(error).__name__}: {error}"
        minutes = (dt.datetime.now(dt.UTC) - began).total_seconds() / 60
        outcomes.append(Outcome(night=night, state=state, reason=reason, minutes=round(minutes, 2)))
        update_progress_artifact(progress, progress=100.0 * done / len(nights))
    return _conclude(outcomes)


def complete(lake: Lake, night: dt.date) -> bool:
    """True when a night is published and every source that failed has brought it rows all the same (one bad file of many)."""
    if not lake.published(night):
        return False
    counts = lake.read("source_counts", nights=[night], columns=["failed", "rows_new"]).to_pylist()
    return all(count["rows_new"] for count in counts if count["failed"])


def _conclude(outcomes: list[Outcome]) -> list[Outcome]:
    """Show what became of each night; raise when one failed."""
    rows = [{"night": str(o.night), "state": o.state, "minutes": o.minutes, "reason": o.reason} for o in outcomes]
    create_table_artifact(table=rows, key="backfill-nights", description="what became of each night")
    failed = [o for o in outcomes if o.state == "failed"]
    get_run_logger().info(
        "%d nights: %d done, %d skipped, %d failed",
        len(outcomes),
        *(sum(o.state == s for o in outcomes) for s in ("done", "skipped", "failed")),
    )
    if failed:
        raise NightsFailed(
            f"{len(failed)} of {len(outcomes)} nights failed; run the same range again to redo only these: "
            + "; ".join(f"{o.night}: {o.reason}" for o in failed),
            outcomes,
        )
    return outcomes

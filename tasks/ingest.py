"""Ingest: every source's delivered rows of one night into `raw`, and the first part of their counts.

A source that fails is counted as failed, with its error, and the next one is read; what it delivered before is kept. Even a night on
which all fail is a night: empty, with its failures on record; whether that is bad enough to stop is the caller's to say.

A re-run keeps the rows the night has, with their `first_seen_at`, derives them anew where they are delivered again, so that a corrected
setting corrects them (`tasks/kept.py`), and adds those not seen. The rows are committed (kept, not yet
published) before any state is written: see `tasks/watermark.py`.

Not covered: contracts, article identity. The caller holds the night's lock.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.counts import CONTRACT as COUNTS
from data_contracts.counts import SourceCount
from data_contracts.raw import CONTRACT as RAW
from data_contracts.raw import RawRow
from tasks.lake import Lake, Partition
from tasks.reading import Reading, read_source
from tasks.sources import SourceConfig
from tasks.step import step
from tasks.terms import Terms, Window
from tasks.watermark import Elsewhere, state_name

__all__ = ["Ingested", "Window", "ingest"]

log = logging.getLogger(__name__)

SAID_HERE = ("kind", "rows_read", "rows_new", "rows_outside", "failed", "error")
RAW_ORDER = [("source", "ascending"), ("origin", "ascending"), ("position", "ascending"), ("row_id", "ascending")]


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """What a night's ingest left: `raw` kept in the lake, `source_counts` staged, and what this run did.

    Attributes:
        raw: the night's rows.
        counts: the first part of their counts.
        sources: how many sources there are.
        rows_added: rows that the night did not have.
        rows_corrected: rows that it had and that are now read otherwise, or have left it.
        failed: names of the sources of which at least one document could not be read to its end. One bad file of many is enough, and what
            the others delivered is in `raw` all the same.
    """

    raw: Partition
    counts: Partition
    sources: int
    rows_added: int
    rows_corrected: int
    failed: tuple[str, ...]

    @property
    def all_failed(self) -> bool:
        """Whether there are sources and every one failed."""
        return 0 < self.sources == len(self.failed)


@step("ingest")
def ingest(
    lake_url: str,
    sources: Sequence[SourceConfig],
    *,
    night: date,
    window: Window | None,
    take_undated: bool,
    now: datetime,
    keep_raw: bool,
    lookback_nights: int,
    run_id: str,
    ends_at: datetime | None = None,
) -> Ingested:
    """Read all sources into the night's `raw` and stage its `source_counts`.

    Args:
        lake_url: the lake, locked for the night by the caller.
        sources: in the order they are read; names are distinct.
        night: the night to fill.
        window: None: live, what no other night has is tonight's; given: what was published in it.
        take_undated: with a window, whether rows without a usable time are tonight's.
        now: `first_seen_at` of the rows this run adds, UTC.
        keep_raw: keep title and body as delivered, and every payload.
        lookback_nights: how many nights before and after are looked up in any case for rows they already have.
        run_id: names the commit.
        ends_at: the night's end, UTC: once the night is published, a live run takes no new row published then or later.
    """
    lake = Lake.open(lake_url)
    terms = Terms(
        night=night,
        window=window,
        take_undated=take_undated,
        now=now,
        keep_raw=keep_raw,
        closed_at=ends_at if lake.published(night) else None,
    )
    existing = lake.read("raw", nights=[night])
    elsewhere = Elsewhere(lake, night=night, lookback_nights=lookback_nights)
    last_asked: dict[str, float] = {}
    readings = [
        read_source(
            lake, config, terms, kept=_rows_of(existing, config.name), elsewhere=elsewhere, last_asked=last_asked
        )
        for config in sources
    ]
    added = [row for reading in readings for row in reading.intake.rows]
    replaced = {row_id: row for reading in readings for row_id, row in reading.intake.replaced.items()}
    table, partition = _keep(lake, existing, added, replaced, night=night, run_id=run_id)
    for reading in readings:
        lake.write_state(state_name(reading.config.name), reading.state.to_json())
    counts = lake.stage(night).write("source_counts", _counts(lake, readings, table, terms))
    failed = tuple(reading.config.name for reading in readings if reading.failed)
    log.info(
        "night %s: %d rows added to %d, %d corrected, failed sources: %s",
        night,
        len(added),
        len(existing),
        len(replaced),
        ", ".join(failed) or "none",
    )
    return Ingested(
        raw=partition,
        counts=counts,
        sources=len(sources),
        rows_added=len(added),
        rows_corrected=len(replaced),
        failed=failed,
    )


def _rows_of(table: pa.Table, source: str) -> list[RawRow]:
    """A source's rows."""
    return [RawRow(**row) for row in table.filter(pc.equal(table.column("source"), source)).to_pylist()]


def _keep(
    lake: Lake,
    existing: pa.Table,
    added: Sequence[RawRow],
    replaced: Mapping[str, RawRow | None],
    *,
    night: date,
    run_id: str,
) -> tuple[pa.Table, Partition]:
    """Commit the night's rows, in an order that does not depend on when they came; nothing is written when nothing changed."""
    if not added and not replaced and night in lake.nights("raw"):
        return existing, Partition(
            table="raw", night=night, path=lake.files("raw", nights=[night])[0], rows=len(existing)
        )
    stays = existing.filter(pc.invert(pc.is_in(existing.column("row_id"), pa.array(list(replaced), pa.string()))))
    renewed = [row for row in replaced.values() if row is not None]
    table = pa.concat_tables([RAW.conform(stays), RAW.table([*renewed, *added])]).sort_by(RAW_ORDER)
    return table, lake.commit({"raw": table}, night=night, run_id=run_id, publish=False)[0]


def _counts(lake: Lake, readings: Sequence[Reading], table: pa.Table, terms: Terms) -> pa.Table:
    """The first part of the night's counts. A row that says what the published one says keeps its `available_at`."""
    mine = Counter(table.column("source").to_pylist())
    published = {row["source"]: row for row in lake.read("source_counts", nights=[terms.night]).to_pylist()}
    rows = []
    for reading in readings:
        name = reading.config.name
        row = SourceCount(
            run_date=terms.night,
            source=name,
            kind=reading.config.kind,
            rows_read=mine[name] + reading.rows_outside,
            rows_new=mine[name],
            rows_outside=reading.rows_outside,
            rows_quarantined=0,
            rows_repeated=0,
            articles=0,
            failed=reading.failed,
            error=reading.error,
            available_at=terms.now,
        )
        known = published.get(name)
        if known is not None and all(known[part] == getattr(row, part) for part in SAID_HERE):
            row = row.model_copy(update={"available_at": known["available_at"]})
        rows.append(row)
    return COUNTS.table(rows)

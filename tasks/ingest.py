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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from types import MappingProxyType

import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.counts import CONTRACT as COUNTS
from data_contracts.counts import SourceCount
from data_contracts.errors import Retriable
from data_contracts.raw import CONTRACT as RAW
from data_contracts.raw import RawRow
from tasks.context import about, cancelled, go_on
from tasks.deal import Dealt
from tasks.lake import Lake, NightLocked, Partition
from tasks.lake.waiting import PATIENCE, waited_for
from tasks.own import OfMoment, OwnFiles
from tasks.reading import Reading, read_source
from tasks.sources import SourceConfig
from tasks.step import step
from tasks.terms import Terms, Window
from tasks.watermark import Elsewhere, state_name

__all__ = ["Ingested", "Window", "ingest"]

log = logging.getLogger(__name__)

KEEPING = date.min.replace(day=2)  # no night of news: one run at a time decides which rows are its own
SAID_HERE = ("kind", "rows_read", "rows_new", "rows_outside", "failed", "error")
RAW_ORDER = [("source", "ascending"), ("origin", "ascending"), ("position", "ascending"), ("row_id", "ascending")]


class IngestBusy(Retriable):
    """Another run has been keeping its rows for a long time."""


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

    @property
    def said(self) -> str:
        """The counts in a line."""
        failed = f"; failed: {', '.join(self.failed)}" if self.failed else ""
        return f"{self.raw.rows} rows of {self.sources} sources, {self.rows_added} added, {self.rows_corrected} corrected{failed}"


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
    own: Mapping[str, OfMoment] = MappingProxyType({}),
    beside: bool = False,
    dealt: Dealt | None = None,
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
        own: with a window, by name the sources whose place is the night's own, each as it is on the night of a moment (`tasks/own.py`).
        ends_at: the night's end, UTC: once the night is published, a live run takes no new row published then or later.
        beside: with a window, rows without a usable time go with a dated row beside them; `take_undated` is for those that have none.
        dealt: with `beside`, what was read of some sources for this night and others.
    """
    lake = Lake.open(lake_url)
    terms = Terms(
        night=night,
        window=window,
        take_undated=take_undated,
        now=now,
        keep_raw=keep_raw,
        closed_at=ends_at if lake.published(night) else None,
        beside=beside,
    )
    existing = lake.read("raw", nights=[night])
    elsewhere = Elsewhere(lake, night=night, lookback_nights=lookback_nights)
    last_asked: dict[str, float] = {}
    readings = []
    for number, config in enumerate(sources, start=1):
        with about(source=config.name):
            kept = _rows_of(existing, config.name)
            hand = dealt.get(config.name) if dealt else None
            files = None
            if window and config.name in own:
                files = OwnFiles(config=config, window=window, of=own[config.name], last_asked=last_asked)
            readings.append(
                read_source(
                    lake, config, terms, kept=kept, elsewhere=elsewhere, last_asked=last_asked, hand=hand, files=files
                )
            )
            extra = {"done": number, "total": len(sources)}
            log.info("read %s, source %d of %d", config.name, number, len(sources), extra=extra)
    delivered = [row for reading in readings for row in reading.intake.rows]
    replaced = {row_id: row for reading in readings for row_id, row in reading.intake.replaced.items()}
    with _alone(lake, run_id):  # a night that is run beside this one may have read the same rows
        taken = elsewhere.taken_since({row.row_id for row in delivered})
        added = [row for row in delivered if row.row_id not in taken]
        table, partition = _keep(lake, existing, added, replaced, night=night, run_id=run_id)
    lost = Counter(row.source for row in delivered if row.row_id in taken)
    for reading in readings:  # counts of documents that were read before another night took rows of them would be wrong
        state = replace(reading.state, documents={}) if lost[reading.config.name] else reading.state
        lake.write_state(state_name(reading.config.name), state.to_json())
    counts = lake.stage(night).write("source_counts", _counts(lake, readings, table, lost, terms))
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


@contextmanager
def _alone(lake: Lake, run_id: str) -> Iterator[None]:
    """Wait until no other run decides which rows are its night's."""
    with ExitStack() as stack:
        try:
            stack.enter_context(waited_for(lake, KEEPING, run_id=run_id, given_up=cancelled()))
        except NightLocked as error:
            go_on()
            raise IngestBusy(f"another run has been keeping its rows for {PATIENCE}: {error}") from error
        yield


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


def _counts(
    lake: Lake, readings: Sequence[Reading], table: pa.Table, lost: Mapping[str, int], terms: Terms
) -> pa.Table:
    """The first part of the night's counts, by source `lost` to a night beside this one. A row that says what the published one says keeps its
    `available_at`."""
    mine = Counter(table.column("source").to_pylist())
    published = {row["source"]: row for row in lake.read("source_counts", nights=[terms.night]).to_pylist()}
    rows = []
    for reading in readings:
        name = reading.config.name
        outside = reading.rows_outside + lost.get(name, 0)
        row = SourceCount(
            run_date=terms.night,
            source=name,
            kind=reading.config.kind,
            rows_read=mine[name] + outside,
            rows_new=mine[name],
            rows_outside=outside,
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

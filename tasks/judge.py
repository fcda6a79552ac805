"""The night's raw rows -> clean articles, quarantine rows and counts by source, without touching the lake.

Every raw row ends in one of three places: an article, the quarantine, or the `repeats` of an article it repeats word for word. `judge`
makes sure of it, because a row that goes missing is worse than a run that stops.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa

from data_contracts.article import CONTRACT as ARTICLES
from data_contracts.counts import CONTRACT as COUNTS
from data_contracts.counts import SourceCount
from data_contracts.errors import Fatal
from data_contracts.raw import CONTRACT as RAW
from data_contracts.validate import Verdict, check
from tasks.identity import identify
from tasks.quarantine import quarantined
from tasks.stories import annotate

NOT_IN_SETTINGS = "unknown"


class RowsUnaccounted(Fatal):
    """Rows went in and did not come out: a mistake of ours; nothing was published."""


@dataclass(frozen=True, kw_only=True)
class Past:
    """What a night is compared with: `earlier`, the articles of strictly earlier nights within the look-back, and `existing`, the
    articles already published for this night. Never a later night: that would be the future.
    """

    earlier: pa.Table
    existing: pa.Table


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Clean articles, the rows that failed (with `quarantined_at` = now), the verdicts by table, exact repeats by source."""

    articles: pa.Table
    quarantine: pa.Table
    verdicts: Mapping[str, Verdict]
    repeats_by_source: Mapping[str, int]


def judge(raw: pa.Table, past: Past, *, night: date, now: datetime) -> Judged:
    """Hold raw rows to their contract, identify what passed, mark copies, hold the articles to theirs."""
    raw_verdict = check(raw, RAW)
    identified = identify(
        raw_verdict.passed, night=night, earlier=past.earlier, existing=past.existing, available_at=now
    )
    verdict = check(annotate(identified.articles, past.earlier), ARTICLES)
    failed = [
        quarantined(raw_verdict, RAW, night=night, now=now),
        quarantined(verdict, ARTICLES, night=night, now=now),
    ]
    repeats = sum(identified.repeats_by_source.values())
    places = (verdict.passed.num_rows, *(part.num_rows for part in failed), repeats)
    if sum(places) != raw.num_rows:
        raise RowsUnaccounted(
            f"night {night}: {raw.num_rows} raw rows went in; {places[0]} articles, {places[1]} failed raw rows, "
            f"{places[2]} failed articles and {places[3]} exact repeats came out; allowed is the same sum"
        )
    return Judged(
        articles=verdict.passed,
        quarantine=pa.concat_tables(failed),
        verdicts={RAW.name: raw_verdict, ARTICLES.name: verdict},
        repeats_by_source=identified.repeats_by_source,
    )


def counted(counts: pa.Table, raw: pa.Table, judged: Judged, published: pa.Table, *, now: datetime) -> pa.Table:
    """`source_counts` completed: what became of every source's rows.

    A source with rows tonight but no count (it was taken out of the settings between two runs of the night) keeps its published
    count, or gets one of kind "unknown". Rows that a run brought which was killed before it published are counted, also where the
    counts are those of the published night. A row that equals the published one but for `available_at` keeps that time.
    """
    rows_by_source = _per_source(raw)
    failed, clean = _per_source(judged.quarantine), _per_source(judged.articles)
    before = {row.source: row for row in _rows(published)}
    found = {row.source: row for row in _rows(counts)}
    nights = raw.column("run_date").to_pylist()[:1]
    for source in rows_by_source.keys() - found.keys():
        found[source] = before.get(source) or _uncounted(source, rows_by_source[source], nights[0], now)
    complete = []
    for source in sorted(found):
        row = found[source].model_copy(
            update={
                "rows_read": rows_by_source[source] + found[source].rows_outside,
                "rows_new": rows_by_source[source],
                "rows_quarantined": failed[source],
                "rows_repeated": judged.repeats_by_source.get(source, 0),
                "articles": clean[source],
                "available_at": now,
            }
        )
        old = before.get(source)
        same = old is not None and row == old.model_copy(update={"available_at": now})
        complete.append(old if old is not None and same else row)
    return COUNTS.table(complete)


def _uncounted(source: str, rows: int, night: date, now: datetime) -> SourceCount:
    return SourceCount(
        run_date=night,
        source=source,
        kind=NOT_IN_SETTINGS,
        rows_read=rows,
        rows_new=rows,
        rows_outside=0,
        rows_quarantined=0,
        rows_repeated=0,
        articles=0,
        failed=False,
        available_at=now,
    )


def _rows(counts: pa.Table) -> list[SourceCount]:
    return [SourceCount(**row) for row in counts.to_pylist()]


def _per_source(table: pa.Table) -> Counter[str]:
    return Counter(source for source in table.column("source").to_pylist() if source is not None)

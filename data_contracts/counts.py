"""One row a source and night: what it delivered and what became of it, so that no row goes missing unseen."""

from datetime import date
from typing import Annotated

from pydantic import AwareDatetime

from data_contracts.schema import BOOL, DATE, INT64, STRING, UTC_TIME, Column, Contract, Order, Row


class SourceCount(Row):
    """One source on one night."""

    run_date: Annotated[date, Column(DATE, "The night.")]
    source: Annotated[str, Column(STRING, "The source's name in the settings.", length=(1, 200))]
    kind: Annotated[str, Column(STRING, "The kind of source (rss, jsonl, csv, ...).", length=(1, None))]
    rows_read: Annotated[int, Column(INT64, "Rows delivered.", between=(0, None))]
    rows_new: Annotated[int, Column(INT64, "Rows first seen tonight.", between=(0, None))]
    rows_outside: Annotated[int, Column(INT64, "Rows outside the window or seen on another night.", between=(0, None))]
    rows_quarantined: Annotated[int, Column(INT64, "Rows that failed a contract.", between=(0, None))]
    rows_repeated: Annotated[int, Column(INT64, "Exact repeats dropped.", between=(0, None))]
    articles: Annotated[int, Column(INT64, "Clean articles.", between=(0, None))]
    failed: Annotated[bool, Column(BOOL, "True when the source could not be read.")]
    error: Annotated[str | None, Column(STRING, "Why it could not be read.")] = None
    available_at: Annotated[AwareDatetime, Column(UTC_TIME, "When the row could first be read, UTC.")]


CONTRACT = Contract(
    name="source_counts",
    row=SourceCount,
    says="What each source delivered on a night, and what became of it.",
    key=("run_date", "source"),
    orders=(Order(low="rows_new", high="rows_read"),),
)

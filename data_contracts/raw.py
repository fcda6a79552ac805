"""A row as a source delivered it, before anything is trusted: nearly every field may be missing, and the contract says which may not.

A body may be missing: such an article is scored on its title alone. A missing or impossible time fails; it never becomes "now".
`published_at` may be up to 24 hours after `first_seen_at` (embargoed copy, zones declared wrongly by a source), not more.
"""

from datetime import UTC, date, datetime
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AwareDatetime

from data_contracts.schema import DATE, INT64, STRING, UTC_TIME, Column, Contract, Derived, Row

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
MAX_LEAD_SECONDS = 24 * 3600
MAX_TITLE_CHARACTERS = 1000
MAX_BODY_CHARACTERS = 2 * 1024 * 1024
# Patterns are searched for, by Python's engine or RE2: anchors are written out, groups do not capture.
# A title of white space alone is empty after folding: it must hold one character that is not white space.
HAS_TEXT = r"\S"
HAS_TEXT_SAYS = "more than white space"
WEB_OR_FILE = r"(?i)^(?:https?://[^\s/]|file:/)\S*$"
WEB_OR_FILE_SAYS = "an http, https or file address without white space"


def lead_seconds(table: pa.Table) -> pa.Array | pa.ChunkedArray:
    """How far `published_at` lies after `first_seen_at`, in seconds; null where either is."""
    seen, published = (table.column(name).cast(pa.int64()) for name in ("first_seen_at", "published_at"))
    return pc.divide(pc.subtract(published, seen).cast(pa.float64(), safe=False), 1e6)


NOT_IN_FUTURE = Derived(
    column="published_at",
    rule="not_in_future",
    name="published_at_lead_seconds",
    says="at most 24 hours (86400 s) after first_seen_at",
    between=(None, MAX_LEAD_SECONDS),
    compute=lead_seconds,
)


class RawRow(Row):
    """One delivered row."""

    row_id: Annotated[
        str,
        Column(
            STRING,
            "Hash of the source and the row as delivered: the same delivered row has the same id.",
            length=(1, 64),
        ),
    ]
    run_date: Annotated[date, Column(DATE, "The night the row belongs to.")]
    source: Annotated[str, Column(STRING, "The source's name in the settings.", length=(1, 200))]
    origin: Annotated[str, Column(STRING, "The file or URL the row came from.", length=(1, None))]
    position: Annotated[int, Column(INT64, "Line or entry number within the origin, from 0.", between=(0, None))]
    url: Annotated[
        str | None, Column(STRING, "The article's address.", matches=WEB_OR_FILE, pattern_says=WEB_OR_FILE_SAYS)
    ] = None
    title: Annotated[
        str | None,
        Column(
            STRING,
            "The headline, normalised.",
            required=True,
            length=(1, MAX_TITLE_CHARACTERS),
            matches=HAS_TEXT,
            pattern_says=HAS_TEXT_SAYS,
        ),
    ] = None
    body: Annotated[
        str | None,
        Column(
            STRING,
            "The article's text, normalised; without one the article is scored on its title.",
            length=(None, MAX_BODY_CHARACTERS),
        ),
    ] = None
    title_raw: Annotated[
        str | None, Column(STRING, "The headline as delivered; only when the settings keep raw text.")
    ] = None
    body_raw: Annotated[str | None, Column(STRING, "The text as delivered; only when the settings keep raw text.")] = (
        None
    )
    published_text: Annotated[str | None, Column(STRING, "The publication time as delivered.")] = None
    published_at: Annotated[
        AwareDatetime | None,
        Column(UTC_TIME, "When the article was published, UTC.", required=True, between=(EARLIEST, None)),
    ] = None
    first_seen_at: Annotated[AwareDatetime, Column(UTC_TIME, "When this system first saw the row, UTC.")]
    parse_error: Annotated[str | None, Column(STRING, "Why the row could not be read.", absent=True)] = None
    payload: Annotated[
        str | None,
        Column(STRING, "The row as delivered, as JSON or text, cut at 1 MiB; kept when anything may be wrong with it."),
    ] = None


CONTRACT = Contract(
    name="raw",
    row=RawRow,
    says="Every row a night's sources delivered, as it came.",
    key=("row_id",),
    derived=(NOT_IN_FUTURE,),
)

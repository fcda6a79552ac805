"""Delivered rows -> the rows of one night: which are its own, under which id, normalised.

Live (no window): a row belongs to the night that first sees it. In a backfill: to the night whose window holds its time of publication;
rows without a usable time are taken where the caller says so. In both a row that another night has is left there.

The id of a row is a hash of the source and of url, title, body and time as delivered (of the whole row where it could not be read), so
the same delivery has the same id wherever and whenever it is read. The second equal row of one reading gets an id of its own, so that
repeats are kept in `raw` and counted where articles are identified.

Not covered: identity of articles, and what a contract demands (`tasks/validate.py`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime

from data_contracts.raw import RawRow
from tasks import text
from tasks.sources import Delivered, Item, SourceConfig, Unchanged, Unreadable
from tasks.watermark import Elsewhere
from tasks.when import when

PAYLOAD_BYTES = 1 << 20
OLD_BATCH = 20_000
ID_CHARACTERS = 32


@dataclass(frozen=True, kw_only=True)
class Window:
    """A span of time in UTC: start <= t < end."""

    start: datetime
    end: datetime

    def __contains__(self, moment: datetime) -> bool:
        """Whether the moment lies in it."""
        return self.start <= moment < self.end


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What makes a row tonight's; `now` becomes `first_seen_at`."""

    night: date
    window: Window | None
    take_undated: bool
    now: datetime
    keep_raw: bool


@dataclass(kw_only=True)
class OriginCount:
    """Of one document: rows delivered, and those of them that are not tonight's."""

    rows: int = 0
    outside: int = 0


@dataclass(kw_only=True)
class Intake:
    """What one reading of a source gave; filled while it is read."""

    rows: list[RawRow] = field(default_factory=list)
    origins: dict[str, OriginCount] = field(default_factory=dict)
    unchanged: list[str] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    latest_published_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Candidate:
    delivered: Delivered
    row_id: str
    first_id: str  # that of the first equal row of this reading
    published_at: datetime | None


def take(
    config: SourceConfig,
    items: Iterable[Item],
    terms: Terms,
    *,
    kept: frozenset[str],
    elsewhere: Elsewhere,
    into: Intake,
) -> None:
    """Read `items` to their end and put what is tonight's and not yet `kept` into `into`, in the order delivered.

    `into` is filled as the reading goes on, so what was read before an error is not lost.
    """
    perhaps_old: list[_Candidate] = []
    for candidate in _candidates(config, items, terms, into):
        if candidate.row_id in kept:
            continue
        if candidate.first_id in elsewhere.recent:
            into.origins[candidate.delivered.origin].outside += 1
        elif elsewhere.may_be_older(candidate.published_at):
            perhaps_old.append(candidate)
            if len(perhaps_old) >= OLD_BATCH:
                _settle(config, perhaps_old, terms, elsewhere, into)
        else:
            into.rows.append(raw_row(config, candidate, terms))
    _settle(config, perhaps_old, terms, elsewhere, into)


def _settle(
    config: SourceConfig, candidates: list[_Candidate], terms: Terms, elsewhere: Elsewhere, into: Intake
) -> None:
    """Ask the nights outside the lookback about these rows, and empty the list."""
    known = elsewhere.among_older({candidate.first_id for candidate in candidates})
    for candidate in candidates:
        if candidate.first_id in known:
            into.origins[candidate.delivered.origin].outside += 1
        else:
            into.rows.append(raw_row(config, candidate, terms))
    candidates.clear()


def _candidates(config: SourceConfig, items: Iterable[Item], terms: Terms, into: Intake) -> Iterator[_Candidate]:
    """The rows that the window (if there is one) leaves to tonight; ids are only made for them."""
    times: Counter[str] = Counter()
    for item in items:
        if isinstance(item, Unreadable):
            into.unreadable.append(item)
            continue
        if isinstance(item, Unchanged):
            into.unchanged.append(item.origin)
            continue
        count = into.origins.setdefault(item.origin, OriginCount())
        count.rows += 1
        published_at = when(item.published_text, zone=config.timezone, formats=config.time_formats).at
        if published_at is not None and (into.latest_published_at is None or published_at > into.latest_published_at):
            into.latest_published_at = published_at
        if terms.window is not None and not (
            terms.take_undated if published_at is None else published_at in terms.window
        ):
            count.outside += 1
            continue
        first_id = row_id(config.name, item)
        yield _Candidate(
            delivered=item, row_id=_numbered(first_id, times[first_id]), first_id=first_id, published_at=published_at
        )
        times[first_id] += 1


def row_id(source: str, row: Delivered) -> str:
    """The id of a delivered row: 32 hexadecimal digits."""
    if row.parse_error is None:
        parts = ("row", row.url, row.title, row.body, row.published_text)
    elif row.payload is not None:
        parts = ("bad", row.payload, None, None, None)
    else:
        parts = ("bad", row.origin, str(row.position), row.parse_error, None)
    return _hashed(repr((source, parts)))


def _numbered(first_id: str, repeat: int) -> str:
    return _hashed(f"{first_id}#{repeat}") if repeat else first_id


def _hashed(written: str) -> str:
    return hashlib.sha256(written.encode("utf-8", "surrogatepass")).hexdigest()[:ID_CHARACTERS]


def raw_row(config: SourceConfig, candidate: _Candidate, terms: Terms) -> RawRow:
    """The row of the `raw` table: normalised, and with its payload where anything may be wrong with it."""
    row = candidate.delivered
    title, body = text.title(row.title), text.body(row.body)
    delivered = (row.url, row.title, row.body, row.published_text)
    doubtful = (
        row.parse_error is not None
        or title is None
        or candidate.published_at is None
        or any(part and _odd(part) for part in delivered)
    )
    return RawRow(
        row_id=candidate.row_id,
        run_date=terms.night,
        source=config.name,
        origin=row.origin,
        position=row.position,
        url=text.address(row.url),
        title=title,
        body=body,
        title_raw=_storable(row.title) if terms.keep_raw else None,
        body_raw=_storable(row.body) if terms.keep_raw else None,
        published_text=_storable(row.published_text),
        published_at=candidate.published_at,
        first_seen_at=terms.now,
        parse_error=_storable(row.parse_error),
        payload=_cut(row.payload) if doubtful or terms.keep_raw else None,
    )


def _odd(part: str) -> bool:
    """Characters that no writer meant: NUL, the replacement character, half a surrogate pair."""
    return "\x00" in part or "\ufffd" in part or any("\ud800" <= character <= "\udfff" for character in part)


def _storable(part: str | None) -> str | None:
    return None if part is None else text.storable(part)


def _cut(payload: str | None) -> str | None:
    """The payload's first mebibyte, whole characters."""
    return None if payload is None else text.storable(payload).encode()[:PAYLOAD_BYTES].decode("utf-8", "ignore")

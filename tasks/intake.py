"""Delivered rows -> the rows of one night: which are its own, under which id, normalised.

Live (no window): a row belongs to the night that first sees it. In a backfill: to the night whose window holds its time of publication;
rows without a usable time are taken with a row beside them, or where the caller says so (`tasks/deal.py`). In both a row that another night
has is left there. A live run of a night that is published takes nothing new that was published at or after the night's end: that would be
news from its future.

A row that the night has already is derived anew from what is delivered now (`tasks/kept.py`). It stays with the night, with one exception:
in a backfill, a row whose corrected time lies at or after the window's end, and whose time before did not, leaves it for the night it
belongs to. One that moves to before the window stays, as late rows do, for the night it belongs to may have been run already.

The id of a row is a hash of the source and of url, title, body and time as delivered (of the whole row where it could not be read), so
the same delivery has the same id wherever and whenever it is read. The second equal row of one reading gets an id of its own, so that
repeats are kept in `raw` and counted where articles are identified.

Not covered: identity of articles, and what a contract demands (`tasks/validate.py`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from data_contracts.raw import RawRow
from tasks import text
from tasks.deal import Placed
from tasks.hosts import redacted
from tasks.kept import Kept, renewed
from tasks.sources import Delivered, SourceConfig, Unchanged, Unreadable
from tasks.terms import Terms
from tasks.watermark import Elsewhere

PAYLOAD_BYTES = 1 << 20
OLD_BATCH = 20_000
ID_CHARACTERS = 32


@dataclass(kw_only=True)
class OriginCount:
    """Of one document: rows delivered, and those of them that are not tonight's."""

    rows: int = 0
    outside: int = 0


@dataclass(kw_only=True)
class Intake:
    """What one reading of a source gave; filled while it is read.

    Attributes:
        rows: the new ones.
        replaced: id of a row that the night had -> what it is now, None when it leaves the night.
        origins: counts by document.
        unchanged: origins of the documents that were not sent again.
        unreadable: documents that could not be read.
        latest_published_at: the latest time of publication.
    """

    rows: list[RawRow] = field(default_factory=list)
    replaced: dict[str, RawRow | None] = field(default_factory=dict)
    origins: dict[str, OriginCount] = field(default_factory=dict)
    unchanged: list[str] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    latest_published_at: datetime | None = None

    def count_others(self, rows: Mapping[str, int], latest_published_at: datetime | None) -> None:
        """Count the rows of documents that were read for other nights too: `rows` by origin, of which those not counted here are outside."""
        for origin, number in rows.items():
            count = self.origins.setdefault(origin, OriginCount())
            count.outside += number - count.rows
            count.rows = number
        self.latest_published_at = latest_published_at or self.latest_published_at


@dataclass(frozen=True, kw_only=True, slots=True)
class _Candidate:
    delivered: Delivered
    row_id: str
    first_id: str  # that of the first equal row of this reading
    published_at: datetime | None
    placed_at: datetime | None


def take(
    config: SourceConfig,
    items: Iterable[Placed],
    terms: Terms,
    *,
    kept: Kept,
    elsewhere: Elsewhere,
    into: Intake,
) -> None:
    """Read `items` to their end and put what is tonight's into `into`, in the order delivered: what is new, and what changed of `kept`.

    `into` is filled as the reading goes on, so what was read before an error is not lost.
    """
    new = _new(config, _candidates(config, items, terms, kept, into), terms, kept, into)
    perhaps_old: list[_Candidate] = []
    for candidate in new:
        if candidate.first_id in elsewhere.recent:
            into.origins[candidate.delivered.origin].outside += 1
        elif elsewhere.may_be_older(candidate.published_at):
            perhaps_old.append(candidate)
            if len(perhaps_old) >= OLD_BATCH:
                _settle(config, perhaps_old, terms, elsewhere, into)
        else:
            into.rows.append(raw_row(config, candidate, terms))
    _settle(config, perhaps_old, terms, elsewhere, into)


def _new(
    config: SourceConfig, candidates: Iterable[_Candidate], terms: Terms, kept: Kept, into: Intake
) -> Iterator[_Candidate]:
    """Those that the night does not have and whose time leaves them to it; what they make of the rows it has goes into `into`."""
    delivered: set[str] = set()
    waiting: list[tuple[_Candidate, RawRow]] = []
    for candidate in candidates:
        row = kept.rows.get(candidate.row_id)
        if row is not None:
            delivered.add(row.row_id)
            _renew(config, row, candidate, terms, into)
        elif before := _earlier_form(candidate, kept):
            waiting.append((candidate, before))
        elif _may_be_new(candidate, terms, into):
            yield candidate
    for candidate, before in waiting:  # only now is it known which rows are not delivered any more
        if before.row_id not in delivered:
            delivered.add(before.row_id)
            _renew(config, before, candidate, terms, into)
        elif _may_be_new(candidate, terms, into):
            yield candidate


def _may_be_new(candidate: _Candidate, terms: Terms, into: Intake) -> bool:
    taken = terms.take_in(candidate.placed_at)
    if not taken:
        into.origins[candidate.delivered.origin].outside += 1
    return taken


def _earlier_form(candidate: _Candidate, kept: Kept) -> RawRow | None:
    if not kept.read_otherwise:
        return None
    row, payload = candidate.delivered, _cut(candidate.delivered.payload)
    before = kept.earlier_form(redacted(row.origin), row.position, payload)
    if before is None or (payload is not None and before.payload == payload):
        return before
    then = (before.published_text, before.url, before.title, before.body)
    today = (_storable(row.published_text), text.address(row.url), text.title(row.title), text.body(row.body))
    return before if any(a is not None and a == b for a, b in zip(then, today, strict=True)) else None


def _renew(config: SourceConfig, row: RawRow, candidate: _Candidate, terms: Terms, into: Intake) -> None:
    """Derive a row of the night again."""
    if terms.send_away(row.published_at, candidate.published_at) and not terms.take_in(candidate.placed_at):
        into.replaced[row.row_id] = None
        into.origins[candidate.delivered.origin].outside += 1
        return
    fresh = renewed(row, raw_row(config, candidate, terms), full_text=config.full_text)
    if fresh != row:
        into.replaced[row.row_id] = fresh


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


def _candidates(
    config: SourceConfig, items: Iterable[Placed], terms: Terms, kept: Kept, into: Intake
) -> Iterator[_Candidate]:
    """The rows with their ids; where the night has none, only those whose time leaves them to it."""
    times: Counter[str] = Counter()
    for one in items:
        item, published_at = one.item, one.published_at
        if isinstance(item, Unreadable):
            into.unreadable.append(item)
            continue
        if isinstance(item, Unchanged):
            into.unchanged.append(item.origin)
            continue
        count = into.origins.setdefault(item.origin, OriginCount())
        count.rows += 1
        if published_at is not None and (into.latest_published_at is None or published_at > into.latest_published_at):
            into.latest_published_at = published_at
        if not kept.rows and not terms.take_in(one.placed_at):
            count.outside += 1
            continue
        first_id = row_id(config.name, item)
        yield _Candidate(
            delivered=item,
            row_id=_numbered(first_id, times[first_id]),
            first_id=first_id,
            published_at=published_at,
            placed_at=one.placed_at,
        )
        times[first_id] += 1


def row_id(source: str, row: Delivered) -> str:
    """The id of a delivered row: 32 hexadecimal digits."""
    if row.parse_error is None:
        parts = ("row", row.url, row.title, row.body, row.published_text)
    elif row.payload is not None:
        parts = ("bad", row.payload, None, None, None)
    else:
        parts = ("bad", redacted(row.origin), str(row.position), row.parse_error, None)
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
        origin=redacted(row.origin),
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

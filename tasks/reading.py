"""Read one source for one night, whatever happens: its new rows, its counts, its errors, and the state to write afterwards.

Here a failure stops being an exception and becomes a fact about the source, so that one that fails costs the others nothing. Downloaded
bytes that could not be read are kept in the lake, `_rejected/<night>/<source>/<hash>`, the first `REJECTED_BYTES` of each, for whoever
looks into it; a local file stays where it is. A download above `max_bytes` is not kept.

Not covered: retries across nights (the next night reads again), and clearing `_rejected/`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date

from data_contracts.errors import Fatal, NightdeskError
from data_contracts.raw import RawRow
from tasks import fulltext
from tasks.deal import Hand, limits_of, placed
from tasks.fetch import Fetcher, Validators
from tasks.hosts import redacted
from tasks.intake import Intake, OriginCount, take
from tasks.kept import Kept
from tasks.lake import Lake
from tasks.own import OwnFiles
from tasks.secrecy import struck_out
from tasks.sources import SourceConfig, Unreadable, reader
from tasks.terms import Terms
from tasks.watermark import DocumentState, Elsewhere, SourceState, document_key, fingerprint, state_name

log = logging.getLogger(__name__)

REJECTED_BYTES = 16 << 20
REJECTED_SUFFIX = {"rss": "xml"}  # other kinds are their own
PAGE_BYTES = 8 << 20
ERROR_CHARACTERS = 2000


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One source, read: its new rows and the count of the others, its errors, and its state once the rows are committed.

    `failed` says that at least one of its documents could not be read to its end; what it delivered all the same is in `intake`.
    """

    config: SourceConfig
    intake: Intake
    rows_outside: int
    failed: bool
    error: str | None
    state: SourceState


def read_source(
    lake: Lake,
    config: SourceConfig,
    terms: Terms,
    *,
    kept: Iterable[RawRow],
    elsewhere: Elsewhere,
    last_asked: dict[str, float],
    hand: Hand | None = None,
    files: OwnFiles | None = None,
) -> Reading:
    """Read `config`; whatever goes wrong with it ends here, unless it is fatal.

    Args:
        lake: for its state, and for what is rejected.
        config: the source.
        terms: what makes a row tonight's.
        kept: the source's rows that the night has.
        elsewhere: the rows that other nights have.
        last_asked: host -> when it was asked last, shared by the sources of a run.
        hand: what was read already for this night among others; a night that has rows from before reads the source itself all the same.
        files: where the source's place is the night's own, in a backfill or late.
    """
    read = reader(config.kind)
    before = SourceState.from_json(lake.read_state(state_name(config.name)), config.name)
    rows = Kept.of(kept, read_otherwise=before.read_otherwise(config, terms.night))
    known = (
        before.night == terms.night.isoformat() or not rows.rows
    )  # else "unchanged" cannot say which rows are tonight's
    remembered = before.validators(config, terms.night) if terms.window is None and known else {}
    fetcher = Fetcher(limits_of(config, config.max_bytes), remembered=remembered, last_asked=last_asked)
    intake = Intake()
    if hand is not None and not rows.rows:
        items = hand.of(terms.night)
    else:
        given, hand = read(config, fetcher), None
        items = files.placed(given) if files else placed(config, given, beside=terms.beside)
    try:
        take(config, items, terms, kept=rows, elsewhere=elsewhere, into=intake)
    except Fatal:
        raise
    except NightdeskError as error:
        intake.unreadable.append(_failure(config, str(error)))
    except Exception as error:  # a fault in one source's code must not cost the others their night
        log.exception("source %s", config.name)
        intake.unreadable.append(_failure(config, f"{type(error).__name__}: {error}"))
    finally:
        fetcher.close()
    if hand is not None:
        intake.count_others(hand.rows, hand.latest_published_at)
    failures = [_rejected(lake, config, terms.night, bad) for bad in intake.unreadable]
    for failure in failures:
        log.error("source %s: %s", config.name, failure)
    notes = _fill(config, intake, last_asked) if config.full_text and intake.rows else []
    return Reading(
        config=config,
        intake=intake,
        rows_outside=_outside(intake, before, terms),
        failed=bool(failures),
        error="; ".join([*failures, *notes])[:ERROR_CHARACTERS] or None,
        state=_state(before, config, intake, fetcher.received, terms),
    )


def _failure(config: SourceConfig, error: str) -> Unreadable:
    """The source as a whole; its location may hold a secret that the error quotes."""
    place = redacted(config.location)
    return Unreadable(origin=place, error=error.replace(config.location, place))


def _fill(config: SourceConfig, intake: Intake, last_asked: dict[str, float]) -> list[str]:
    """Put the pages' articles into the new rows; what to tell of those that had none."""
    fetcher = Fetcher(limits_of(config, min(config.max_bytes, PAGE_BYTES)), last_asked=last_asked)
    try:
        filled = fulltext.fill(intake.rows, fetcher)
    finally:
        fetcher.close()
    intake.rows = filled.rows
    if not filled.missed:
        return []
    return [f"{filled.missed} of {len(filled.rows)} new rows keep the body delivered, first: {filled.first_reason}"]


def _rejected(lake: Lake, config: SourceConfig, night: date, bad: Unreadable) -> str:
    """Keep what was downloaded in vain; the error without secrets, with the place where it lies in the lake."""
    error = struck_out(bad.error)
    if not bad.data:
        return error
    name = f"{hashlib.sha256(bad.data).hexdigest()[:16]}.{REJECTED_SUFFIX.get(config.kind, config.kind)}"
    place = f"_rejected/{night}/{config.name}/{name}"
    lake.write_file(place, bad.data[:REJECTED_BYTES])
    part = f", its first {REJECTED_BYTES} of {len(bad.data)} bytes" if len(bad.data) > REJECTED_BYTES else ""
    return f"{error}; kept in the lake as {place}{part}"


def _carried(before: SourceState, terms: Terms) -> dict[str, DocumentState]:
    """The documents remembered; on another night than theirs, every row of theirs is outside."""
    same = before.night == terms.night.isoformat()
    return {
        key: document if same else replace(document, outside=document.rows)
        for key, document in before.documents.items()
    }


def _outside(intake: Intake, before: SourceState, terms: Terms) -> int:
    unchanged = (
        document.outside for document in _carried(before, terms).values() if document.origin in intake.unchanged
    )
    return sum(count.outside for count in intake.origins.values()) + sum(unchanged)


def _state(
    before: SourceState, config: SourceConfig, intake: Intake, received: Mapping[str, Validators], terms: Terms
) -> SourceState:
    """The state to write once the rows are committed. A backfill takes a part of each document, so it leaves the documents alone."""
    after = before.with_times(latest_published_at=intake.latest_published_at, now=terms.now)
    if not intake.unreadable or terms.night.isoformat() not in before.nights:
        after = after.with_night(config, terms.night)
    if terms.window is not None or terms.closed_at is not None:  # a part of each document was taken
        return after
    documents = _carried(before, terms)
    failed = {bad.origin for bad in intake.unreadable}
    for url, given in received.items():
        if (origin := redacted(url)) not in failed:
            count = intake.origins.get(origin, OriginCount())
            documents[document_key(url)] = DocumentState(
                origin=origin,
                etag=given.etag,
                last_modified=given.last_modified,
                rows=count.rows,
                outside=count.outside,
            )
    return replace(after, night=terms.night.isoformat(), reading=fingerprint(config), documents=documents)

"""What is remembered of a source between nights, and which delivered rows another night already has.

Two memories with two owners. The rows themselves are the watermark: a row whose id stands in the lake's `raw` on another night is not
new, whatever a server says. The state of a source (`_state/source-<name>` in the lake) only saves work: the ETag and Last-Modified of
each document, so that an unchanged feed is not sent again, with the counts that it then stands for, and the settings that each night's
rows were read with. It is written after the rows are committed, so a run that dies in between reads the feed once more and finds every
row there. Documents are remembered under the hash of their URL, for a URL may hold a secret.

Not covered: forgetting. A source that leaves the settings leaves its state behind.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from tasks.fetch import Validators
from tasks.lake import Lake
from tasks.sources import SourceConfig

log = logging.getLogger(__name__)

LEAD_NIGHTS = 2  # a row may be dated a day after the night that saw it, and a night's name differs from its UTC date


@dataclass(frozen=True, kw_only=True)
class DocumentState:
    """One document as it was read last: its URL without secrets, what its server gave to ask again with, its rows, and those not the night's."""

    origin: str = ""
    etag: str | None = None
    last_modified: str | None = None
    rows: int = 0
    outside: int = 0


@dataclass(frozen=True, kw_only=True)
class SourceState:
    """What is remembered of one source.

    Attributes:
        night: the night of the last live run, whose `outside` counts `documents` hold.
        reading: fingerprint of the settings that decide how rows are read; with others, documents must be sent again.
        latest_published_at: the latest publication time seen, for reports.
        last_read_at: when the source was last read.
        documents: `document_key` of the URL -> the document.
        nights: night -> fingerprint of the settings that its rows were last read with in full.
    """

    night: str = ""
    reading: str = ""
    latest_published_at: str | None = None
    last_read_at: str | None = None
    documents: Mapping[str, DocumentState] = field(default_factory=dict)
    nights: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """As it is stored."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    @staticmethod
    def from_json(text: str | None, source: str) -> SourceState:
        """As it was stored; an unreadable state is none, for nothing but work is lost with it."""
        if text is None:
            return SourceState()
        try:
            stored = json.loads(text)
            documents = {
                key: DocumentState(**document)
                for key, document in stored.pop("documents").items()
                if "://" not in key  # of a time when URLs were remembered as they are
            }
            return SourceState(**stored, documents=documents)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("source %s: its state cannot be read and is begun anew (%s)", source, error)
            return SourceState()

    def validators(self, config: SourceConfig, night: date) -> Mapping[str, Validators]:
        """URL -> what to ask its server with; nothing when the settings now read rows, or this night's rows, in another way."""
        if self.reading != fingerprint(config) or self.read_otherwise(config, night):
            return {}
        return _Remembered(
            {
                key: Validators(etag=document.etag, last_modified=document.last_modified)
                for key, document in self.documents.items()
            }
        )

    def read_otherwise(self, config: SourceConfig, night: date) -> bool:
        """Whether the night's rows were read with settings that read them differently."""
        return self.nights.get(night.isoformat(), fingerprint(config)) != fingerprint(config)

    def with_night(self, config: SourceConfig, night: date) -> SourceState:
        """The state once the night's rows are read with these settings."""
        return replace(self, nights={**self.nights, night.isoformat(): fingerprint(config)})

    def with_times(self, *, latest_published_at: datetime | None, now: datetime) -> SourceState:
        """The state with its watermark moved on, never back."""
        seen = [
            time for time in (self.latest_published_at, latest_published_at and latest_published_at.isoformat()) if time
        ]
        latest = max(seen, key=datetime.fromisoformat, default=None)
        return replace(self, latest_published_at=latest, last_read_at=now.isoformat())


class _Remembered(Mapping[str, Validators]):
    """Asked by URL, held by its hash."""

    def __init__(self, by_key: Mapping[str, Validators]) -> None:
        self._by_key = by_key

    def __getitem__(self, url: str) -> Validators:
        return self._by_key[document_key(url)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_key)

    def __len__(self) -> int:
        return len(self._by_key)


def document_key(url: str) -> str:
    """Under what a document is remembered: its URL cannot be read from it."""
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()


def state_name(source: str) -> str:
    """The name of a source's state in the lake."""
    return f"source-{source}"


def fingerprint(config: SourceConfig) -> str:
    """Changes with every setting that changes the rows read from the same bytes."""
    parts = (
        config.kind,
        config.timezone,
        sorted(config.fields.items()),
        config.header,
        config.delimiter,
        config.encoding,
        config.time_formats,
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


class Elsewhere:
    """Which row ids stand in `raw` on other nights than `night`.

    The nights within `lookback_nights` are held in memory. Older ones are asked only about rows that could be so old: dated before, or
    not dated at all. So an archive read again and again stays known for ever, and a feed's night costs a look at the last weeks.
    """

    def __init__(self, lake: Lake, *, night: date, lookback_nights: int) -> None:
        self._lake, self._night = lake, night
        self._commits = {commit.name for commit in lake.commits()}
        others = [other for other in lake.nights("raw") if other != night]
        reach = timedelta(days=lookback_nights)
        recent = [other for other in others if abs(other - night) <= reach]
        self._older = [other for other in others if abs(other - night) > reach]
        self._all_old = any(other > night for other in self._older)
        self._old_from = night - reach + timedelta(days=LEAD_NIGHTS)
        self.recent: frozenset[str] = frozenset(self._row_ids(recent).to_pylist()) if recent else frozenset()

    def taken_since(self, row_ids: Collection[str]) -> set[str]:
        """Those of `row_ids` that another night has by a commit made since this was made."""
        new = [commit for commit in self._lake.commits() if commit.name not in self._commits]
        nights = {commit.night for commit in new if any(entry.table == "raw" for entry in commit.tables)} - {
            self._night
        }
        return set(row_ids).intersection(self._row_ids(nights).to_pylist()) if nights else set()

    def may_be_older(self, published_at: datetime | None) -> bool:
        """Whether a row of that time could have been seen on a night outside the lookback."""
        return bool(self._older) and (self._all_old or published_at is None or published_at.date() <= self._old_from)

    def among_older(self, row_ids: Collection[str]) -> set[str]:
        """Those of `row_ids` that a night outside the lookback has; one such night is in memory at a time."""
        wanted, found = pa.array(list(row_ids), pa.string()), set()
        for night in self._older if len(wanted) else ():
            there = self._row_ids([night])
            found.update(there.filter(pc.is_in(there, value_set=wanted)).to_pylist())
        return found

    def _row_ids(self, nights: Collection[date]) -> pa.ChunkedArray:
        return self._lake.read("raw", nights=nights, columns=["row_id"]).column("row_id")

"""The commit log: one JSON file a commit under `_commits/`, whose names sort by time. It decides what is in the lake.

A commit names every table it brings for one night, with the immutable file, its rows, hash and columns. A later commit
of the same table and night takes the earlier one's place; the earlier ones stay, so that a reader can ask what was
known at a time.

Records never change once they are written, so a process reads each but once, for all its instances of a lake (`read_log`): a year of nights is
730 records, whose reading takes tenths of a second from a disk and seconds from an object store, many times a night.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache

from data_contracts.errors import Fatal
from tasks.lake.errors import LakeDamaged
from tasks.lake.names import COMMITS, commit_name
from tasks.lake.parquet import Column
from tasks.lake.store import Store

TICK = timedelta(microseconds=1)

_column = lru_cache(maxsize=1024)(Column)  # the same few in every record, kept once
# a lake's root -> path -> record, as of the last look of this process; threads share it, so it is never altered, but replaced
_read: dict[str, Mapping[str, Commit]] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One table of one commit. `path` is the immutable file, relative to the lake's root; `bytes` its size."""

    table: str
    path: str
    rows: int
    bytes: int
    sha256: str
    fingerprint: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """One record of the log. `time` is UTC and grows from commit to commit; `publish` False keeps readers' folders as is."""

    time: datetime
    run_id: str
    night: date
    publish: bool
    tables: tuple[Entry, ...]

    @property
    def name(self) -> str:
        """The record's file name without its ending; it sorts by time."""
        return commit_name(self.time, self.run_id)

    def to_json(self) -> bytes:
        """The record as it is stored."""
        record = asdict(self) | {"time": self.time.isoformat(), "night": self.night.isoformat()}
        return json.dumps(record, indent=1).encode()

    @staticmethod
    def from_json(data: bytes, where: str) -> Commit:
        """Read a record back; `where` names it in the error."""
        try:
            record = json.loads(data)
            tables = tuple(
                Entry(**entry | {"columns": tuple(_column(**column) for column in entry["columns"])})
                for entry in record["tables"]
            )
            return Commit(
                time=datetime.fromisoformat(record["time"]),
                run_id=record["run_id"],
                night=date.fromisoformat(record["night"]),
                publish=record["publish"],
                tables=tables,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise LakeDamaged(f"commit record {where} cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class Log:
    """All commits, oldest first."""

    commits: tuple[Commit, ...]

    @staticmethod
    def of(commits: Iterable[Commit]) -> Log:
        """A log in the order of the commits' names."""
        return Log(tuple(sorted(commits, key=lambda commit: commit.name)))

    def as_of(self, time: datetime | None) -> Log:
        """What had been committed at `time` (inclusive); everything when None."""
        if time is None:
            return self
        if time.tzinfo is None:
            raise Fatal(f"as_of={time.isoformat()} has no time zone; give one, such as {time.isoformat()}+00:00")
        return Log(tuple(commit for commit in self.commits if commit.time <= time))

    def latest(self, table: str) -> Mapping[date, Entry]:
        """Night -> the entry that holds `table` now, kept or published, by night."""
        found: dict[date, Entry] = {}
        for commit in self.commits:
            for entry in commit.tables:
                if entry.table == table:
                    found[commit.night] = entry
        return dict(sorted(found.items()))

    def latest_published(self) -> Mapping[tuple[str, date], tuple[Commit, Entry]]:
        """(table, night) -> what readers should find in the table's folder."""
        return {
            (entry.table, commit.night): (commit, entry)
            for commit in self.commits
            if commit.publish
            for entry in commit.tables
        }

    def columns(self, table: str) -> tuple[Column, ...] | None:
        """The columns of the last commit of `table`; None when it was never committed."""
        for commit in reversed(self.commits):
            for entry in commit.tables:
                if entry.table == table:
                    return entry.columns
        return None

    def objects(self) -> frozenset[str]:
        """Every immutable file that a commit names."""
        return frozenset(entry.path for commit in self.commits for entry in commit.tables)

    def next_time(self, now: datetime) -> datetime:
        """A time for the next commit: `now`, or just after the last one where the clock went back."""
        return max(now, self.commits[-1].time + TICK) if self.commits else now


def read_log(store: Store) -> Log:
    """The whole log, of which only records that this process has not read yet are fetched; one that is gone from the lake is forgotten."""
    known = _read.get(store.root, {})
    there = [path for path in store.find(COMMITS) if path.endswith(".json")]
    fetched = store.read_many([path for path in there if path not in known])
    new = {path: Commit.from_json(data, store.address(path)) for path, data in fetched.items()}
    _read[store.root] = found = {path: known[path] if path in known else new[path] for path in there}
    return Log.of(found.values())

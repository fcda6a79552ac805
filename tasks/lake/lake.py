"""The lake: plain Parquet that anybody can glob, one file a (table, night), and a commit log beside the tables.

A commit writes the immutable files, then one record of the log (the commit point), then puts the files in place for
readers. A process killed anywhere leaves readers with the old night or the new one; `repair` finishes or sweeps up what
it left. Measured against Delta, Iceberg and DuckLake, this is the only layout whose plain glob always shows exactly one
version of a file.

Not covered: removing old versions (every committed file is kept, `as_of` reads them), transactions over several nights,
and a glob over several tables at one instant (the files are replaced one after the other; `files` names one consistent
set).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem

from data_contracts.errors import Fatal
from tasks.context import about
from tasks.lake import layout, names, parquet
from tasks.lake.errors import ClockBehind, FileMissing, LakeDamaged
from tasks.lake.log import Commit, Entry, Log, read_log
from tasks.lake.schemas import conformed, read_as, schema_of
from tasks.lake.stage import Partition, Stage
from tasks.lake.store import Store, open_store

log = logging.getLogger(__name__)

CLOCK_SKEW = timedelta(minutes=5)  # so far apart may the clocks of two machines be that write to one lake


def utc_now() -> datetime:
    """The clock of the machine, in UTC."""
    return datetime.now(UTC)


class Lake:
    """One lake. Opening it reads one small file and writes nothing; instances are cheap."""

    def __init__(self, store: Store, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._store = store
        self._clock = clock
        self.root: str = store.root
        self.filesystem: AbstractFileSystem = store.filesystem
        layout.require_known(store)

    @classmethod
    def open(cls, url_or_path: str, *, clock: Callable[[], datetime] = utc_now) -> Lake:
        """The lake at a local path or any URL that fsspec or pyarrow knows; an empty one where nothing is yet."""
        return cls(open_store(url_or_path), clock=clock)

    def now(self, *, at_most_behind: timedelta | None = None) -> datetime:
        """The machine's clock; just after the last commit where it is behind, so that nothing looks older than what was known before it.

        Raises:
            ClockBehind: it is further behind than `at_most_behind`.
        """
        time, clock = self._time_after(self._log()), self._clock()
        if at_most_behind is not None and time - clock > at_most_behind:
            raise ClockBehind(
                f"the clock of this machine says {clock:%Y-%m-%d %H:%M} UTC, but the last commit of the lake {self.root} was made at "
                f"{time:%Y-%m-%d %H:%M}; set the clock right. Where that commit's clock ran ahead, run nights by their dates: that goes on"
            )
        return time

    # Writing

    @contextmanager
    def lock(self, night: date, *, run_id: str = "") -> Iterator[None]:
        """Keep other runs away from `night`; raises `NightLocked`, naming the holder, when one is there already."""
        with self._store.lock(names.night_lock(night), night=night.isoformat(), run_id=run_id, now=self._clock()):
            yield

    def commit(
        self, tables: Mapping[str, pa.Table], *, night: date, run_id: str, publish: bool = True
    ) -> list[Partition]:
        """Bring all of `tables` into the lake for `night`, in one commit: after a crash, all of them are there or none.

        With `publish` False they are kept: read through the log, but not where readers glob, until a later commit
        publishes them.
        A table without rows is a file without rows, so that an empty night can be seen. Raises `NightLocked`, and commits nothing, where
        this process held the lock of the night and may have lost it.
        """
        names.run_name(run_id)
        ready = {names.table_name(name): conformed(name, table) for name, table in tables.items()}
        if not ready:
            raise Fatal(f"a commit needs at least one table, got none (night {night}, run {run_id})")
        with self._store.writing():
            layout.ensure(self._store)
            before = self._log()
            for name, table in ready.items():
                if (last := before.columns(name)) is not None:
                    parquet.require_compatible(name, last, parquet.columns(table.schema))
            commit = self._record(ready, before, night=night, run_id=run_id, publish=publish)
            if publish:
                self._publish(commit, commit.tables)
        for entry in commit.tables:
            with about(night=night, table=entry.table):
                done = "published" if publish else "kept"
                log.info("%s %s of night %s: %d rows, %d bytes", done, entry.table, night, entry.rows, entry.bytes)
        return [self._partition(commit, entry) for entry in commit.tables]

    def repair(self) -> list[Partition]:
        """Publish what is committed and not (or not rightly) in place, remove what dead runs left; then a repeat is idle.

        On a remote store runs commit meanwhile. What is not in place because one has just brought something newer is left to that run; and once
        all is copied, the log is read again and what is newer copied in its turn, so that the newest stays. What remains: of a night that was
        not in place, what a run brings during the copying may be out of sight until that ends; where it is killed, until the next repair.
        """
        if not layout.require_known(self._store):
            return []
        done: dict[str, tuple[Commit, Entry]] = {}
        with self._store.writing():
            before = self._wanted()
            missing = self._store.unpublished({target: entry.path for target, (_, entry) in before.items()})
            now = self._wanted()
            todo = {target: before[target] for target in missing if now.get(target) == before[target]}
            while todo:
                for commit, entry in todo.values():
                    with about(night=commit.night, table=entry.table):
                        self._publish(commit, (entry,))
                        log.warning("repaired %s of night %s from commit %s", entry.table, commit.night, commit.name)
                done |= todo
                todo = {target: held for target, held in self._wanted().items() if held != done.get(target, held)}
            self._sweep(self._log(), self._store.find(names.OBJECTS))
            for path in self._store.end_uploads():
                log.warning("ended the upload of %s, left by a run that did not finish", self._store.address(path))
        return [self._partition(commit, entry) for commit, entry in done.values()]

    def stage(self, night: date) -> Stage:
        """The workbench of `night`."""
        return Stage(self._store, night)

    def write_state(self, name: str, text: str) -> None:
        """Remember `text` under `name`, atomically."""
        self._store.write(names.state_file(name), text.encode())

    def write_file(self, relative: str, data: bytes) -> str:
        """Write a free file such as `_reports/2026-11-20/report.html`, atomically; returns what a reader opens."""
        self._store.write(names.free_file(relative), data)
        return self._store.address(relative)

    # Reading

    def read_state(self, name: str) -> str | None:
        """The text remembered under `name`, None when there is none."""
        data = self._store.read(names.state_file(name))
        return None if data is None else data.decode()

    def read_file(self, relative: str) -> bytes:
        """The bytes of a free file; raises `FileMissing` where there is none."""
        data = self._store.read(names.free_file(relative))
        if data is None:
            raise FileMissing(f"there is no file {self._store.address(relative)}")
        return data

    def files(self, table: str, *, nights: Collection[date] | None = None, as_of: datetime | None = None) -> list[str]:
        """The immutable files that hold `table`, by night, kept ones included; with `as_of`, as known at that time."""
        return [self._store.address(entry.path) for entry in self._entries(table, nights, as_of)]

    def nights(self, table: str) -> list[date]:
        """The nights `table` has a commit for, in order."""
        return list(self._log().latest(table))

    def tables(self) -> list[str]:
        """The tables that have a published night, sorted."""
        return sorted({table for table, _ in self._log().latest_published()})

    def published(self, night: date) -> bool:
        """True when a publishing commit of `night` exists."""
        return any(commit.publish and commit.night == night for commit in self._log().commits)

    def published_nights(self) -> list[date]:
        """The nights that readers find, those with a publishing commit, in order."""
        return sorted({commit.night for commit in self._log().commits if commit.publish})

    def commits(self) -> tuple[Commit, ...]:
        """The log: every commit, oldest first."""
        return self._log().commits

    def shows(self, table: str, night: date) -> bool:
        """True when readers find the last commit of `table` for `night`, and not an older one or none."""
        now = self._log()
        held = now.latest_published().get((table, night))
        return held is not None and held[1] == now.latest(table)[night]

    def read(
        self,
        table: str,
        *,
        nights: Collection[date] | None = None,
        columns: Collection[str] | None = None,
        as_of: datetime | None = None,
    ) -> pa.Table:
        """The rows of `table`, by night; a column that an older night lacks is null there. No night: no rows."""
        wanted = None if columns is None else list(columns)
        parts = []
        for entry in self._entries(table, nights, as_of):
            here = [column.name for column in entry.columns if wanted is None or column.name in wanted]
            with self._store.open(entry.path) as file:
                parts.append(pq.ParquetFile(file).read(columns=here))
        schema = schema_of(table, [part.schema for part in parts], wanted)
        return pa.concat_tables([schema.empty_table(), *(read_as(part, schema) for part in parts)])

    # Inside

    def _entries(self, table: str, nights: Collection[date] | None, as_of: datetime | None) -> list[Entry]:
        wanted = None if nights is None else set(nights)
        found = self._log().as_of(as_of).latest(names.table_name(table))
        return [entry for night, entry in found.items() if wanted is None or night in wanted]

    def _time_after(self, before: Log) -> datetime:
        """The clock, or a moment after the last commit where that is later; says so where clocks may not differ so much."""
        clock = self._clock()
        time = before.next_time(clock)
        if time - clock > CLOCK_SKEW:
            text = "the clock of this machine is %s behind the last commit of %s; what is written now is dated after it"
            log.warning(text, time - clock, self.root)
        return time

    def _log(self) -> Log:
        return read_log(self._store)

    def _wanted(self) -> dict[str, tuple[Commit, Entry]]:
        """Where readers look -> what the log says that they should find there."""
        return {names.published(*key): held for key, held in self._log().latest_published().items()}

    def _record(
        self, tables: Mapping[str, pa.Table], before: Log, *, night: date, run_id: str, publish: bool
    ) -> Commit:
        """Write the immutable files and the record; where that fails, the files go again unless the record is there."""
        entries: list[Entry] = []
        try:
            for name, table in tables.items():
                entries.append(
                    self._write_object(name, table, before.latest(name).get(night), night=night, run_id=run_id)
                )
            commit = Commit(
                time=self._time_after(before), run_id=run_id, night=night, publish=publish, tables=tuple(entries)
            )
            self._store.require_lock(names.night_lock(night))
            self._store.write(names.commit_file(commit.name), commit.to_json())
        except BaseException:
            self._sweep(self._log(), [entry.path for entry in entries])
            raise
        return commit

    def _write_object(self, name: str, table: pa.Table, last: Entry | None, *, night: date, run_id: str) -> Entry:
        """Write one table's immutable file, or take the one of the night's last commit when the bytes are the same."""
        with self._store.scratch(f"{names.OBJECTS}/{name}/{night.isoformat()}") as path:
            parquet.write(table, path)
            digest, size = parquet.sha256(path), path.stat().st_size
            if last is not None and last.sha256 == digest:
                return last
            relative = names.object_file(name, night, run_id, digest)
            self._store.place(path, relative, immutable=True)
        shape = parquet.columns(table.schema)
        return Entry(
            table=name,
            path=relative,
            rows=table.num_rows,
            bytes=size,
            sha256=digest,
            fingerprint=parquet.fingerprint(shape),
            columns=shape,
        )

    def _publish(self, commit: Commit, entries: Collection[Entry]) -> None:
        for entry in entries:
            try:
                self._store.publish(entry.path, names.published(entry.table, commit.night))
            except FileNotFoundError as error:
                raise LakeDamaged(
                    f"{self._store.address(entry.path)} is missing, though commit {commit.name} names it; restore it"
                ) from error

    def _sweep(self, now: Log, objects: Collection[str]) -> None:
        """Remove unfinished files, and those of `objects` that no commit names, as far as no live writer can need them."""
        named = now.objects()
        for path in self._store.abandoned([path for path in objects if path not in named]):
            log.warning("removed %s, left by a run that did not finish", self._store.address(path))
            self._store.remove(path)

    def _partition(self, commit: Commit, entry: Entry) -> Partition:
        relative = names.published(entry.table, commit.night) if commit.publish else entry.path
        return Partition(table=entry.table, night=commit.night, path=self._store.address(relative), rows=entry.rows)

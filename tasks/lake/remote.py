"""A lake behind a URL: S3 and its kin, or any file system that fsspec or pyarrow knows.

No rename is assumed and none is used: a finished local file is PUT whole, and publishing is a server-side copy, which
readers see whole or not at all. The limits, compared with a local directory:

- A night's lock is an object with its owner and a lease of 15 minutes, renewed while the run lives. After a crash the
  night is free when the lease has run out, not at once. Clocks of the machines must agree within some minutes.
- The lock is exact where the store has conditional PUT (AWS S3 and most of its kin, GCS, Azure); elsewhere two runs that
  start in the same second may both believe they hold it.
- There is no lock around a commit: runs of different nights may commit at the same time, which does no harm. Objects that
  no commit names are removed once they are a day old, because only their age tells that no writer still needs them.
- A file system that is not an object store (sftp, smb) may show readers a file that is half written.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, cast

from fsspec import AbstractFileSystem

from tasks.lake.errors import LakeDamaged, LakeMissing, LakeUnreachable, NightLocked, explained, reached

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=15)
OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "r2"})
ORPHAN_AGE = timedelta(days=1)
TIME_KEYS = ("LastModified", "last_modified", "updated", "mtime", "created")


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """Who holds a night, and until when (UTC) unless renewed."""

    token: str
    pid: int
    host: str
    run_id: str
    since: str
    until: str

    def __str__(self) -> str:
        return f"pid {self.pid}, host {self.host}, run_id {self.run_id or '-'}, since {self.since}, until {self.until}"


class RemoteStore:
    """The files of one lake on an fsspec file system."""

    def __init__(self, filesystem: AbstractFileSystem, path: str, url: str, *, lease: timedelta = LEASE) -> None:
        self.filesystem = filesystem
        self.root = url.rstrip("/")
        self._base = path.rstrip("/")
        self._lease = lease

    def address(self, relative: str) -> str:
        """What a reader opens: a URL."""
        return f"{self.root}/{relative}"

    def open(self, relative: str) -> BinaryIO:
        """A file opened for reading at any place."""
        with reached(self.address(relative)):
            return cast(BinaryIO, self.filesystem.open(self._path(relative), "rb"))

    def read(self, relative: str) -> bytes | None:
        """The bytes of a file, None where there is none."""
        with reached(self.address(relative)), suppress(FileNotFoundError, NotADirectoryError):
            return cast(bytes, self.filesystem.cat_file(self._path(relative)))
        return None

    def read_many(self, relatives: list[str]) -> dict[str, bytes]:
        """The bytes of files that exist, fetched at the same time where the file system can."""
        with reached(self.root):
            found = self.filesystem.cat([self._path(relative) for relative in relatives]) if relatives else {}
        return {self._relative(path): data for path, data in found.items()}

    def find(self, prefix: str) -> list[str]:
        """Every file below the folder `prefix`."""
        return list(self._infos(prefix))

    @contextmanager
    def scratch(self, target: str) -> Iterator[Path]:
        """A fresh local path to write to before `place`; removed at the end."""
        with tempfile.TemporaryDirectory(prefix="lake-") as folder, explained(f"{folder} (for {self.address(target)})"):
            yield Path(folder, "file")

    def place(self, scratch: Path, relative: str, *, immutable: bool = False) -> None:
        """Put the finished local file `scratch` at `relative`. Nothing guards an `immutable` one but its name."""
        with explained(self.address(relative)):
            self._in_folder(relative, lambda path: self.filesystem.put_file(str(scratch), path))

    def write(self, relative: str, data: bytes) -> None:
        """Write a small file."""
        with self.scratch(relative) as path:
            path.write_bytes(data)
            self.place(path, relative)

    def publish(self, source: str, target: str) -> None:
        """Copy `source` to `target` inside the store."""
        with explained(self.address(target)), reached(self.address(source)):
            if not self.filesystem.exists(self._path(source)):
                raise FileNotFoundError(self.address(source))
            self._in_folder(target, lambda path: self.filesystem.cp_file(self._path(source), path))

    def unpublished(self, sources: Mapping[str, str]) -> list[str]:
        """The targets, of target -> source, that do not hold their source: told by size and time from one listing."""
        there = self._infos("")
        return [target for target, source in sources.items() if not self._same(there.get(source), there.get(target))]

    def remove(self, relative: str) -> None:
        """Remove a file, if it is there."""
        with explained(self.address(relative)), reached(self.address(relative)), suppress(FileNotFoundError):
            self.filesystem.rm_file(self._path(relative))

    def abandoned(self, orphans: list[str]) -> list[str]:
        """Of the immutable files that no commit names, those that are a day old."""
        infos = self._infos("")
        limit = datetime.now(UTC) - ORPHAN_AGE
        times = {path: _time(infos[path]) for path in orphans if path in infos}
        return [path for path, time in times.items() if time is not None and time < limit]

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Nothing: see the limits above."""
        yield

    @contextmanager
    def lock(self, relative: str, *, night: str, run_id: str, now: datetime) -> Iterator[None]:
        """Hold the lease of a night, renewed by a thread, or raise `NightLocked` naming who holds it."""
        mine = Lease(
            token=uuid.uuid4().hex,
            pid=os.getpid(),
            host=socket.gethostname(),
            run_id=run_id,
            since=now.isoformat(),
            until=(now + self._lease).isoformat(),
        )
        self._take(relative, mine, night=night, now=now)
        ended = threading.Event()
        renewer = threading.Thread(target=self._renew, args=(relative, mine, ended), name=f"lease {night}", daemon=True)
        renewer.start()
        try:
            yield
        finally:
            ended.set()
            renewer.join()
            if (held := self._holder(relative)) is not None and held.token == mine.token:
                self.remove(relative)

    def _take(self, relative: str, mine: Lease, *, night: str, now: datetime) -> None:
        held = self._holder(relative)
        if held is not None and datetime.fromisoformat(held.until) <= now:
            log.warning("the lease of night %s has run out, taking it over from %s", night, held)
            self.remove(relative)
        with explained(self.address(relative)), suppress(FileExistsError):
            self._in_folder(relative, lambda path: self.filesystem.pipe_file(path, _encoded(mine), mode="create"))
        held = self._holder(relative)
        if held is None or held.token != mine.token:
            raise NightLocked(
                f"night {night} is being written by another run ({held}); wait for it or stop it: the lock "
                f"{self.address(relative)} is free when that run ends, or once its lease has run out"
            )

    def _renew(self, relative: str, mine: Lease, ended: threading.Event) -> None:
        while not ended.wait(self._lease.total_seconds() / 3):
            try:
                held = self._holder(relative)
                if held is None or held.token != mine.token:
                    log.error("the lease %s was lost to %s", self.address(relative), held)
                    return
                until = (datetime.now(UTC) + self._lease).isoformat()
                self.filesystem.pipe_file(self._path(relative), _encoded(mine, until=until))
            except (OSError, LakeUnreachable) as error:
                log.warning("the lease %s could not be renewed yet: %s", self.address(relative), error)

    def _holder(self, relative: str) -> Lease | None:
        data = self.read(relative)
        try:
            return None if data is None else Lease(**json.loads(data))
        except (ValueError, TypeError) as error:
            raise LakeDamaged(f"the lock {self.address(relative)} cannot be read: {error}; remove it") from error

    def _infos(self, prefix: str) -> dict[str, Mapping[str, object]]:
        self.filesystem.invalidate_cache()
        found: Mapping[str, Mapping[str, object]] = {}
        with reached(self.address(prefix)), suppress(FileNotFoundError):
            found = self.filesystem.find(self._path(prefix), detail=True)
        return {self._relative(path): info for path, info in found.items()}

    def _same(self, source: Mapping[str, object] | None, target: Mapping[str, object] | None) -> bool:
        """True when `target` was copied from `source`: as large and younger; of the same second, by content."""
        if source is None or target is None or source["size"] != target["size"]:
            return False
        made, copied = _time(source), _time(target)
        if made is not None and copied is not None and made != copied:
            return copied > made
        return cast(bool, self.filesystem.cat_file(source["name"]) == self.filesystem.cat_file(target["name"]))

    def _in_folder(self, relative: str, write: Callable[[str], object]) -> None:
        """Call `write` with the path; where folders are real and this one is missing, make it and try again."""
        with reached(self.address(relative)):
            try:
                write(self._path(relative))
                return
            except FileNotFoundError as error:
                if not OBJECT_STORES.isdisjoint(_protocols(self.filesystem)):
                    raise LakeMissing(
                        f"there is no bucket for {self.address(relative)}: {error}; make it first"
                    ) from error
            self.filesystem.makedirs(self._path(relative).rpartition("/")[0], exist_ok=True)
            write(self._path(relative))

    def _path(self, relative: str) -> str:
        return f"{self._base}/{relative}".rstrip("/")

    def _relative(self, path: str) -> str:
        return path.removeprefix(self._base).removeprefix("/")


def _protocols(filesystem: AbstractFileSystem) -> tuple[str, ...]:
    """The schemes a file system answers to."""
    return (filesystem.protocol,) if isinstance(filesystem.protocol, str) else tuple(filesystem.protocol)


def _encoded(lease: Lease, **changed: str) -> bytes:
    return json.dumps(asdict(lease) | changed).encode()


def _time(info: Mapping[str, object]) -> datetime | None:
    """When the file system says that a file was made, UTC; None when it does not."""
    found = next((info[key] for key in TIME_KEYS if info.get(key) is not None), None)
    if isinstance(found, int | float):
        return datetime.fromtimestamp(found, UTC)
    if isinstance(found, str):
        found = datetime.fromisoformat(found)
    if not isinstance(found, datetime):
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)

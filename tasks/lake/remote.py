"""A lake behind a URL: S3 and its kin, or any file system that fsspec or pyarrow knows.

No rename is assumed and none is used: a finished local file is PUT whole, and publishing is a server-side copy, which
readers see whole or not at all. The limits, compared with a local directory:

- A night's lock is an object with its owner and a lease of 15 minutes, renewed while the run lives (`lease.py`). After a
  crash the night is free when the lease has run out, not at once. Clocks of the machines must agree within some minutes.
- There is no lock around a commit or a repair: runs of different nights may commit at the same time, which does no harm.
  What a repair does beside them, `Lake.repair` says. Objects that no commit names are removed once they are a day old,
  because only their age tells that no writer still needs them.
- A large file is uploaded in parts and becomes visible with the last of them. What a killed writer leaves of them (S3
  charges for it) is ended by a repair a day later.
- A file system that is not an object store (sftp, smb) may show readers a file that is half written.
- It needs Linux: what is about to be PUT is a file without a name, so that a killed process leaves none; /proc leads to it.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, cast

from fsspec import AbstractFileSystem

from tasks.lake.errors import LakeMissing, explained, reached, readable
from tasks.lake.lease import held, require_kept

log = logging.getLogger(__name__)

LEASE = timedelta(minutes=15)
OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "r2"})
ORPHAN_AGE = timedelta(days=1)
TIME_KEYS = ("LastModified", "last_modified", "updated", "mtime", "created")


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
        with readable(self.address(relative)):
            return cast(BinaryIO, self.filesystem.open(self._path(relative), "rb"))

    def read(self, relative: str) -> bytes | None:
        """The bytes of a file, None where there is none."""
        with readable(self.address(relative)), suppress(FileNotFoundError, NotADirectoryError):
            return cast(bytes, self.filesystem.cat_file(self._path(relative)))
        return None

    def read_many(self, relatives: list[str]) -> dict[str, bytes]:
        """The bytes of files that exist, fetched at the same time where the file system can."""
        with readable(self.root):
            found = self.filesystem.cat([self._path(relative) for relative in relatives]) if relatives else {}
        return {self._relative(path): data for path, data in found.items()}

    def find(self, prefix: str) -> list[str]:
        """Every file below the folder `prefix`."""
        return list(self._infos(prefix))

    @contextmanager
    def scratch(self, target: str) -> Iterator[Path]:
        """A fresh local path to write to before `place`: of a file without a name, which is gone with the block or the process."""
        with (
            explained(f"a temporary file in {tempfile.gettempdir()} (for {self.address(target)})"),
            tempfile.TemporaryFile() as file,
        ):
            yield Path(f"/proc/self/fd/{file.fileno()}")

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

    def end_uploads(self) -> list[str]:
        """On S3: end uploads in parts that were begun a day ago, and say of which files."""
        if not self._is_s3:
            return []
        bucket, key, _ = self.filesystem.split_path(self._base)
        prefix = f"{key}/" if key else ""
        try:
            with reached(self.root):
                found = self.filesystem.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix).get(
                    "Uploads", []
                )
                old = [one for one in found if one["Initiated"] < datetime.now(UTC) - ORPHAN_AGE]
                for one in old:
                    self.filesystem.call_s3(
                        "abort_multipart_upload", Bucket=bucket, Key=one["Key"], UploadId=one["UploadId"]
                    )
        except OSError as error:  # not allowed, or not known to this store: it costs space, and no night
            log.info("unfinished uploads to %s cannot be ended: %s", self.root, error)
            return []
        return [one["Key"].removeprefix(prefix) for one in old]

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Nothing: see the limits above."""
        yield

    @contextmanager
    def lock(self, relative: str, *, night: str, run_id: str, now: datetime) -> Iterator[None]:
        """Hold the lease of a night, renewed by a thread, or raise `NightLocked` naming who holds it."""
        with held(self, relative, night=night, run_id=run_id, now=now, length=self._lease):
            yield

    def require_lock(self, relative: str) -> None:
        """Raise `NightLocked` where a lease of this process was lost or is about to run out; it is lost to every instance of the process."""
        require_kept(self.address(relative))

    def tag(self, relative: str) -> str | None:
        """What a conditional PUT over the file as it is now must name; None where the store has no such PUT, or no such file."""
        if not self._is_s3:
            return None
        with readable(self.address(relative)), suppress(FileNotFoundError):
            return str(self.filesystem.info(self._path(relative))["ETag"])
        return None

    def create(self, relative: str, data: bytes) -> None:
        """Write a small file; raises an `OSError` where it is there already and the store can tell."""
        self._in_folder(relative, lambda path: self.filesystem.pipe_file(path, data, mode="create"))

    def replace(self, relative: str, data: bytes, *, tag: str | None) -> None:
        """Write a small file over the one of that tag; raises an `OSError` where that one is gone."""
        condition = {} if tag is None else {"IfMatch": tag}
        with reached(self.address(relative)):
            self.filesystem.pipe_file(self._path(relative), data, **condition)

    def _infos(self, prefix: str) -> dict[str, Mapping[str, object]]:
        self.filesystem.invalidate_cache()
        found: Mapping[str, Mapping[str, object]] = {}
        with readable(self.address(prefix)), suppress(FileNotFoundError):
            found = self.filesystem.find(self._path(prefix), detail=True)
        return {self._relative(path): info for path, info in found.items()}

    def _same(self, source: Mapping[str, object] | None, target: Mapping[str, object] | None) -> bool:
        """True when `target` was copied from `source`: as large, and with its tag or younger; of the same second, by content."""
        if source is None or target is None or source["size"] != target["size"]:
            return False
        if source.get("ETag") and source.get("ETag") == target.get("ETag"):
            return True
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

    @property
    def _is_s3(self) -> bool:
        return "s3" in _protocols(self.filesystem) and hasattr(self.filesystem, "call_s3")

    def _path(self, relative: str) -> str:
        return f"{self._base}/{relative}".rstrip("/")

    def _relative(self, path: str) -> str:
        return path.removeprefix(self._base).removeprefix("/")


def _protocols(filesystem: AbstractFileSystem) -> tuple[str, ...]:
    """The schemes a file system answers to."""
    return (filesystem.protocol,) if isinstance(filesystem.protocol, str) else tuple(filesystem.protocol)


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

"""A lake in a directory: write to `_tmp/`, fsync, rename; publish by hard link and `os.replace`; lock by `fcntl.flock`.

A killed process frees its locks at once, because the kernel holds them. Needs a file system with atomic rename inside
it and with flock (any local one; NFS from version 4). Where hard links are not possible, publishing copies the file.
"""

from __future__ import annotations

import errno
import fcntl
import filecmp
import json
import logging
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import psutil
from fsspec.implementations.local import LocalFileSystem

from tasks import processes
from tasks.lake.errors import NightLocked, explained
from tasks.lake.names import LOCKS, TEMPORARY

log = logging.getLogger(__name__)

NO_LINKS = frozenset({errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})
READ_ONLY_FILE = 0o444
OTHER_HOST_SECONDS = 86_400.0


class LocalStore:
    """The files of one lake on a local file system."""

    def __init__(self, root: Path) -> None:
        self.base = root.absolute()
        self.root = str(self.base)
        self.filesystem = LocalFileSystem(auto_mkdir=True)

    def address(self, relative: str) -> str:
        """What a reader opens."""
        return str(self.base / relative)

    def open(self, relative: str) -> BinaryIO:
        """A file opened for reading at any place."""
        return (self.base / relative).open("rb")

    def read(self, relative: str) -> bytes | None:
        """The bytes of a file, None where there is none."""
        try:
            return (self.base / relative).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read_many(self, relatives: list[str]) -> dict[str, bytes]:
        """The bytes of files that exist."""
        return {relative: (self.base / relative).read_bytes() for relative in relatives}

    def find(self, prefix: str) -> list[str]:
        """Every file below the folder `prefix`."""
        return [
            Path(folder, name).relative_to(self.base).as_posix()
            for folder, _, files in os.walk(self.base / prefix)
            for name in files
        ]

    @contextmanager
    def scratch(self, target: str) -> Iterator[Path]:
        """A fresh path on the lake's file system to write to before `place`; what is left there at the end is removed."""
        path = self.base / TEMPORARY / f"{uuid.uuid4().hex}.{os.getpid()}.{socket.gethostname()}"
        with explained(self.address(target)):
            _make_folder(path.parent)
            try:
                yield path
            finally:
                path.unlink(missing_ok=True)

    def place(self, scratch: Path, relative: str, *, immutable: bool = False) -> None:
        """Make the finished file `scratch` the file `relative`, atomically and durably."""
        target = self.base / relative
        with explained(str(target)):
            with scratch.open("rb") as file:
                os.fsync(file.fileno())
            if immutable:
                scratch.chmod(READ_ONLY_FILE)
            _make_folder(target.parent)
            scratch.replace(target)
            _sync_folder(target.parent)

    def write(self, relative: str, data: bytes) -> None:
        """Write a small file, atomically and durably."""
        with self.scratch(relative) as path:
            path.write_bytes(data)
            self.place(path, relative)

    def publish(self, source: str, target: str) -> None:
        """Make `target` the same file as `source`, atomically: a reader sees the old or the new one, never none."""
        with self.scratch(target) as path:
            try:
                path.hardlink_to(self.base / source)
            except OSError as error:
                if error.errno not in NO_LINKS:
                    raise
                shutil.copyfile(self.base / source, path)
            self.place(path, target)

    def unpublished(self, sources: Mapping[str, str]) -> list[str]:
        """The targets, of target -> source, that are not the same file as their source, nor hold the same bytes."""
        return [target for target, source in sources.items() if not self._same(self.base / source, self.base / target)]

    @staticmethod
    def _same(source: Path, target: Path) -> bool:
        try:
            return source.samefile(target) or filecmp.cmp(source, target, shallow=False)
        except FileNotFoundError:
            return False

    def remove(self, relative: str) -> None:
        """Remove a file, if it is there."""
        with explained(self.address(relative)):
            (self.base / relative).unlink(missing_ok=True)

    def abandoned(self, orphans: list[str]) -> list[str]:
        """All `orphans`, for inside `writing` nobody else commits; and unfinished files whose process is gone."""
        return [*orphans, *(path for path in self.find(TEMPORARY) if self._left_behind(path))]

    def _left_behind(self, relative: str) -> bool:
        """True when the writer is gone, also where nobody has asked how it ended; of another host's files, those a day old."""
        _, pid, host = Path(relative).name.split(".", 2)
        try:
            if host != socket.gethostname():
                return time.time() - (self.base / relative).stat().st_mtime > OTHER_HOST_SECONDS
            os.kill(int(pid), 0)  # of a thread, or of one that nobody has asked yet how it ended, it says nothing
            return not (psutil.pid_exists(int(pid)) and processes.lives(psutil.Process(int(pid))))
        except (ProcessLookupError, psutil.NoSuchProcess):
            return True
        except (FileNotFoundError, PermissionError):  # finished meanwhile; alive, of another user
            return False

    def end_uploads(self) -> list[str]:
        """None: nothing is uploaded."""
        return []

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One commit or repair at a time in the whole lake; waits for its turn."""
        with self._flock("commit", fcntl.LOCK_EX):
            yield

    @contextmanager
    def lock(self, relative: str, *, night: str, run_id: str, now: datetime) -> Iterator[None]:
        """Hold the lock of a night, or raise `NightLocked` naming who holds it."""
        with ExitStack() as stack:
            try:
                file = stack.enter_context(
                    self._flock(relative.removeprefix(f"{LOCKS}/"), fcntl.LOCK_EX | fcntl.LOCK_NB)
                )
            except BlockingIOError:
                raise NightLocked(
                    f"night {night} is being written by another run ({self._holder(relative)}); wait for it or stop it: "
                    f"the lock {self.address(relative)} frees itself when that process ends"
                ) from None
            owner = {"pid": os.getpid(), "host": socket.gethostname(), "run_id": run_id, "since": now.isoformat()}
            with explained(self.address(relative)):
                os.truncate(file, 0)
                os.pwrite(file, json.dumps(owner).encode(), 0)
            yield

    def require_lock(self, relative: str) -> None:
        """Nothing: the kernel takes no lock away."""

    def _holder(self, relative: str) -> str:
        try:
            owner = json.loads(self.read(relative) or b"")
        except ValueError:
            return "it has not written its name yet"
        return ", ".join(f"{key} {value}" for key, value in owner.items() if value)

    @contextmanager
    def _flock(self, name: str, how: int) -> Iterator[int]:
        path = self.base / LOCKS / name
        with explained(str(path)):
            _make_folder(path.parent)
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(file, how)
            yield file
        finally:
            os.close(file)


def _make_folder(folder: Path) -> None:
    """Make `folder` and those above it, so that they survive a power cut too."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """Make a new name inside `folder` survive a power cut."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)

"""What a lake asks of the place it lies in. `local.py` is a directory, `remote.py` any fsspec or pyarrow URL."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

import pyarrow as pa
from fsspec import AbstractFileSystem
from fsspec.core import split_protocol, url_to_fs
from fsspec.implementations.arrow import ArrowFSWrapper
from pyarrow.fs import FileSystem

from data_contracts.errors import Fatal
from tasks.lake.local import LocalStore
from tasks.lake.remote import RemoteStore


class Store(Protocol):
    """The files of one lake. Paths are relative to its root, with forward slashes; every write is all or nothing."""

    root: str
    filesystem: AbstractFileSystem

    def address(self, relative: str) -> str:
        """What a reader opens: an absolute path, or a URL."""

    def open(self, relative: str) -> BinaryIO:
        """A file opened for reading at any place."""

    def read(self, relative: str) -> bytes | None:
        """The bytes of a file, None where there is none."""

    def read_many(self, relatives: list[str]) -> dict[str, bytes]:
        """The bytes of files that exist."""

    def find(self, prefix: str) -> list[str]:
        """Every file below the folder `prefix`."""

    def scratch(self, target: str) -> AbstractContextManager[Path]:
        """A fresh local path to write to before `place`; removed at the end."""

    def place(self, scratch: Path, relative: str, *, immutable: bool = False) -> None:
        """Make the finished local file `scratch` the file `relative`."""

    def write(self, relative: str, data: bytes) -> None:
        """Write a small file."""

    def publish(self, source: str, target: str) -> None:
        """Make `target` hold the bytes of `source`."""

    def unpublished(self, sources: Mapping[str, str]) -> list[str]:
        """The targets, of target -> source, that do not hold the bytes of their source."""

    def remove(self, relative: str) -> None:
        """Remove a file, if it is there."""

    def abandoned(self, orphans: list[str]) -> list[str]:
        """What no live writer needs: of the immutable files that no commit names (`orphans`), and of unfinished ones."""

    def end_uploads(self) -> list[str]:
        """End uploads in parts that no live writer can still be at, and say of which files."""

    def writing(self) -> AbstractContextManager[None]:
        """Around a commit or repair: where the store can, only one at a time."""

    def lock(self, relative: str, *, night: str, run_id: str, now: datetime) -> AbstractContextManager[None]:
        """Hold the lock of a night, or raise `NightLocked`."""

    def require_lock(self, relative: str) -> None:
        """Raise `NightLocked` where this process holds that lock and another may have taken it meanwhile."""


def open_store(url: str) -> Store:
    """The store at a local path, a `file://` URL or any other URL that fsspec or pyarrow knows."""
    protocol, path = split_protocol(url)
    if protocol in (None, "file", "local"):
        return LocalStore(Path(path).expanduser())
    try:
        filesystem, inside = url_to_fs(url, use_listings_cache=False)  # others write to the lake too
    except (ImportError, ValueError) as error:
        filesystem, inside = _by_arrow(url, error)
        return RemoteStore(filesystem, inside, url)
    return RemoteStore(filesystem, inside, filesystem.unstrip_protocol(inside))


def _by_arrow(url: str, reason: Exception) -> tuple[AbstractFileSystem, str]:
    """pyarrow's own file system for a URL that fsspec has no driver for."""
    try:
        filesystem, path = FileSystem.from_uri(url)
    except (pa.ArrowException, OSError) as error:
        raise Fatal(
            f"no file system for {url}: fsspec says '{reason}', pyarrow says '{error}'; allowed are a local path "
            "and any URL that one of the two can open"
        ) from error
    return ArrowFSWrapper(filesystem), path

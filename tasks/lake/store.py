"""What a lake asks of the place it lies in. `local.py` is a directory, `remote.py` any fsspec or pyarrow URL."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from fsspec import AbstractFileSystem
from fsspec.core import split_protocol

from tasks.lake.local import LocalStore


class Store(Protocol):
    """The files of one lake. Paths are relative to its root, with forward slashes; every write is all or nothing."""

    root: str
    filesystem: AbstractFileSystem

    def address(self, relative: str) -> str:
        """What a reader opens: an absolute path, or a URL."""

    def read(self, relative: str) -> bytes | None:
        """The bytes of a file, None where there is none."""

    def read_many(self, relatives: list[str]) -> dict[str, bytes]:
        """The bytes of files that exist."""

    def find(self, prefix: str) -> dict[str, int]:
        """Every file below the folder `prefix`, with its size in bytes."""

    def scratch(self, target: str) -> AbstractContextManager[Path]:
        """A fresh local path to write to before `place`; removed at the end."""

    def place(self, scratch: Path, relative: str, *, immutable: bool = False) -> None:
        """Make the finished local file `scratch` the file `relative`."""

    def write(self, relative: str, data: bytes) -> None:
        """Write a small file."""

    def publish(self, source: str, target: str) -> None:
        """Make `target` hold the bytes of `source`."""

    def is_published(self, source: str, target: str) -> bool:
        """True when `target` is known to hold the bytes of `source`."""

    def remove(self, relative: str) -> None:
        """Remove a file, if it is there."""

    def leftovers(self) -> list[str]:
        """Unfinished files of processes that are gone."""

    def writing(self) -> AbstractContextManager[bool]:
        """Around a commit or repair; yields True when leftovers of dead runs may be removed inside."""

    def lock(self, relative: str, *, night: str, run_id: str, now: datetime) -> AbstractContextManager[None]:
        """Hold the lock of a night, or raise `NightLocked`."""


def open_store(url: str) -> Store:
    """The store at a local path, a `file://` URL or any other URL that fsspec or pyarrow knows."""
    protocol, path = split_protocol(url)
    if protocol in (None, "file", "local"):
        return LocalStore(Path(path).expanduser())
    raise NotImplementedError(url)

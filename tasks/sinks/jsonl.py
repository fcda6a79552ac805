"""Appends each alert as one JSON line to a file: for machines, for `tail -f`, for whatever reads JSON lines.

Every alert that is due is written, without a cap. A key that stands in the file already is not written again, so a try that died half way
may be repeated; `arrived` answers by reading the file. A local file is appended to under a lock, flushed to the disk, and a line torn by a
crash is cut off first. On a lake or object store the whole file is replaced atomically.

Not covered: rotating the file; whoever moves it away gets a new one.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import fsspec

from tasks.lake import FileMissing, Lake
from tasks.sinks import Digest, Sink, SinkFailed


@dataclass(frozen=True, kw_only=True)
class Config:
    """Where the lines go.

    Attributes:
        path: an absolute local path, a URL that fsspec knows, or a path inside the lake, in a folder that begins with `_`.
    """

    path: str = "_alerts/alerts.jsonl"


def connect(config: Config, lake: Lake) -> list[Sink]:
    """One file."""
    if "://" in config.path:
        return [_Replaced(_Remote(config.path))]
    if Path(config.path).is_absolute():
        return [_Appended(Path(config.path))]
    return [_Replaced(_InLake(lake, config.path))]


class _Appended:
    """A local file."""

    name = "jsonl"

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, digest: Digest) -> None:
        """Append the alerts whose keys are not there yet."""
        with self._opened() as file:
            whole, keys = _lines(self._path.read_bytes())
            os.ftruncate(file, len(whole))
            data = _new_lines(digest, keys)
            os.lseek(file, 0, os.SEEK_END)
            while data:
                data = data[os.write(file, data) :]
            os.fsync(file)

    def arrived(self, alert_keys: Collection[str]) -> frozenset[str]:
        """The keys that stand in the file."""
        with self._opened():
            return frozenset(alert_keys) & _lines(self._path.read_bytes())[1]

    @contextmanager
    def _opened(self) -> Iterator[int]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield file
            finally:
                os.close(file)
        except OSError as error:
            raise SinkFailed(
                f"jsonl: {self._path} cannot be written: {error.strerror}; allowed is a writable file"
            ) from error


class _Replaced:
    """A file that can only be replaced as a whole."""

    name = "jsonl"

    def __init__(self, place: _InLake | _Remote) -> None:
        self._place = place

    def send(self, digest: Digest) -> None:
        """Write the file anew with the alerts whose keys are not there yet."""
        whole, keys = _lines(self._place.read())
        if new := _new_lines(digest, keys):
            self._place.write(whole + new)

    def arrived(self, alert_keys: Collection[str]) -> frozenset[str]:
        """The keys that stand in the file."""
        return frozenset(alert_keys) & _lines(self._place.read())[1]


@dataclass(frozen=True)
class _InLake:
    lake: Lake
    path: str

    def read(self) -> bytes:
        try:
            return self.lake.read_file(self.path)
        except FileMissing:  # not written yet; a file that cannot be read just now must not be written over
            return b""

    def write(self, data: bytes) -> None:
        self.lake.write_file(self.path, data)


@dataclass(frozen=True)
class _Remote:
    url: str

    def read(self) -> bytes:
        filesystem, path = fsspec.core.url_to_fs(self.url)
        try:
            return bytes(filesystem.cat_file(path))
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise SinkFailed(f"jsonl: the file at the URL cannot be read: {type(error).__name__}") from None

    def write(self, data: bytes) -> None:
        filesystem, path = fsspec.core.url_to_fs(self.url)
        try:
            filesystem.makedirs(filesystem._parent(path), exist_ok=True)
            filesystem.pipe_file(path, data)
        except OSError as error:
            raise SinkFailed(f"jsonl: the file at the URL cannot be written: {type(error).__name__}") from None


def _lines(data: bytes) -> tuple[bytes, frozenset[str]]:
    """(the whole lines, the alert keys in them); a last line without its end was torn by a crash and is left out."""
    whole = data[: data.rfind(b"\n") + 1]
    return whole, frozenset(key for line in whole.splitlines() if (key := _key(line)))


def _key(line: bytes) -> str | None:
    """The alert's key; None for a line that is no alert of ours."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    key = row.get("alert_key") if isinstance(row, dict) else None
    return key if isinstance(key, str) else None


def _new_lines(digest: Digest, known: Collection[str]) -> bytes:
    return b"".join(alert.model_dump_json().encode() + b"\n" for alert in digest.alerts if alert.alert_key not in known)

"""The documents a source's location stands for: downloads, files, directories, globs, gzipped or not, each with a cap.

Every source reads streams of plain bytes from here, so that none of them has to know where bytes come from, what gzip is, or how a file
of 200 MB is refused before it fills the memory.

Not covered: sub-directories (a glob with `**` reaches them), zip and tar, object stores.
"""

from __future__ import annotations

import glob
import gzip
import io
import logging
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from data_contracts.errors import Retriable, Skippable
from tasks.fetch import Fetcher
from tasks.hosts import redacted
from tasks.sources import Delivered, Item, SourceConfig, SourceFailed, Unchanged, Unreadable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

log = logging.getLogger(__name__)

GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, kw_only=True)
class Document:
    """One document; `open` gives its bytes from the start, unpacked and capped, as often as it is called.

    Attributes:
        origin: what the rows' `origin` and messages say: the path as found, or the URL without its secrets (`tasks.hosts.redacted`).
        open: raises `SourceFailed` when it, or a read, passes the cap or meets broken gzip.
        data: the bytes as downloaded; None for a local file, which stays where it is.
        content_type: as the server said; None for a local file.
    """

    origin: str
    open: Callable[[], io.BufferedReader]
    data: bytes | None = None
    content_type: str | None = None


def read_each(
    config: SourceConfig,
    fetcher: Fetcher,
    parse: Callable[[Document, SourceConfig], Iterator[Delivered]],
    *,
    suffixes: tuple[str, ...],
) -> Iterator[Item]:
    """The rows of every document of the location; one that cannot be read becomes an `Unreadable`, and the next one is read.

    Args:
        parse: the rows of one document; raises `SourceFailed` when it cannot go on.
        suffixes: the file names taken from a directory, each also with `.gz`.
    """
    for document in _documents(config, fetcher, suffixes):
        if not isinstance(document, Document):
            yield document
            continue
        try:
            yield from parse(document, config)
        except SourceFailed as error:
            yield Unreadable(origin=document.origin, error=str(error), data=document.data)
        except OSError as error:
            yield Unreadable(
                origin=document.origin, error=f"{document.origin}: cannot be read ({error})", data=document.data
            )


def _documents(
    config: SourceConfig, fetcher: Fetcher, suffixes: tuple[str, ...]
) -> Iterator[Document | Unreadable | Unchanged]:
    location = config.location
    if "://" not in location:
        try:
            paths = _paths(location, suffixes)
        except SourceFailed as error:
            yield Unreadable(origin=location, error=str(error))
            return
        for path in paths:
            yield Document(
                origin=path.as_posix(),
                open=partial(_open, path.as_posix(), partial(io.FileIO, path), config.max_bytes),
            )
        return
    origin = redacted(location)
    try:
        download = fetcher.get(location)
    except (Retriable, Skippable) as error:
        yield Unreadable(origin=origin, error=str(error), busy=isinstance(error, Retriable))
        return
    if download.unchanged:
        yield Unchanged(origin=origin)
        return
    yield Document(
        origin=origin,
        open=partial(_open, origin, partial(io.BytesIO, download.data), config.max_bytes),
        data=download.data,
        content_type=download.content_type,
    )


def _paths(location: str, suffixes: tuple[str, ...]) -> list[Path]:
    """The files of a location, sorted. A place that is not there is an error; a place that is empty is a quiet night."""
    path = Path(location)
    if path.is_file():
        return [path]
    if path.is_dir():
        wanted = tuple(suffix + packed for suffix in suffixes for packed in ("", ".gz"))
        found = [
            file for file in path.iterdir() if file.name.lower().endswith(wanted) and not file.name.startswith(".")
        ]
        what = f"files {', '.join(wanted)}"
    elif glob.has_magic(location):
        fixed = Path(*takewhile(lambda part: not glob.has_magic(part), path.parts))
        if not fixed.is_dir():
            raise SourceFailed(f"location {location!r}: there is no directory {fixed.as_posix()!r} to look in")
        pattern = Path(*path.parts[len(fixed.parts) :]).as_posix()
        found, what = [file for file in fixed.glob(pattern) if not file.name.startswith(".")], "matching files"
    else:
        raise SourceFailed(
            f"location {location!r}: no such file or directory; allowed is a URL, a file, a directory or a glob"
        )
    files = sorted(file for file in found if file.is_file())
    if not files:
        log.warning("location %r: no %s", location, what)
    return files


def _open(origin: str, opened: Callable[[], io.RawIOBase | io.BytesIO], max_bytes: int) -> io.BufferedReader:
    file = opened()
    packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    file.seek(0)
    return io.BufferedReader(_Capped(file, origin, max_bytes, packed=packed))


class _Capped(io.RawIOBase):
    """A stream that refuses to give more than `max_bytes`, and says in our words when it is broken."""

    def __init__(self, below: io.RawIOBase | io.BytesIO, origin: str, max_bytes: int, *, packed: bool) -> None:
        self.below, self.origin, self.max_bytes = below, origin, max_bytes
        self.file = gzip.GzipFile(fileobj=below) if packed else below
        self.given = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill `buffer` with what comes next; 0 at the end."""
        view = memoryview(buffer)
        try:
            data = self.file.read(len(view)) or b""
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise SourceFailed(f"{self.origin}: broken gzip after {self.given} bytes ({error})") from error
        view[: len(data)] = data
        self.given += len(data)
        if self.given > self.max_bytes:
            raise SourceFailed(f"{self.origin}: larger than {self.max_bytes} bytes, the `max_bytes` of this source")
        return len(data)

    def close(self) -> None:
        """Close the file below too."""
        self.below.close()  # a GzipFile leaves the file below it open
        super().close()

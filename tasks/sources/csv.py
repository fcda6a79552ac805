"""Rows of CSV files, with a header or without: one bad line costs one line.

The standard library's reader in strict mode, line by line, so that a row with too many columns, a quote that never closes or a giant
field is handed on as a bad row with its text, and the next line is read as if nothing had happened. What decides that a row is bad: a
number of columns other than the first row's, quoting that RFC 4180 does not allow, or a field above `FIELD_CHARACTERS`.

A file in another encoding is refused whole before its first row is handed on: half a file in UTF-8 and half in question marks is worse
than none. NUL characters are read; normalising takes them out.

Not covered: comment lines, quoting by backslash, several tables in one file.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from tasks.documents import Document, read_each
from tasks.fetch import Fetcher
from tasks.sources import Delivered, Item, SourceConfig, SourceFailed

log = logging.getLogger(__name__)

SUFFIXES = (".csv", ".tsv", ".txt")
FIELD_CHARACTERS = 1 << 20
CHUNK_BYTES = 1 << 20
Places = dict[str, int]


def read(config: SourceConfig, fetcher: Fetcher) -> Iterator[Item]:
    """The rows of every CSV document of the location."""
    return read_each(config, fetcher, parse, suffixes=SUFFIXES)


def parse(document: Document, config: SourceConfig) -> Iterator[Delivered]:
    """The rows of one document, in order; `position` counts its lines from 0, a header included."""
    encoding = _checked_encoding(document, config)
    with io.TextIOWrapper(document.open(), encoding=encoding, newline="") as stream:
        records = _records(stream, config.delimiter)
        first = next((record for record in records if record.cells or record.problem), None)
        if first is None:
            return
        places, width = _places(first, config, document.origin), len(first.cells)
        names = first.cells if _is_header(first, config, places) else None
        if names is None:
            yield _delivered(first, document.origin, places, width, None)
        else:
            log.info("%s: line %d is taken for the header %s", document.origin, first.position, names)
        for record in records:
            if record.cells or record.problem:
                yield _delivered(record, document.origin, places, width, names)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Record:
    """One record: its cells, or its text and what is wrong with it. A blank line has neither."""

    position: int
    cells: list[str]
    text: str = ""
    problem: str | None = None


class _Lines:
    """Lines that can be put back, so that reading can start again behind a line that spoiled those after it."""

    def __init__(self, stream: Iterator[str]) -> None:
        self.stream = stream
        self.ahead: deque[str] = deque()
        self.taken: list[str] = []
        self.characters = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.characters > FIELD_CHARACTERS and self.taken:
            raise csv.Error(f"the record is not closed after {FIELD_CHARACTERS} characters")
        line = self.ahead.popleft() if self.ahead else next(self.stream)
        self.taken.append(line)
        self.characters += len(line)
        return line

    def start_record(self) -> None:
        """Forget the lines taken so far."""
        self.taken.clear()
        self.characters = 0

    def put_back_all_but_first(self) -> str:
        """Give the lines of the present record back to be read again, but for the first, which is returned."""
        first, *others = self.taken
        self.ahead.extendleft(reversed(others))
        self.taken = [first]
        return first


def _records(stream: Iterator[str], delimiter: str) -> Iterator[_Record]:
    csv.field_size_limit(FIELD_CHARACTERS)  # of the whole process; the library knows no other way
    lines = _Lines(stream)
    position = 0
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.start_record()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            text = lines.put_back_all_but_first().rstrip("\r\n")
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            yield _Record(position=position, cells=[], text=text, problem=f"line {position}: {error}")
        else:
            yield _Record(position=position, cells=cells, text="" if cells else "".join(lines.taken))
        position += len(lines.taken)


def _delivered(record: _Record, origin: str, places: Places, width: int, names: list[str] | None) -> Delivered:
    cells = record.cells
    problem = record.problem
    if problem is None and len(cells) != width:
        problem = f"line {record.position}: {len(cells)} columns; the first row has {width}"
    if problem is not None:
        payload = json.dumps(cells, ensure_ascii=False) if cells else record.text
        return Delivered(origin=origin, position=record.position, payload=payload, parse_error=problem)
    return Delivered(
        origin=origin,
        position=record.position,
        payload=json.dumps(dict(zip(names, cells, strict=True)) if names else cells, ensure_ascii=False),
        url=cells[places["url"]] if "url" in places else None,
        title=cells[places["title"]] if "title" in places else None,
        body=cells[places["body"]] if "body" in places else None,
        published_text=cells[places["published"]] if "published" in places else None,
    )


def _places(first: _Record, config: SourceConfig, origin: str) -> Places:
    """Logical name -> column number."""
    wanted: dict[str, str | int] = (
        dict(config.fields) if config.fields else {name: name for name in ("url", "title", "body", "published")}
    )
    names = [_plain(cell) for cell in first.cells]
    places: Places = {}
    for logical, column in wanted.items():
        if isinstance(column, int) and 0 <= column < len(names):
            places[logical] = column
        elif isinstance(column, str) and _plain(column) in names:
            places[logical] = names.index(_plain(column))
        elif config.fields:
            raise SourceFailed(
                f"{origin}: `fields.{logical}` is {column!r}; the first row has {len(names)} columns: {first.cells!r:.300}. "
                "Give a column's name, or its number from 0 where there is no header"
            )
    if not {"title", "body"} & set(places):
        raise SourceFailed(f"{origin}: no column for title or body in {first.cells!r:.300}; name them in `fields`")
    return places


def _is_header(first: _Record, config: SourceConfig, places: Places) -> bool:
    if config.header != "auto":
        return config.header
    by_name = any(isinstance(column, str) for column in config.fields.values()) or not config.fields
    published = first.cells[places["published"]] if "published" in places else "0"
    return by_name or not any(character.isdigit() for character in published)


def _plain(name: str) -> str:
    return name.strip().casefold()


def _checked_encoding(document: Document, config: SourceConfig) -> str:
    """The codec to read with, after one pass over the whole document with it."""
    encoding = config.encoding or "utf-8-sig"
    decoder = codecs.getincrementaldecoder(encoding)()
    offset = 0
    with document.open() as stream:
        while True:
            chunk = stream.read(CHUNK_BYTES)
            pending = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                at = offset - pending + error.start
                raise SourceFailed(
                    f"{document.origin}: byte {at} (0x{error.object[error.start]:02x}) is not {config.encoding or 'UTF-8'} ({error.reason}); "
                    "set `encoding` of the source, for example latin-1 or windows-1252"
                ) from error
            if not chunk:
                return encoding
            offset += len(chunk)

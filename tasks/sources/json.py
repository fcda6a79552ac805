"""Rows of JSON: an array of objects, JSON lines, or an array inside an object; which of them is seen from the text.

An array is streamed (ijson), so memory does not grow with it, and an array cut in the middle gives its whole objects and one bad row that
says where it broke. Of JSON lines, a bad line is one bad row and the next is read. `fields` are dotted paths (`author.name`,
`dates.0`); a key that holds a dot is found too. `fields.items` names the array inside an object (`response.articles`).

Text in another encoding than UTF-8 needs `encoding`; without it a line that is not UTF-8 is a bad row, and an array stops there.

Not covered: NaN and Infinity inside arrays (they are not JSON; in lines they are read as null), comments.
"""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Protocol

import ijson

from tasks.documents import Document, read_each
from tasks.fetch import Fetcher
from tasks.sources import Delivered, Item, SourceConfig, SourceFailed

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

SUFFIXES = (".json", ".jsonl", ".ndjson")
LOGICAL = ("url", "title", "body", "published")
UTF8_BOM = b"\xef\xbb\xbf"
HEAD_BYTES = 1 << 16
Value = object  # what JSON holds: None, bool, int, float, str, list, dict


class Stream(Protocol):
    """A buffered stream of bytes."""

    def peek(self, size: int = 0, /) -> bytes:
        """What comes next, without moving on."""

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes."""

    def readline(self, size: int | None = -1, /) -> bytes:
        """The next line with its end."""


def read(config: SourceConfig, fetcher: Fetcher) -> Iterator[Item]:
    """The rows of every JSON document of the location."""
    return read_each(config, fetcher, parse, suffixes=SUFFIXES)


def parse(document: Document, config: SourceConfig) -> Iterator[Delivered]:
    """The rows of one document, in order; `position` is the number of the line or of the array's entry, from 0."""
    with document.open() as raw:
        recoded = _Recoded(raw, config.encoding, document.origin) if config.encoding else None
        stream: Stream = io.BufferedReader(recoded, HEAD_BYTES) if recoded else raw
        text = _skip_blank(stream)
        if not text:
            return
        if text[:1] not in (b"[", b"{"):
            raise SourceFailed(
                f"{document.origin}: not JSON; it begins with {text[:60]!r}, allowed are an array, an object or JSON lines"
            )
        items = str(config.fields.get("items", ""))
        if items:
            yield from _array(stream, f"{items}.item", document.origin, config)
        elif text[:1] == b"[":
            yield from _array(stream, "item", document.origin, config)
        elif text.split(b"\n", 1)[0].strip() == b"{":
            yield from _array(stream, "", document.origin, config)
        else:
            yield from _lines(stream, document.origin, config)


def _skip_blank(stream: Stream) -> bytes:
    """Move past a byte-order mark and white space; what comes next, empty at the end."""
    if stream.peek(len(UTF8_BOM)).startswith(UTF8_BOM):
        stream.read(len(UTF8_BOM))
    while (head := stream.peek(HEAD_BYTES)) and not head.lstrip():
        stream.read(len(head))
    stream.read(len(head) - len(head.lstrip()))
    return stream.peek(HEAD_BYTES)


def _array(stream: Stream, prefix: str, origin: str, config: SourceConfig) -> Iterator[Delivered]:
    counted = _Counted(stream)
    position = 0
    try:
        for value in ijson.items(counted, prefix, use_float=True, multiple_values=not prefix):
            yield _row(value, None, origin, position, config)
            position += 1
    except (ijson.JSONError, UnicodeDecodeError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300]
        broken = f"entry {position}: the JSON breaks off or is broken, near byte {counted.given}: {reason}"
        yield Delivered(origin=origin, position=position, parse_error=broken)


def _lines(stream: Stream, origin: str, config: SourceConfig) -> Iterator[Delivered]:
    position = -1
    while line := stream.readline():
        position += 1
        text = line.decode(errors="replace").strip()
        if not text:
            continue
        try:
            value = json.loads(line.rstrip(), parse_constant=lambda _: None)
        except (ValueError, RecursionError) as error:
            yield Delivered(
                origin=origin,
                position=position,
                payload=text,
                parse_error=f"line {position}: {_explained(error, line)}",
            )
        else:
            yield _row(value, text, origin, position, config)


def _explained(error: ValueError | RecursionError, line: bytes) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} (0x{line[error.start]:02x}) of the line is not UTF-8; set `encoding` of the source"
    if isinstance(error, RecursionError):
        return "nested too deep"
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON ({error.msg} at character {error.pos})"
    return f"not JSON ({error})"


def _row(value: Value, text: str | None, origin: str, position: int, config: SourceConfig) -> Delivered:
    try:
        payload = json.dumps(value, ensure_ascii=False) if text is None else text
    except (RecursionError, ValueError):
        return Delivered(origin=origin, position=position, parse_error=f"entry {position}: nested too deep")
    if not isinstance(value, dict):
        problem = f"entry {position}: given {_kind(value)}; allowed is an object"
        return Delivered(origin=origin, position=position, payload=payload, parse_error=problem)
    found: dict[str, str | None] = {}
    problem = ""
    for logical in LOGICAL:
        path = str(config.fields.get(logical, logical))
        part = _at(value, path)
        if isinstance(part, dict | list | bool):
            problem = f"entry {position}: {path!r} holds {_kind(part)}; allowed are text, a number and null"
        else:
            found[logical] = None if part is None else str(part)
    return Delivered(
        origin=origin,
        position=position,
        url=found.get("url"),
        title=found.get("title"),
        body=found.get("body"),
        published_text=found.get("published"),
        payload=payload,
        parse_error=problem or None,
    )


def _at(value: Value, path: str) -> Value:
    """What stands at a dotted path, None when nothing does."""
    if isinstance(value, dict) and path in value:
        return value[path]
    for part in path.split("."):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def _kind(value: Value) -> str:
    return {dict: "an object", list: "an array", bool: "true or false", str: "text", type(None): "null"}.get(
        type(value), "a number"
    )


class _Counted:
    """A stream that knows how many bytes it gave."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.given = 0

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes."""
        data = self.stream.read(size)
        self.given += len(data)
        return data


class _Recoded(io.RawIOBase):
    """A stream in another encoding, as UTF-8."""

    def __init__(self, stream: BinaryIO, encoding: str, origin: str) -> None:
        self.reader = codecs.getreader(encoding)(stream)
        self.encoding, self.origin = encoding, origin
        self.rest = b""

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill `buffer` with what comes next; 0 at the end."""
        view = memoryview(buffer)
        if not self.rest:
            try:
                self.rest = self.reader.read(HEAD_BYTES).encode("utf-8", "replace")
            except UnicodeDecodeError as error:
                raise SourceFailed(
                    f"{self.origin}: not {self.encoding}, the `encoding` of this source ({error.reason})"
                ) from error
        count = min(len(view), len(self.rest))
        view[:count] = self.rest[:count]
        self.rest = self.rest[count:]
        return count

"""Texts without labels, from the lake's articles and from files: read, rid of repeats, and a share of them held out.

Of the lake, the canonical articles of a range of nights, each in its last version, title and body as the models read them. Of files: a line a
document (`.txt`), an object a line (`.jsonl`), an array of objects (`.json`), rows (`.csv`), each also gzipped; objects and rows hold "text",
or labelled "tokens", or a title ("title", "headline", "headlines") and a body ("body", "content"). Whether a document is held out follows from
the document alone, so that it stays so when others come. What cannot be read, is blank or repeats another is counted, and left out; so is what
stands in excepted files, such as labelled ones to measure by: a document that is one of their texts, or has one as a line of its own.
Not covered: an excepted sentence within a longer line.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import json
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_contracts.errors import Fatal
from tasks import text as normal
from tasks.lake import Lake

if TYPE_CHECKING:
    from models.adapting import Texts

logger = logging.getLogger(__name__)

TITLES, BODIES = ("title", "headline", "headlines"), ("body", "content")
SUFFIXES = (".txt", ".jsonl", ".json", ".csv")
LONGEST_FIELD = 16 << 20  # characters of a CSV field
_COLUMNS = ["article_id", "version", "run_date", "title", "body", "is_canonical"]


@dataclass(frozen=True, kw_only=True)
class Unlabelled:
    """Where texts come from.

    Attributes:
        lake: a lake's directory or URL; None takes no articles.
        first, last: the nights, both included; None leaves the range open.
        files: text, JSONL, JSON or CSV files.
        column: of CSV files, the text's column: its name in the header, or its number from 1 in a file without a header.
        held_out_share: of the documents, measured and not learnt from; above 0, below 1.
        excepted: files, of the same kinds, whose texts are neither learnt from nor held out.
    """

    lake: str | None = None
    first: dt.date | None = None
    last: dt.date | None = None
    files: tuple[str, ...] = ()
    column: str | None = None
    held_out_share: float = 0.05
    excepted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.lake is None and not self.files:
            raise Fatal("neither a lake nor a file of texts was given; one at least is needed")
        if not 0 < self.held_out_share < 1:
            raise Fatal(f"held_out_share is {self.held_out_share}; allowed: above 0, below 1")


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """Documents, and how many were left out: repeats, what is blank or cannot be read, and what holds an excepted text."""

    texts: Texts
    repeated: int
    unreadable: int
    excepted: int = 0


def gather(source: Unlabelled) -> Gathered:
    """All documents of the lake and the files, without repeats, in two parts.

    Raises:
        Fatal: a file is not there or of no known kind, or there are too few documents for two parts.
    """
    from models.adapting import Texts
    from models.contamination import text_hash

    found: list[str | None] = []
    if source.lake is not None:
        found.extend(_articles(source.lake, source.first, source.last))
    for name in source.files:
        found.extend(_documents(name, source.column))
    kept = {text_hash(document): document for document in reversed(found) if document}
    known = {text_hash(text) for text in texts_of(source.excepted, source.column)}
    documents = [(key, document) for key, document in reversed(kept.items()) if not _excepted(document, known)]
    excepted = len(kept) - len(documents)
    if excepted:
        logger.warning(
            "%d of %d documents hold a text of %s; left out", excepted, len(kept), ", ".join(source.excepted)
        )
    train = [document for key, document in documents if not _held_out(key, source.held_out_share)]
    dev = [document for key, document in documents if _held_out(key, source.held_out_share)]
    unreadable = sum(not document for document in found)
    if unreadable:
        logger.warning("%d of %d documents are blank or cannot be read; left out", unreadable, len(found))
    if not train or not dev:
        raise Fatal(
            f"{len(documents)} documents were found, {len(dev)} of them held out; at least one is needed to learn from and one "
            f"to measure by: give more texts, or another held_out_share than {source.held_out_share}"
        )
    return Gathered(
        texts=Texts(train, dev),
        repeated=len(found) - unreadable - len(kept),
        unreadable=unreadable,
        excepted=excepted,
    )


def texts_of(files: Sequence[str], column: str | None = None) -> tuple[str, ...]:
    """The documents of files in their order, without repeats; what is blank or cannot be read is counted in the log."""
    from models.contamination import text_hash

    found = [document for name in files for document in _documents(name, column)]
    unreadable = sum(not document for document in found)
    if unreadable:
        logger.warning("%d of %d documents are blank or cannot be read; left out", unreadable, len(found))
    return tuple({text_hash(document): document for document in found if document}.values())


def _excepted(document: str, known: Collection[str]) -> bool:
    """Whether a document, or a line of it, is a text whose hash is known."""
    from models.contamination import text_hash

    return bool(known) and any(text_hash(part) in known for part in (document, *document.split("\n")))


def _held_out(key: str, share: float) -> bool:
    """Whether the document of a hash is held out."""
    return int(key[:8], 16) < share * 2**32


def _articles(lake: str, first: dt.date | None, last: dt.date | None) -> Iterator[str | None]:
    opened = Lake.open(lake)
    nights = [night for night in opened.nights("articles") if (first or night) <= night <= (last or night)]
    rows = opened.read("articles", nights=nights, columns=_COLUMNS)
    latest: dict[str, Mapping[str, Any]] = {}
    for row in rows.select(_COLUMNS).to_pylist():
        known = latest.get(row["article_id"])
        if known is None or (row["version"], row["run_date"]) >= (known["version"], known["run_date"]):
            latest[row["article_id"]] = row
    logger.info("%d articles of %d nights in %s", len(latest), len(nights), lake)
    for row in latest.values():
        if row["is_canonical"] is not False:
            yield "\n".join(part for part in (row["title"], row["body"]) if part)


def _documents(name: str, column: str | None) -> Iterator[str | None]:
    """The documents of a file, normalised; None for each that is blank or cannot be read."""
    path = Path(name)
    kind = next((suffix for suffix in SUFFIXES if path.name.lower().removesuffix(".gz").endswith(suffix)), None)
    if kind is None or not path.is_file():
        what = "there is no such file" if not path.is_file() else "its kind is not known"
        raise Fatal(f"texts {name!r}: {what}; allowed are files {', '.join(SUFFIXES)}, each also with .gz")
    data = path.read_bytes()
    text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig", "replace")
    if kind == ".csv":
        yield from _rows(text, name, column)
    elif kind == ".txt":
        yield from (normal.body(line) for line in text.splitlines() if line.strip())
    else:
        yield from (_document(one) for one in _objects(text, name, lines=kind == ".jsonl"))


def _objects(text: str, name: str, *, lines: bool) -> Iterable[object]:
    if lines:
        return (_loaded(line) for line in text.split("\n") if line.strip())
    found = _loaded(text)
    if not isinstance(found, list):
        raise Fatal(f"texts {name!r}: not a JSON array; allowed is an array of objects, or .jsonl with one a line")
    return found


def _loaded(text: str) -> object:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found


def _document(fields: object) -> str | None:
    """The text of an object: "text", else labelled tokens, else title and body, normalised."""
    if not isinstance(fields, dict):
        return None
    whole, tokens = fields.get("text"), fields.get("tokens")
    if whole is None and isinstance(tokens, list) and all(isinstance(token, str) for token in tokens):
        whole = " ".join(tokens)
    if isinstance(whole, str):
        return normal.body(whole)
    title, body = (next((fields[key] for key in keys if fields.get(key)), None) for keys in (TITLES, BODIES))
    parts = (
        normal.title(title) if isinstance(title, str) else None,
        normal.body(body) if isinstance(body, str) else None,
    )
    return "\n".join(part for part in parts if part) or None


def _rows(text: str, name: str, column: str | None) -> Iterator[str | None]:
    csv.field_size_limit(LONGEST_FIELD)
    rows = csv.reader(io.StringIO(text, newline=""))
    if column is not None and column.isdigit() and int(column):
        place = int(column) - 1
        yield from (normal.body(row[place]) if len(row) > place else None for row in rows if row)
        return
    header = [field.strip() for field in next(rows, [])]
    known = ("text", *TITLES, *BODIES) if column is None else (column,)
    if not set(known) & set(header):
        raise Fatal(
            f"texts {name!r}: the header has {', '.join(header)[:200] or 'nothing'}; allowed is a column "
            f"{', '.join(known)}, or the column's name, or its number from 1 in a file without a header"
        )
    for row in rows:
        fields = dict(zip(header, row, strict=False))
        if row:
            yield normal.body(fields.get(column)) if column is not None else _document(fields)

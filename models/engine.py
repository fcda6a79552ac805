"""The Predictor: tables of articles in, three tables out, and no row lost on the way.

The text of an article is its title, a line break, its body; a missing title or body is read as empty. Every text with one token at least is
scored, emoji alone or a word of two million letters (one unknown token) included; a lone surrogate is read as U+FFFD. A text without
any token goes to the failures with that reason, and so does a row that a batch breaks on, once bisecting has found it.

Rows are taken in chunks, so memory does not grow with what is scored beyond the results that the caller keeps; within a chunk windows are batched by
length, and equal windows are computed once. While a network computes one chunk, the next are made into tokens and batches, and the one before
is decoded.
On the reference backend scores do not depend on batch size, order or neighbours (differences stay under 1e-5). Does not cover: several
processes (tasks.cluster).
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from data_contracts.errors import Fatal
from models.backends import REFERENCE, open_backend
from models.bundle import Bundle, BundleRefused, load
from models.freed import give_back
from models.passes import Asked
from models.prediction import Prediction, joined_tables, nothing, predicted
from models.reader import Read, Reader
from models.scoring import Scorer
from models.sharing import together

__all__ = ["Prediction", "Predictor", "TableRefused"]

_CHUNK_ROWS = 2048  # more would leave less padding, and more to wait for before the first and after the last batch
_CHUNK_CHARACTERS = 2_000_000
_PIECE_ROWS = 256  # of a batch that are made Python strings at once
_AHEAD = 2  # chunks that are made ready while one is computed
_COLUMNS = ("id", "title", "body")
_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


class TableRefused(Fatal):
    """The table has not the columns that are scored."""


@dataclass
class _Chunk:
    """Some rows: their ids, their texts ("" for one that cannot be read), and why by row."""

    ids: list[pa.Array] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    unread: dict[int, str] = field(default_factory=dict)
    characters: int = 0
    last: bool = False  # of its table


@dataclass(frozen=True)
class _Asked:
    """A chunk that networks are at work on: what each reader has read of it, what each network will have said."""

    chunk: _Chunk
    reads: Sequence[Read]
    said: Sequence[Asked]


class Predictor:
    """Scores tables with one bundle, or with several that serve different tasks; those that share a trunk share its pass.

    `token_budget` bounds a batch (longest window x windows, in tokens). `threads` sets the CPU threads of a backend, torch's for the whole
    process. `max_windows` caps a text's windows; what is left out shows as tokens_scored < tokens_total. `backend` is one of
    models.backends.NAMES; `cache` is where its exports go when they cannot lie beside the bundle.
    """

    def __init__(
        self,
        bundles: Sequence[Path | str | Bundle],
        *,
        token_budget: int = 2048,
        threads: int | None = None,
        max_windows: int | None = None,
        backend: str = REFERENCE,
        cache: Path | None = None,
    ) -> None:
        loaded = [bundle if isinstance(bundle, Bundle) else load(bundle) for bundle in bundles]
        served = Counter(task for bundle in loaded for task in bundle.heads)
        twice = sorted(task for task, times in served.items() if times > 1)
        if not served or twice:
            given = ", ".join(f"{bundle.path} ({', '.join(bundle.heads)})" for bundle in loaded) or "none"
            raise BundleRefused(f"bundles given: {given}; allowed is one at least, and one a task (twice: {twice})")
        self.digest = digest_of(loaded)
        shared = sorted(together(loaded), key=lambda bundle: "sentiment" not in bundle.heads)
        readers: dict[object, Reader] = {}
        self._scorers: list[Scorer] = []
        for bundle in shared:
            reader = Reader.of(bundle, token_budget=token_budget, max_windows=max_windows)
            reader = readers.setdefault(reader.key(), reader)
            opened = open_backend(backend, bundle, threads=threads, token_budget=token_budget, cache=cache)
            self._scorers.append(Scorer(bundle, backend=opened, reader=reader))
        self._readers = list(readers.values())
        streams = {scorer.backend.streams for scorer in self._scorers}
        self._pools = {number: ThreadPoolExecutor(number, thread_name_prefix="network") for number in streams}

    @property
    def tasks(self) -> tuple[str, ...]:
        """What it answers, sorted."""
        return tuple(sorted(task for scorer in self._scorers for task in scorer.bundle.heads))

    def predict(self, table: pa.Table) -> Prediction:
        """Score a table with the columns id (of any type), title and body (strings)."""
        return next(self.predict_each([table]))

    def predict_each(self, tables: Iterable[pa.Table]) -> Iterator[Prediction]:
        """Score tables as they come, each to the bit as it would be alone, while the next are made ready; not more than some chunks are held.

        Raises TableRefused where a table has not the columns of `predict`.
        """
        parts: list[Prediction] = []
        for chunk, found in self._found(chunk for table in tables for chunk in _chunks_of(table)):
            parts.append(found)
            if chunk.last:
                yield joined_tables(parts)
                parts = []

    def stream(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Prediction]:
        """Score batches with the columns id, title and body as they come; all rows in their order, in parts that the engine chooses.

        Not more than some chunks are held at a time. Raises TableRefused where a batch has not those columns.
        """
        for _, found in self._found(_chunks(batches)):
            yield found

    def _found(self, chunks: Iterable[_Chunk]) -> Iterator[tuple[_Chunk, Prediction]]:
        """The prediction of each chunk, in order; while one is decoded the network is at work on the next."""
        waiting: deque[_Asked] = deque()
        try:
            for chunk, reads in _ahead(chunks, self._read):
                waiting.append(
                    _Asked(chunk, reads, [self._ask(scorer, read) for scorer, read in self._readings(reads)])
                )
                if len(waiting) > 1:
                    yield self._answer(waiting.popleft())
            while waiting:
                yield self._answer(waiting.popleft())
        finally:
            for batch in (batch for asked in waiting for said in asked.said for batch in said):
                batch.cancel()

    def _ask(self, scorer: Scorer, read: Read) -> Asked:
        return scorer.ask(read, self._pools[scorer.backend.streams])

    def _read(self, chunk: _Chunk) -> list[Read]:
        return [reader.read(chunk.texts) for reader in self._readers]

    def _readings(self, reads: Sequence[Read]) -> list[tuple[Scorer, Read]]:
        """Each scorer, and what its reader has read."""
        return [(scorer, reads[self._readers.index(scorer.reader)]) for scorer in self._scorers]

    def _answer(self, asked: _Asked) -> tuple[_Chunk, Prediction]:
        chunk = asked.chunk
        if not chunk.texts:
            return chunk, nothing(chunk.ids[0].type)
        parts = zip(self._readings(asked.reads), asked.said, strict=True)
        answered = [scorer.answer(read, said) for (scorer, read), said in parts]
        found = predicted(pa.chunked_array(chunk.ids), answered, chunk.unread)
        give_back()
        return chunk, found


def digest_of(bundles: Sequence[Bundle]) -> str:
    """What names a bundle's weights, its digest; of several, the sha256 of their sorted digests."""
    digests = sorted(bundle.digest for bundle in bundles)
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _ahead(given: Iterable[_Given], make: Callable[[_Given], _Made]) -> Iterator[tuple[_Given, _Made]]:
    """Each thing with what is made of it, in order; in a thread of its own some are made while the caller is at work on one."""
    waiting: deque[tuple[_Given, Future[_Made]]] = deque()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokens") as pool:
        for one in given:
            waiting.append((one, pool.submit(make, one)))
            if len(waiting) > _AHEAD:
                first, made = waiting.popleft()
                yield first, made.result()
        while waiting:
            first, made = waiting.popleft()
            yield first, made.result()


def _check(schema: pa.Schema) -> None:
    missing = [name for name in _COLUMNS if name not in schema.names]
    if missing:
        raise TableRefused(f"the table to score has the columns {schema.names}; it needs {', '.join(_COLUMNS)}")
    for name in ("title", "body"):
        kind = schema.field(name).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
            raise TableRefused(f"column {name} of the table to score is {kind}; allowed is string")


def _chunks_of(table: pa.Table) -> Iterator[_Chunk]:
    """The chunks of a table, an empty one where it has no rows; the last says that it is."""
    _check(table.schema)
    last = _Chunk(ids=[pa.array([], table.schema.field("id").type)])
    for chunk in _chunks(table.to_batches()):
        if last.texts:
            yield last
        last = chunk
    last.last = True
    yield last


def _chunks(batches: Iterable[pa.RecordBatch]) -> Iterator[_Chunk]:
    """Rows in the order given, so many that neither rows nor characters pass their bounds by more than one row."""
    chunk = _Chunk()
    for batch in batches:
        _check(batch.schema)
        for begin in range(0, batch.num_rows, _PIECE_ROWS):
            piece = batch.slice(begin, _PIECE_ROWS)
            taken = 0
            for row, text in enumerate(_texts(piece), start=1):
                if isinstance(text, Exception):
                    chunk.unread[len(chunk.texts)] = f"the text cannot be read: {type(text).__name__}: {text}"
                chunk.texts.append("" if isinstance(text, Exception) else text)
                chunk.characters += len(chunk.texts[-1])
                if len(chunk.texts) >= _CHUNK_ROWS or chunk.characters >= _CHUNK_CHARACTERS:
                    chunk.ids.append(piece.column("id").slice(taken, row - taken))
                    yield chunk
                    chunk, taken = _Chunk(), row
            if taken < piece.num_rows:
                chunk.ids.append(piece.column("id").slice(taken))
    if chunk.texts:
        yield chunk


def _texts(batch: pa.RecordBatch) -> Iterator[str | Exception]:
    """Every row's title and body, or why they cannot be read."""
    try:
        columns = [batch.column(name).to_pylist() for name in ("title", "body")]
    except UnicodeDecodeError as error:
        if batch.num_rows == 1:
            yield error
            return
        for row in range(batch.num_rows):
            yield from _texts(batch.slice(row, 1))
        return
    yield from (f"{title or ''}\n{body or ''}" for title, body in zip(*columns, strict=True))

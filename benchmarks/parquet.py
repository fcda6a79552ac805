"""Parquet to Parquet: texts as a file of rows, and a file of rows scored into two, by batches, so that neither is ever held whole.

Does not cover: shards, resuming, temporary names (tasks.shards).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.texts import Article
from models.engine import Predictor

TEXT = pa.schema([("id", pa.string()), ("title", pa.string()), ("body", pa.string())])
_ROWS = 10_000  # of a row group
_READ = 4096  # of a batch


def table(texts: Sequence[Article], *, first: int = 0) -> pa.Table:
    """Texts as rows of id, title, body, numbered from `first`."""
    ids = pa.array([str(first + row) for row in range(len(texts))], pa.string())
    titles, bodies = (pa.array([text[part] for text in texts], pa.string()) for part in (0, 1))
    return pa.table([ids, titles, bodies], schema=TEXT)


def write(texts: Iterable[Article], path: Path) -> Path:
    """Texts as a file of rows."""
    left, rows = iter(texts), 0
    with pq.ParquetWriter(path, TEXT) as file:
        while some := list(islice(left, _ROWS)):
            file.write_table(table(some, first=rows))
            rows += len(some)
    return path


def batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The rows of a file, some at a time."""
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(_READ)


def joined(rows: pa.Table) -> list[str]:
    """The texts of rows, as they are scored."""
    return [
        f"{title or ''}\n{body or ''}"
        for title, body in zip(rows["title"].to_pylist(), rows["body"].to_pylist(), strict=True)
    ]


class Done(NamedTuple):
    """How much was scored: rows, and the tokens of text that were read."""

    rows: int
    tokens: int


def score(predictor: Predictor, path: Path, output: Path) -> Done:
    """Score a file's rows into articles.parquet and mentions.parquet in a directory."""
    rows = tokens = 0
    with ExitStack() as open_files:
        files: dict[str, _Groups] = {}
        for found in predictor.stream(batches(path)):
            for name, part in (("articles", found.articles), ("mentions", found.mentions)):
                if name not in files:
                    files[name] = open_files.enter_context(_Groups(output / f"{name}.parquet", part.schema))
                files[name].write(part)
            rows += found.articles.num_rows
            tokens += pc.sum(found.articles["tokens_scored"]).as_py() or 0
    return Done(rows, tokens)


class _Groups:
    """A file written in row groups of _ROWS rows at least: what a writer has to remember of each until it ends is more than a row's scores."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.file = pq.ParquetWriter(path, schema)
        self.parts: list[pa.Table] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self.file.close()

    def write(self, part: pa.Table) -> None:
        """Keep some rows, and write those kept where they are enough."""
        self.parts.append(part)
        if sum(one.num_rows for one in self.parts) >= _ROWS:
            self._flush()

    def _flush(self) -> None:
        if self.parts:
            self.file.write_table(pa.concat_tables(self.parts))
        self.parts = []

"""How much of the bare backend's speed is left, once texts become tokens before it and answers become tables after it?

Ours: a table of headlines through the Predictor. The peer: the same backend on the same windows, tokenised, cut and batched beforehand, its logits
thrown away. Beside it: how fast texts become batches, in a thread of its own, which has to be faster than the backend, or it limits.

    python -m benchmarks.engine --data DIR --json
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

from benchmarks import parquet, texts
from benchmarks.desk import TOKEN_BUDGET, Desk, backends, bundles_of, desk
from benchmarks.figure import Figure, against, command, rates, reading, start
from models.backends import Backend
from models.batching import Batch
from models.engine import _CHUNK_ROWS
from models.reader import Reader

ROWS = 16_384


def measure(
    *, rows: int = ROWS, runs: int = 5, data: Path | None = None, home: Path, model: str = "", backend: str = "auto"
) -> Figure:
    """Headlines a second; the shipped sample's sentences where there is no `data`."""
    given = texts.headlines(data, rows)
    held = desk(bundles_of(model, home), backend, texts=given, labelled=texts.labelled(data), home=home)
    table = parquet.table(given)
    readers = [Reader.of(bundle, token_budget=TOKEN_BUDGET, max_windows=None) for bundle in held.bundles]
    work = prepared(held, readers, given)
    values = rates(
        {
            "ours": lambda: held.predictor.predict(table).articles.num_rows,
            "peer": lambda: bare(work, len(given)),
            "reading": lambda: read(readers[:1], given),
        },
        runs=runs,
    )
    return against(
        "engine",
        "headlines/s",
        values,
        reach="ratio >= 0.9",
        also={"rows": len(given), "backend": held.backend, "texts_read_per_second": median(values["reading"])},
        notes=["the peer: the same backend on batches that were prepared, nothing before and nothing after it"],
    )


def prepared(
    held: Desk, readers: Sequence[Reader], given: Sequence[texts.Article]
) -> list[tuple[Backend, list[Batch]]]:
    """Each trunk's backend with its batches of all texts, whose windows are sorted among as many rows as the engine takes at once."""
    chunks = [given[begin : begin + _CHUNK_ROWS] for begin in range(0, len(given), _CHUNK_ROWS)]
    return [
        (
            backend,
            [batch for chunk in chunks for batch in reader.read([texts.joined(one) for one in chunk]).work.batches],
        )
        for backend, reader in zip(backends(held), readers, strict=True)
    ]


def bare(work: Sequence[tuple[Backend, Sequence[Batch]]], rows: int) -> int:
    """All batches through their backends, by as many threads as each has streams."""
    for backend, batches in work:
        with ThreadPoolExecutor(max_workers=backend.streams) as pool:
            deque(pool.map(backend.run, batches), maxlen=0)
    return rows


def read(readers: Sequence[Reader], given: Sequence[texts.Article]) -> int:
    """All texts as batches, which nothing computes."""
    for reader in readers:
        for begin in range(0, len(given), _CHUNK_ROWS):
            reader.read([texts.joined(one) for one in given[begin : begin + _CHUNK_ROWS]])
    return len(given)


def main(given: Sequence[str] | None = None) -> None:
    """The command line."""
    start(measure, reading(command(__doc__, rows=ROWS)), given)


if __name__ == "__main__":
    main()

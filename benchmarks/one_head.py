"""How fast is sentiment alone, against ONNX Runtime with dynamic eight bits on the same batches? Parquet to Parquet.

The peer is what a good engineer writes in an afternoon: tokens of all texts, windows sorted by length into batches by tokens, onnxruntime's own
dynamic quantisation, softmax, one table. It is given our batches, in which equal windows stand once. Ours is the Predictor on the backend settled for
it.

    python -m benchmarks.one_head --data DIR --json
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import parquet, texts
from benchmarks.desk import TOKEN_BUDGET, bundles_of, desk
from benchmarks.figure import Figure, Missing, against, command, rates, reading, start
from models.assembling import text_rows
from models.backends import Backend, BackendRefused, open_backend
from models.bundle import load
from models.passes import compute
from models.reader import Reader
from tasks.narrow import narrowed

ROWS = 4096
PEER = "onnx-int8"


def measure(
    *, rows: int = ROWS, runs: int = 5, data: Path | None = None, home: Path, model: str = "", backend: str = "auto"
) -> Figure:
    """Headlines a second; the shipped sample's sentences where there is no `data`."""
    given = texts.headlines(data, rows)
    path = next(path for path in bundles_of(model, home) if "sentiment" in load(path).heads)
    bundle = load(narrowed(path, ["sentiment"], home / "narrowed"))
    held = desk([bundle.path], backend, texts=given, labelled=texts.labelled(data), home=home)
    try:
        onnx = open_backend(PEER, bundle, token_budget=TOKEN_BUDGET, cache=home)
    except BackendRefused as refused:
        raise Missing(str(refused)) from refused
    reader = Reader.of(bundle, token_budget=TOKEN_BUDGET, max_windows=None)
    temperature = bundle.manifest.temperatures["sentiment"]
    with tempfile.TemporaryDirectory() as folder:
        file = parquet.write(given, Path(folder) / "texts.parquet")
        contestants = {
            "ours": lambda: parquet.score(held.predictor, file, file.parent).rows,
            "peer": lambda: plainly(onnx, reader, file, temperature=temperature),
        }
        values = rates(contestants, runs=runs)
    return against(
        "one_head",
        "headlines/s",
        values,
        reach="ratio >= 1.5",
        also={"rows": len(given), "backend": held.backend, "peer_backend": PEER},
    )


def plainly(backend: Backend, reader: Reader, file: Path, *, temperature: float) -> int:
    """The peer: a file's rows scored by a backend into a file beside it; how many rows."""
    table = pq.read_table(file)
    read = reader.read(parquet.joined(table))
    logits = text_rows(read.cuts, read.work, compute(backend, read.work).said["sentiment"]) / temperature
    chances = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    columns = {f"p{label}": pa.array(chances[:, label]) for label in range(chances.shape[1])}
    pq.write_table(pa.table({"id": table["id"], **columns}), file.parent / "peer.parquet")
    return len(table)


def main(given: Sequence[str] | None = None) -> None:
    """The command line."""
    start(measure, reading(command(__doc__, rows=ROWS)), given)


if __name__ == "__main__":
    main()

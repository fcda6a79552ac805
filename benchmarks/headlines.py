"""How fast are headlines scored, against transformers' `pipeline`? Sentiment, entities and sentiment of entities, Parquet to Parquet.

Ours: the Predictor with the bundle on the backend settled for it. The peer: a pipeline a task in batches of 32 (benchmarks.pipelines), from the same
weights and the same file, writing what it says to Parquet too. Both are loaded beforehand. The figure counts only if ours answers as well: F1 of
both on labelled examples is measured beside it, and ours may not be more than 0.5 points below the peer's.

    python -m benchmarks.headlines --data DIR --json
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import parity, parquet, texts
from benchmarks.desk import bundles_of, desk
from benchmarks.figure import Figure, against, command, rates, reading, start
from benchmarks.pipelines import Pipelines

ROWS = 4096


def measure(
    *,
    rows: int = ROWS,
    runs: int = 5,
    data: Path | None = None,
    home: Path,
    model: str = "",
    backend: str = "auto",
    no_f1: bool = False,
) -> Figure:
    """Headlines a second; the shipped sample's sentences where there is no `data`."""
    given = texts.headlines(data, rows)
    held = desk(bundles_of(model, home), backend, texts=given, labelled=texts.labelled(data), home=home)
    peer = Pipelines(held.bundles)
    with tempfile.TemporaryDirectory() as folder:
        file = parquet.write(given, Path(folder) / "texts.parquet")
        contestants = {
            "ours": lambda: parquet.score(held.predictor, file, file.parent).rows,
            "peer": lambda: peer.score(file, file.parent),
        }
        values = rates(contestants, runs=runs)
    also: dict[str, Any] = {"rows": len(given), "backend": held.backend}
    if not no_f1:
        also["f1"] = parity.f1(held, peer)
        also["f1_points_behind"] = parity.lost(also["f1"])
    return against(
        "headlines",
        "headlines/s",
        values,
        reach="ratio >= 12",
        also=also,
        notes=[
            "ours and the peer give sentiment, entities and sentiment of entities from the same weights, file to files"
        ],
    )


def main(given: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = reading(command(__doc__, rows=ROWS))
    parser.add_argument("--no-f1", action="store_true", help="speed alone")
    start(measure, parser, given)


if __name__ == "__main__":
    main()

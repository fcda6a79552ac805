"""How fast are full articles scored, against transformers' `pipeline`? The same outputs as of headlines, Parquet to Parquet, in tokens a second.

Articles differ in length by five hundred times, and the peer truncates at the positions that the trunk has (512 tokens), while ours reads every
article to its end, a window a sentence: so tokens that are read are counted on each side, special ones and padding not. The peer takes minutes for
all, and is given every eighth article, in the order they have; `--peer-rows 0` gives it all.

    python -m benchmarks.articles --data DIR --json
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks import parquet, texts
from benchmarks.desk import bundles_of, desk
from benchmarks.figure import Figure, against, command, rates, reading, start
from benchmarks.pipelines import Pipelines
from models.batching import drawn

PEER_ROWS = 193


def measure(
    *,
    rows: int = 0,
    peer_rows: int = PEER_ROWS,
    runs: int = 5,
    data: Path | None = None,
    home: Path,
    model: str = "",
    backend: str = "auto",
) -> Figure:
    """Tokens a second of `rows` articles, of all where that is 0."""
    given = texts.articles(data, rows)
    some = drawn(given, peer_rows or len(given))
    held = desk(bundles_of(model, home), backend, texts=given, labelled=texts.labelled(data), home=home)
    peer = Pipelines(held.bundles)
    most = peer.tokens([texts.joined(one) for one in some])
    with tempfile.TemporaryDirectory() as folder:
        ours_file = parquet.write(given, Path(folder) / "texts.parquet")
        peer_file = parquet.write(some, Path(folder) / "drawn.parquet")
        all_ours = parquet.score(held.predictor, ours_file, Path(folder))

        def theirs() -> int:
            peer.score(peer_file, Path(folder))
            return most

        contestants = {
            "ours": lambda: parquet.score(held.predictor, ours_file, Path(folder)).tokens,
            "peer": theirs,
        }
        values = rates(contestants, runs=runs)
    return against(
        "articles",
        "tokens/s",
        values,
        reach="ratio >= 12",
        also={
            "articles": len(given),
            "articles_of_the_peer": len(some),
            "tokens_an_article": all_ours.tokens / len(given),
            "tokens_an_article_of_the_peer": most / len(some),
            "articles_per_second": median(values["ours"]) * len(given) / all_ours.tokens,
            "articles_per_second_of_the_peer": median(values["peer"]) * len(some) / most,
            "backend": held.backend,
        },
        notes=["ours reads every article to its end; the peer truncates at 512 tokens, special ones included"],
    )


def main(given: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = reading(command(__doc__, rows=0))
    parser.add_argument("--peer-rows", type=int, default=PEER_ROWS, help=f"articles for the peer, 0: all ({PEER_ROWS})")
    start(measure, parser, given)


if __name__ == "__main__":
    main()

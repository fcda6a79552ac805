"""What does Ray Data cost beside one process, on one machine: 50,000 headlines from staged shards to staged results?

Both score the same shards with the same function (tasks.shards.score_shards) and stage the same results. Ours: a pool of two actors, the machine's
cores shared among them. The peer: this process with all cores. Ray's start and the opening of the model by its actors are stated and not
counted: the clock starts when every actor has finished its first shard, and here when the first is finished. It stops with the last shard, so actors
that find nothing left to do count against us. Of a shard that an actor is at when the clock starts only the share of its time after that counts,
by when the staging area says that it was begun and finished: nobody is given work that was done before.

    python -m benchmarks.ray --data DIR --json
"""

from __future__ import annotations

import datetime as dt
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pyarrow as pa

from benchmarks import texts
from benchmarks.desk import TOKEN_BUDGET, Desk, bundles_of, desk
from benchmarks.figure import Figure, Missing, against, command, reading, start
from tasks.backends import BackendConfig
from tasks.cluster import ClusterConfig, ScoringJob, score_on_ray, session
from tasks.cluster.scoring import TRIED
from tasks.lake import Lake, Stage
from tasks.shards import Shard, cut, score_shards

ROWS = 50_000
NIGHT = dt.date(2026, 3, 2)


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One pass over all shards: seconds until every worker has finished its first, and rows a second after that."""

    first: float
    rate: float


@dataclass(frozen=True, kw_only=True, order=True)
class Span:
    """When a shard was begun and finished, in seconds of one clock, and its rows."""

    begun: float
    finished: float
    rows: int


def measure(
    *,
    rows: int = ROWS,
    runs: int = 5,
    data: Path | None = None,
    home: Path,
    model: str = "",
    backend: str = "auto",
    workers: int = 2,
    rows_per_shard: int = ClusterConfig.rows_per_shard,
) -> Figure:
    """Headlines a second; the shipped sample's sentences where there is no `data`."""
    if rows < 2 * workers * rows_per_shard:
        raise Missing(
            f"{rows} rows are not two shards of {rows_per_shard} for each of {workers} workers; lower --rows-per-shard"
        )
    given = texts.headlines(None, rows) if data is None else list(texts.varied(data, rows))
    paths = bundles_of(model, home)
    held = desk(paths, backend, texts=given, labelled=texts.labelled(data), home=home)
    config = ClusterConfig(workers=workers, rows_per_shard=rows_per_shard, token_budget=TOKEN_BUDGET)
    with tempfile.TemporaryDirectory() as folder:
        stage = Lake.open(folder).stage(NIGHT)
        shards = cut(_table(given), stage, rows_per_shard=rows_per_shard)
        begin = time.perf_counter()
        with session(config):
            started = time.perf_counter() - begin
            passes = _passes(held, paths, backend, shards, stage, folder, config, runs=runs)
    values = {name: [one.rate for one in some] for name, some in passes.items()}
    opened = {
        f"seconds_to_the_first_shards_{who}": median(one.first for one in some)
        for who, some in zip(("on_ray", "here"), passes.values(), strict=True)
    }
    also = {"rows": len(given), "shards": len(shards), "backend": held.backend, "workers": workers}
    return against(
        "ray",
        "headlines/s",
        values,
        reach="ratio >= 0.9",
        also={**also, "seconds_to_start_ray": started, **opened},
        notes=[
            "before the clock starts the actors open the model; the peer has it open; when the last shard is finished, it stops"
        ],
    )


def _passes(
    held: Desk,
    paths: Sequence[Path],
    backend: str,
    shards: Sequence[Shard],
    stage: Stage,
    lake: str,
    config: ClusterConfig,
    *,
    runs: int,
) -> dict[str, list[Pass]]:
    """In turn on Ray and here, each time under a name of its own, so that nothing is finished already."""

    def on_ray(name: str) -> Iterator[tuple[Shard, int]]:
        job = ScoringJob(
            bundles=tuple(str(path.resolve()) for path in paths),
            lake_url=lake,
            model=name,
            cluster=config,
            backend=BackendConfig(name=backend, cache=held.home),
            attempt=name,
        )
        return score_on_ray(shards, job)

    def here(name: str) -> Iterator[tuple[Shard, int]]:
        return score_shards(held.predictor, shards, Lake.open(lake), model=name)

    found: dict[str, list[Pass]] = {"ours": [], "peer": []}
    for number in range(runs):
        for name, score, workers in (("ours", on_ray, config.workers), ("peer", here, 1)):
            begin = time.time()
            shards_done = [shard for shard, _ in score(f"{name}{number}")]
            found[name].append(paced(_spans(shards_done, stage, f"{name}{number}", begin), begin, workers))
    return found


def _spans(done: Sequence[Shard], stage: Stage, name: str, begin: float) -> list[Span]:
    """When each shard was begun and finished, as the staging area has it; one process notes no beginning: a shard begins as the one before ends."""
    noted = {one.key: Path(stage.path(f"{TRIED}/{name}-{one.key}-0")) for one in done}
    ended = {one.key: Path(stage.path(one.output(name, "articles"))).stat().st_mtime for one in done}
    before = [begin, *(ended[one.key] for one in done)]
    return [
        Span(
            begun=noted[one.key].stat().st_mtime if noted[one.key].is_file() else earlier,
            finished=ended[one.key],
            rows=one.rows,
        )
        for one, earlier in zip(done, before, strict=False)
    ]


def paced(spans: Sequence[Span], begin: float, workers: int) -> Pass:
    """The pass of these shards, of which no more than `workers` are under way at once; Missing where nothing is left to time."""
    for one in sorted(spans):
        under_way = [other.finished for other in spans if other.begun <= one.begun < other.finished]
        if len(under_way) == workers and (start := max(under_way)) < (last := max(span.finished for span in spans)):
            after = (
                span.rows * (span.finished - max(start, span.begun)) / (span.finished - span.begun)
                for span in spans
                if span.finished > start
            )
            return Pass(first=start - begin, rate=sum(after) / (last - start))
    raise Missing(
        f"no shard was left when each of {workers} workers had finished one; more --rows, or fewer --rows-per-shard"
    )


def _table(given: Sequence[texts.Article]) -> pa.Table:
    return pa.table(
        {
            "id": [str(row) for row in range(len(given))],
            "title": pa.array([title for title, _ in given], pa.string()),
            "body": pa.array([body for _, body in given], pa.string()),
        }
    )


def main(given: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = reading(command(__doc__, rows=ROWS))
    parser.add_argument("--workers", type=int, default=2, help="actors, which share the machine's cores (2)")
    parser.add_argument("--rows-per-shard", type=int, default=ClusterConfig.rows_per_shard, help="(as in the settings)")
    start(measure, parser, given)


if __name__ == "__main__":
    main()

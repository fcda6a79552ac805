"""What scores shards: some models, opened where and when the first shards need them, and kept for those of other nights until it is closed.

With few rows, and no cluster named, shards are scored in this process, since starting Ray costs seconds; else on Ray. Both score the same
shards with the same function, so both give the same rows; but this process takes every core and an actor its share (`cluster.threads`), and the
last digits of a score may depend on the number of threads. What the results are named after is decided here, once: the models, and the
backend that was settled for them on this machine. A worker on a machine of another kind, where nothing was settled, computes in float32
PyTorch, which every backend has been held against.

Not covered: which rows are scored (`tasks.score`), for one night or ahead for several (`tasks.score_nights`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property
from types import TracebackType
from typing import Self

from data_contracts.errors import Fatal
from models.bundle import load
from models.engine import Predictor, digest_of
from tasks.backends import FLOAT32, BackendConfig, settle_backends
from tasks.cluster import ClusterConfig, ScoringJob, score_on_ray, session, sweep
from tasks.lake import Lake
from tasks.shards import Shard, model_name, score_shards, unfinished

logger = logging.getLogger(__name__)


class Pool:
    """A context manager; nothing is opened before the first shards."""

    def __init__(
        self, lake_url: str, bundles: Sequence[str], *, cluster: ClusterConfig, backend: BackendConfig = FLOAT32
    ) -> None:
        """`bundles` are directories of models that together serve each task at most once, and sentiment in any case."""
        loaded = [load(bundle) for bundle in bundles]
        served = sorted(task for bundle in loaded for task in bundle.heads)
        if "sentiment" not in served:
            raise Fatal(f"the models {', '.join(bundles)} serve {', '.join(served)}; scored articles need sentiment")
        self.bundles, self.cluster = tuple(bundles), cluster
        self.digest = digest_of(loaded)
        self._lake_url, self._lake, self._backend = lake_url, Lake.open(lake_url), backend
        self._settled: str | None = None
        self._open = ExitStack()
        self._ray = False

    def __enter__(self) -> Self:
        """Itself; what a run that was killed had of Ray on the disk is gone then, whether this one starts Ray or not."""
        sweep()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Stop Ray, where it was started here; more shards open it again."""
        self._ray = False
        self._open.close()

    def model(self, texts: Callable[[], Sequence[str]], rows: int | None) -> str:
        """What results are staged under; the first call settles the backend on its `texts`, a sample of so many `rows`.

        Without `rows` a trial of the backends is worth its time in any case.
        """
        if self._settled is None:
            budget = self.cluster.batch_tokens()
            self._settled = settle_backends(self.bundles, self._backend, texts=texts(), rows=rows, token_budget=budget)
        return model_name(self.digest, self._settled)

    def finish(self, shards: Sequence[Shard], model: str) -> str:
        """Score those of `shards` that are not finished; returns where: "process" or "ray"."""
        nights = sorted({shard.night for shard in shards})
        left = [
            shard
            for night in nights
            for shard in unfinished([s for s in shards if s.night == night], self._lake.stage(night), model)
        ]
        if len(left) < len(shards):
            logger.info("%d of %d shards are finished already", len(shards) - len(left), len(shards))
        rows = sum(shard.rows for shard in left)
        if left:
            logger.info("%d rows in %d shards are to be scored", rows, len(left), extra={"done": 0, "total": len(left)})
        on_ray = bool(left) and (not self.cluster.local or rows >= self.cluster.min_rows)
        if on_ray:
            if not self._ray:
                self._open.enter_context(session(self.cluster))
                self._ray = True
            scored = score_on_ray(left, self._job(model))
        else:
            scored = score_shards(self._predictor, left, self._lake, model=model) if left else iter(())
        for number, (shard, failed) in enumerate(scored, start=1):
            extra = {"done": number, "total": len(left)}
            logger.info(
                "scored shard %d of %d (%d rows, %d failed)", number, len(left), shard.rows, failed, extra=extra
            )
        return "ray" if on_ray else "process"

    def _job(self, model: str) -> ScoringJob:
        return ScoringJob(
            bundles=self.bundles, lake_url=self._lake_url, model=model, cluster=self.cluster, backend=self._backend
        )

    @cached_property
    def _predictor(self) -> Predictor:
        budget = self.cluster.batch_tokens()
        return Predictor(self.bundles, token_budget=budget, backend=self._backend.name, cache=self._backend.cache)

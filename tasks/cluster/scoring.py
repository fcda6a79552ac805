"""Scoring on Ray: one job per shard, a pool of actors, each holding one model.

Jobs and results travel as names of staged tables, never as data, so an actor that dies takes nothing with it: Ray restarts it and tries
its shard again, and a shard that was finished is not scored twice. Ray Data would do the reading too, but in our trials it deadlocked
when actors held every CPU, merged small files into one block, and lost committed rows on resume.

Not covered: spreading one shard over several actors, object stores of a few nodes, autoscaling.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from data_contracts.errors import Retriable
from tasks.backends import FLOAT32, BackendConfig
from tasks.cluster.session import ClusterConfig, gpus_per_worker
from tasks.lake import Lake
from tasks.shards import Shard, score_shard

if TYPE_CHECKING:
    from models.engine import Predictor

logger = logging.getLogger(__name__)


class NoProgress(Retriable):
    """No shard was finished for longer than the settings allow."""


class WorkersLost(Retriable):
    """Every scoring actor died more often than it may be restarted."""


class Scorer:
    """What one actor holds: a model and the night's workbench."""

    def __init__(
        self,
        bundles: Sequence[str],
        lake_url: str,
        night: date,
        config: ClusterConfig,
        threads: int,
        backend: BackendConfig,
    ) -> None:
        from pathlib import Path

        from models.engine import Predictor

        self._stage = Lake.open(lake_url).stage(night)
        self._predictor: Predictor = Predictor(
            [Path(b) for b in bundles],
            token_budget=config.token_budget,
            threads=threads,
            backend=backend.name,
            cache=backend.cache,
        )

    def score(self, shard: Shard) -> None:
        """Score one shard into the staging area."""
        score_shard(self._predictor, shard, self._stage)


def score_on_ray(
    shards: Sequence[Shard],
    *,
    bundles: Sequence[str],
    lake_url: str,
    night: date,
    config: ClusterConfig,
    backend: BackendConfig = FLOAT32,
) -> None:
    """Score `shards` (staged for `night` in the lake) with `config.workers` actors; inside a `session`.

    Bundles and lake must be visible where the actors run: local paths on one machine, a shared file system or URL on a cluster.

    Raises:
        NoProgress: nothing was finished for `config.no_progress_seconds`.
        WorkersLost: the actors died too often.
        Exception: whatever a shard raised, as it was raised.
    """
    import ray

    arguments = (list(bundles), lake_url, night, config, config.threads(), backend)
    actor = ray.remote(Scorer).options(
        num_cpus=config.cpus_per_worker,
        num_gpus=gpus_per_worker(config),
        max_restarts=config.shard_tries,
        max_task_retries=config.shard_tries,
    )
    actors = [actor.remote(*arguments) for _ in range(min(config.workers, len(shards)))]
    try:
        _drain(actors, deque(shards), config)
    finally:
        for one in actors:
            ray.kill(one)


def _drain(actors: list[Any], waiting: deque[Shard], config: ClusterConfig) -> None:
    """Keep each actor at one shard until none is left; a shard whose actor is lost goes to another."""
    import ray
    from ray.exceptions import RayActorError, RayTaskError

    total, done, cause = len(waiting), 0, ""
    idle = list(actors)
    running: dict[Any, tuple[Any, Shard]] = {}
    while waiting or running:
        while idle and waiting:
            one, shard = idle.pop(), waiting.popleft()
            running[one.score.remote(shard)] = (one, shard)
        if not running:
            raise WorkersLost(
                f"{len(waiting)} of {total} shards are left and no actor to score them; {done} are done and kept. {cause}"
            )
        ready, _ = ray.wait(list(running), num_returns=1, timeout=config.no_progress_seconds)
        if not ready:
            raise NoProgress(
                f"no shard of {total} was finished for {config.no_progress_seconds:.0f} s ({done} are done and kept); "
                "raise cluster.no_progress_seconds, lower cluster.rows_per_shard, or look for a stuck worker"
            )
        one, shard = running.pop(ready[0])
        try:
            ray.get(ready[0])
        except RayActorError as lost:
            cause = str(lost)
            logger.warning("a scoring actor is lost, its shard goes to another: %s", cause)
            waiting.append(shard)
        except RayTaskError as failed:
            raise failed.cause if isinstance(failed.cause, Exception) else failed from None
        else:
            done += 1
            idle.append(one)
            logger.info("scored shard %d of %d (%d rows)", done, total, shard.rows)

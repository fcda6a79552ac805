"""Scoring on Ray Data: a shard a block, streamed through a pool of actors, each holding one model.

Only the names of shards travel to the actors, and only a small row for each comes back (its key, its rows, how many of them failed); the
articles are read from the lake's staging area by the actor that scores them, and its results are staged there, the marker last. So no node
holds more than the shards its actors are at. An actor that dies takes nothing with it: Ray Data starts it again, elsewhere if its node is
gone, and gives its shards again; a result written twice has the same name. Ray Data would do so for ever, so each try of a shard is noted
beside it (Ray's own limit also counts calls to a node that is not yet known to be lost). Finished shards are not given in the first place.

The pool grows from `workers` to `max_workers` while shards wait and the cluster has room, and `prefetch` shards wait at an actor. Ray Data's own
reading, writing and checkpointing are not used: they merged small files into one block and lost committed rows on resume in our trials.

Not covered: spreading one shard over several actors.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pyarrow as pa

from data_contracts.errors import Retriable
from tasks.backends import FLOAT32, BackendConfig
from tasks.cluster.config import ClusterConfig
from tasks.cluster.session import gpus_per_worker
from tasks.lake import Lake, Stage
from tasks.shards import Shard, score_shards
from tasks.switches import switch

if TYPE_CHECKING:
    from ray.data import DataContext

    from models.engine import Predictor


TRIED = "shards/tried"


class NoProgress(Retriable):
    """No shard was finished for longer than the settings allow."""


class WorkersLost(Retriable):
    """Actors died over a shard more often than it may be tried again."""


@dataclass(frozen=True, kw_only=True)
class ScoringJob:
    """What every actor has to know.

    Bundles and lake must be visible where the actors run: local paths on one machine, a shared file system or URL on a cluster.
    Results are staged under the name `model` (tasks.shards.model_name); each actor takes the `backend` if it has
    agreed with float32 on a machine of its kind, else the reference.
    """

    bundles: tuple[str, ...]
    lake_url: str
    model: str
    cluster: ClusterConfig
    backend: BackendConfig = FLOAT32
    attempt: str = field(default_factory=lambda: uuid4().hex)  # tells the tries of this run from those of another


class Scorer:
    """What one actor holds: a model, opened with the first shard, so that what is wrong with it is raised as it is."""

    def __init__(self, job: ScoringJob) -> None:
        self._job = job

    @cached_property
    def _predictor(self) -> Predictor:
        from models.engine import Predictor

        job = self._job
        threads = job.cluster.threads()
        switch({"RAYON_NUM_THREADS": str(threads)})  # of the tokenizer, which takes every core otherwise
        return Predictor(
            job.bundles,
            token_budget=job.cluster.batch_tokens(),
            threads=threads,
            backend=self._backend(),
            cache=job.backend.cache,
        )

    def _backend(self) -> str:
        """The job's, if on this machine too it agrees with float32 for each of the bundles; else the reference."""
        from models.backends import AUTO, REFERENCE
        from models.backends.auto import serving
        from models.bundle import load
        from models.sharing import together

        name, cache = self._job.backend.name, self._job.backend.cache
        shared = together([load(path) for path in self._job.bundles])
        return name if name == AUTO or all(serving(name, one, cache=cache) == name for one in shared) else REFERENCE

    def __call__(self, block: pa.Table) -> Iterator[pa.Table]:
        """Score shards (`night`, `key`, `rows`) into their staging areas -> a row each: `night`, `key`, `rows`, `failed`."""
        lake = Lake.open(self._job.lake_url)
        shards = [Shard(**row) for row in block.to_pylist()]
        for shard in shards:
            self._begin(shard, lake.stage(shard.night))
        for shard, failed in score_shards(self._predictor, shards, lake, model=self._job.model):
            yield pa.table({name: [value] for name, value in (asdict(shard) | {"failed": failed}).items()})

    def _begin(self, shard: Shard, stage: Stage) -> None:
        """Note that a shard is tried: what kills its process every time would be given again for ever."""
        begun = f"{TRIED}/{self._job.attempt}-{shard.key}-"
        times = sum(name.startswith(begun) for name in stage.names())
        if times > self._job.cluster.shard_tries:
            raise WorkersLost(
                f"the {shard.rows} articles of {shard.key} were given to {times} workers, and each died over them; allowed are "
                f"{1 + self._job.cluster.shard_tries} (cluster.shard_tries); the shards that are done are kept"
            )
        stage.write(f"{begun}{times}", pa.table({"key": [shard.key]}))


def score_on_ray(shards: Sequence[Shard], job: ScoringJob) -> Iterator[tuple[Shard, int]]:
    """Score `shards`, staged in the job's lake, inside a `session`; yields each that is finished with the number of its failed rows.

    Raises:
        NoProgress: nothing was finished for `job.cluster.no_progress_seconds`.
        WorkersLost: actors died over a shard too often.
        Exception: whatever a shard raised, as it was raised.
    """
    import ray
    from ray.data import ActorPoolStrategy

    config = job.cluster.at_most(len(shards))
    blocks = ray.data.from_items([asdict(shard) for shard in shards], override_num_blocks=len(shards))
    scored = blocks.map_batches(
        Scorer,
        fn_constructor_args=(replace(job, cluster=config),),
        batch_size=None,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(
            min_size=config.workers, max_size=config.most_workers, max_tasks_in_flight_per_actor=1 + config.prefetch
        ),
        num_cpus=config.cpus_each,
        num_gpus=gpus_per_worker(config),
    )
    _set(scored.context, config)
    with _as_raised(config):
        for row in scored.iter_rows():
            yield Shard(**{name: row[name] for name in ("night", "key", "rows")}), row["failed"]


def _set(context: DataContext, config: ClusterConfig) -> None:
    """Ray Data without bars and notices, giving up where nothing moves, and raising what a shard raises."""
    context.enable_progress_bars = False
    context.enable_operator_progress_bars = False
    context.print_on_execution_start = False
    context.raise_original_map_exception = True
    context.execution_no_progress_timeout_s = config.no_progress_seconds


@contextmanager
def _as_raised(config: ClusterConfig) -> Iterator[None]:
    """What Ray Data raises and reports as a fault of its own, raised as what it is."""
    from ray.data.exceptions import ExecutionTimeoutError
    from ray.exceptions import RayActorError, RayTaskError

    said = logging.getLogger("ray.data")
    before = said.level
    said.setLevel(logging.CRITICAL)
    try:
        yield
    except ExecutionTimeoutError as stuck:
        raise NoProgress(
            f"no shard was finished for {config.no_progress_seconds:.0f} s; those that are done are kept: raise "
            "cluster.no_progress_seconds, lower cluster.rows_per_shard, or look for a stuck worker"
        ) from stuck
    except RayActorError as lost:
        raise WorkersLost(
            f"a scoring actor is lost and cannot be replaced; shards that are done are kept: {lost}"
        ) from lost
    except RayTaskError as failed:
        cause: Any = failed.cause
        raise cause if isinstance(cause, Exception) else failed from None
    finally:
        said.setLevel(before)

"""What every training under Ray Train has in common: workers, what they raise, a place to resume from, a swept folder.

A run is a directory `storage/name`. Its name carries a hash of everything that decides the outcome, because Ray resumes whatever it finds
under a name. What a worker does is a plain loop that `at_work` tells its rank, how the ranks are joined, and the checkpoint to go on from.

Not covered: sharded parameters (FSDP), elastic numbers of workers, object stores as `storage` (the outcome is a local directory).
"""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from data_contracts.errors import NightdeskError, Retriable
from tasks.cluster.config import ClusterConfig
from tasks.cluster.progress import PROGRESS, follow
from tasks.cluster.session import session, threads_here

if TYPE_CHECKING:
    from torch import nn

MAX_FAILURES = 2  # a lost worker is replaced this often; it costs about 11 s each time


class TrainingFailed(Retriable):
    """Training stopped before its end; running it again resumes at its last checkpoint."""


class Run(Protocol):
    """A training, and where it lives."""

    @property
    def name(self) -> str:
        """What Ray knows it by."""

    @property
    def storage(self) -> Path:
        """The directory of all trainings."""

    @property
    def folder(self) -> Path:
        """Everything of this run: `storage/name`, absolute."""

    @property
    def workers(self) -> int:
        """How many ranks."""


@dataclass(frozen=True, kw_only=True)
class Worker:
    """One worker's place among the ranks, and the checkpoint that it goes on from, if any."""

    rank: int
    world: int
    wrap: Callable[[nn.Module], nn.Module]
    resume_from: Path | None


def run_on_ray(
    loop: Callable[[Mapping[str, Any]], None],
    run: Run,
    *,
    cluster: ClusterConfig,
    outcome: str,
    say: Callable[[dict[str, Any]], None],
) -> None:
    """Run `loop` on `run.workers` workers, with their GPUs where there are enough, and leave `outcome` and the progress in the folder.

    `loop` gets {"run", "threads"} and is one worker's part, in its own process; `say` gets each line of progress as it is written.

    Raises:
        TrainingFailed: workers were lost more than twice, or Ray gave up; running again resumes.
        NightdeskError: whatever of ours a worker raised, such as a refused recipe.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    room = cluster.training(run.workers)
    with session(room):
        _fit(loop, run, room=room, say=say)
    _sweep(run.folder, outcome)


def _fit(
    loop: Callable[[Mapping[str, Any]], None], run: Run, *, room: ClusterConfig, say: Callable[[dict[str, Any]], None]
) -> None:
    import ray
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    use_gpu = float(ray.cluster_resources().get("GPU", 0.0)) >= run.workers
    trainer = TorchTrainer(
        loop,
        train_loop_config={"run": run, "threads": room.threads_per_worker},
        torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=run.workers, use_gpu=use_gpu, resources_per_worker={"CPU": room.cpus_each}
        ),
        run_config=RunConfig(
            name=run.name,
            storage_path=str(run.storage.absolute()),
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )
    # In the main thread Ray Train takes over SIGINT and ends an interrupted program with exit code 0; in another it does not.
    thread = ThreadPoolExecutor(max_workers=1)
    try:
        training = thread.submit(trainer.fit)
        follow(training, run.folder, say=say)
        training.result()
    except TrainingFailedError as failed:
        ours = [error for error in _causes(failed) if isinstance(error, NightdeskError)]
        raise (
            ours[0] if ours else TrainingFailed(f"{run.name}: {failed}; run it again to resume from {run.folder}")
        ) from failed
    finally:
        thread.shutdown(wait=False)


def _causes(failed: BaseException) -> list[BaseException]:
    """What the workers raised, and what that came from."""
    found: list[BaseException] = list(getattr(failed, "worker_failures", {}).values())
    for error in found:
        for inner in (getattr(error, "cause", None), error.__cause__):
            if isinstance(inner, BaseException) and inner not in found:
                found.append(inner)
    return found


@contextmanager
def at_work(threads: int) -> Iterator[Worker]:
    """Called by a loop: threads (0: its share of its node's) and GPU are set, and the checkpoint is there for the length of the block."""
    import ray.train
    import torch
    from ray.train.torch import get_device

    context = ray.train.get_context()
    torch.set_num_threads(threads_here(threads, context.get_local_world_size()))
    if torch.cuda.is_available():
        torch.cuda.set_device(get_device())
    rank, world = context.get_world_rank(), context.get_world_size()
    wrap = _alone if world == 1 else joined
    checkpoint = ray.train.get_checkpoint()
    with nullcontext() if checkpoint is None else checkpoint.as_directory() as folder:
        try:
            yield Worker(rank=rank, world=world, wrap=wrap, resume_from=Path(folder) if folder else None)
        finally:
            gc.collect()  # Ray ends the ranks' group next; a wrapped network, which refers to itself, must not outlive it (docs/log.md, 2026-11-29)


def report(metrics: Mapping[str, float], checkpoint: Path | None) -> None:
    """Tell Ray where this rank stands; Ray copies the checkpoint, which rank 0 alone has."""
    import ray.train

    ray.train.report(
        dict(metrics), checkpoint=None if checkpoint is None else ray.train.Checkpoint.from_directory(checkpoint)
    )


def _alone(network: nn.Module) -> nn.Module:
    """One worker has nothing to average."""
    return network


def joined(network: nn.Module) -> nn.Module:
    """Average the gradients of the ranks after each backward pass, where they lie, without copies."""
    from torch.nn.parallel import DistributedDataParallel

    return DistributedDataParallel(network, gradient_as_bucket_view=True)


def _sweep(folder: Path, outcome: str) -> None:
    """Drop Ray's checkpoints of a finished run: some hundreds of megabytes that nothing reads again."""
    for entry in folder.iterdir():
        if entry.name not in (outcome, PROGRESS):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

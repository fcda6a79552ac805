"""Fine-tuning under Ray Train: `models.training.fit` on one worker or on several that average their gradients.

A run is a directory `storage/name`. Its name carries a hash of everything that decides the outcome, because Ray resumes whatever it finds
under a name; running again resumes at the last finished epoch, and a run that has its bundle returns at once, without starting Ray. Every
epoch leaves a line in `progress.jsonl` with the step counter and the epoch that this worker started at, which is the proof of a resume.

Not covered: sharded parameters (FSDP), elastic numbers of workers, object stores as `storage` (the bundle is a local directory).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_contracts.errors import NightdeskError, Retriable
from tasks.cluster.progress import PROGRESS, follow, note
from tasks.cluster.session import ClusterConfig, session

if TYPE_CHECKING:
    from torch import nn

    from models.training import Progress, Recipe, TaskData

logger = logging.getLogger(__name__)

BUNDLE = "bundle"
MAX_FAILURES = 2  # a lost worker is replaced this often; it costs about 11 s each time


class TrainingFailed(Retriable):
    """Training stopped before its end; running it again resumes at the last finished epoch."""


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """One training: what `fit` needs, and where it lives (`storage/name`, absolute)."""

    trunk: str
    data: Mapping[str, TaskData]
    recipe: Recipe
    storage: Path
    workers: int = 1
    allow_hub: bool = False

    @property
    def name(self) -> str:
        """The tasks, and a hash of trunk, recipe, number of workers and every example."""
        digest = hashlib.sha256()
        recipe = json.dumps(dataclasses.asdict(self.recipe), sort_keys=True, default=str)
        digest.update(f"{self.trunk}\n{recipe}\n{self.workers}".encode())
        for task, parts in sorted(self.data.items()):
            for example in (task, *parts.train, "dev", *parts.dev):
                digest.update(repr(example).encode("utf-8", "surrogatepass") + b"\n")
        return f"{'-'.join(sorted(self.data))}-{digest.hexdigest()[:16]}"

    @property
    def folder(self) -> Path:
        """Everything of this run."""
        return self.storage.absolute() / self.name

    @property
    def bundle(self) -> Path:
        """The finished model."""
        return self.folder / BUNDLE

    def finished(self) -> bool:
        """True when the bundle is there: it is written under another name and renamed."""
        return (self.bundle / "manifest.json").is_file()


def train_on_ray(run: TrainingRun, *, cluster: ClusterConfig) -> Path:
    """Train with `run.workers` workers, with their GPUs where there are enough, and return the bundle's directory.

    Raises:
        TrainingFailed: workers were lost more than twice, or Ray gave up; running again resumes.
        NightdeskError: whatever of ours a worker raised, such as a refused recipe.
    """
    if run.finished():
        logger.info("%s is finished: %s", run.name, run.bundle)
        return run.bundle
    run.folder.mkdir(parents=True, exist_ok=True)
    room = dataclasses.replace(cluster, workers=run.workers, cpus_per_worker=1.0)
    with session(room):
        _fit(run, threads=room.threads())
    _sweep(run)
    return run.bundle


def _fit(run: TrainingRun, *, threads: int) -> None:
    import ray
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    use_gpu = float(ray.cluster_resources().get("GPU", 0.0)) >= run.workers
    trainer = TorchTrainer(
        _loop,
        train_loop_config={"run": run, "threads": threads},
        torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=run.workers, use_gpu=use_gpu),
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
        follow(training, run.folder, epochs=run.recipe.epochs)
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


def _loop(config: Mapping[str, Any]) -> None:
    """One worker, in its own process."""
    import ray.train
    import torch
    from ray.train.torch import get_device

    from models.training import fit, identity

    run: TrainingRun = config["run"]
    torch.set_num_threads(config["threads"])
    if torch.cuda.is_available():
        torch.cuda.set_device(get_device())
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    checkpoint = ray.train.get_checkpoint()
    started: list[int] = []

    def on_epoch(progress: Progress, folder: Path | None) -> None:
        started.append(progress.epoch - 1)
        if rank == 0:
            note(run.folder, progress, started_at_epoch=started[0])
        metrics = {**progress.metrics, "epoch": progress.epoch, "step": progress.step, "started_at_epoch": started[0]}
        ray.train.report(metrics, checkpoint=None if folder is None else ray.train.Checkpoint.from_directory(folder))

    def start(resume_from: Path | None) -> None:
        fit(
            trunk=run.trunk,
            data=run.data,
            recipe=run.recipe,
            output=run.bundle,
            rank=rank,
            world=world,
            wrap=identity if world == 1 else _joined,
            on_epoch=on_epoch,
            resume_from=resume_from,
            allow_hub=run.allow_hub,
        )

    if checkpoint is None:
        start(None)
        return
    with checkpoint.as_directory() as folder:
        start(Path(folder))


def _joined(network: nn.Module) -> nn.Module:
    """Average the gradients of the ranks after each backward pass."""
    from torch.nn.parallel import DistributedDataParallel

    return DistributedDataParallel(network)


def _sweep(run: TrainingRun) -> None:
    """Drop Ray's checkpoints of a finished run: some hundreds of megabytes that nothing reads again."""
    for entry in run.folder.iterdir():
        if entry.name not in (BUNDLE, PROGRESS):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

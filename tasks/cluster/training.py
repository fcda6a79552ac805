"""Fine-tuning under Ray Train: `models.training.fit` on one worker or on several that average their gradients.

A run is a directory `storage/name`. Its name carries a hash of everything that decides the outcome, because Ray resumes whatever it finds
under a name; running again resumes at the last checkpoint, and a run that has its bundle returns at once, without starting Ray. Every
checkpoint, after an epoch or within one, leaves a line in `progress.jsonl` with the step counter and the epoch and step that this worker
started at, which is the proof of a resume.

Not covered: sharded parameters (FSDP), elastic numbers of workers, object stores as `storage` (the bundle is a local directory).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.cluster.config import ClusterConfig
from tasks.cluster.progress import note, say
from tasks.cluster.trainer import at_work, report, run_on_ray

if TYPE_CHECKING:
    from models.compress.distil import Distillation
    from models.training import Progress, Recipe, TaskData

logger = logging.getLogger(__name__)

BUNDLE = "bundle"


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """One training: what `fit` needs, and where it lives (`storage/name`, absolute)."""

    trunk: str
    data: Mapping[str, TaskData]
    recipe: Recipe
    storage: Path
    workers: int = 1
    allow_hub: bool = False
    distillation: Distillation | None = None

    @property
    def name(self) -> str:
        """The tasks, and a hash of trunk (of a directory its weights), recipe, number of workers, teachers and every example."""
        from models.starting import fingerprint

        digest = hashlib.sha256()
        recipe = json.dumps(dataclasses.asdict(self.recipe), sort_keys=True, default=str)
        digest.update(f"{fingerprint(self.trunk)}\n{recipe}\n{self.workers}".encode())
        if self.distillation is not None:
            digest.update(self.distillation.fingerprint().encode())
        for task, parts in sorted(self.data.items()):
            for example in (task, *parts.train, "dev", *parts.dev, "auxiliary", *parts.auxiliary):
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
    run_on_ray(_loop, run, cluster=cluster, outcome=BUNDLE, say=partial(say, epochs=run.recipe.epochs))
    return run.bundle


def _loop(config: Mapping[str, Any]) -> None:
    """One worker, in its own process."""
    from models.checkpoint import reached
    from models.training import fit

    run: TrainingRun = config["run"]
    with at_work(config["threads"]) as worker:
        epoch, step = reached(worker.resume_from)
        started = {"started_at_epoch": epoch, "started_at_step": step}

        def tell(progress: Progress, folder: Path | None) -> None:
            if worker.rank == 0:
                note(run.folder, progress, **started)
            report({**progress.metrics, "epoch": progress.epoch, "step": progress.step, **started}, folder)

        fit(
            trunk=run.trunk,
            data=run.data,
            recipe=run.recipe,
            output=run.bundle,
            rank=worker.rank,
            world=worker.world,
            wrap=worker.wrap,
            on_epoch=tell,
            on_checkpoint=tell,
            resume_from=worker.resume_from,
            allow_hub=run.allow_hub,
            distillation=run.distillation,
        )

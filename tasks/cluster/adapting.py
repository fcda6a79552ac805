"""Continued pre-training under Ray Train: `models.adapting.adapt` on one worker or on several that average their gradients.

Running again resumes at the last checkpoint, and a run that has its trunk returns at once, without starting Ray. Every checkpoint leaves a
line in `progress.jsonl` with the step counter and the step that this worker started at, which is the proof of a resume. The texts travel as
a file that all machines see (tasks.corpus), not through Ray's memory.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.cluster.config import ClusterConfig
from tasks.cluster.progress import note, say_step
from tasks.cluster.trainer import at_work, report, run_on_ray
from tasks.corpus import Corpus

if TYPE_CHECKING:
    from models.adapting import AdaptProgress, AdaptRecipe

logger = logging.getLogger(__name__)

TRUNK = "trunk"


@dataclass(frozen=True, kw_only=True)
class AdaptRun:
    """One adaptation: what `adapt` needs, and where it lives (`storage/name`, absolute)."""

    trunk: str
    corpus: Corpus
    recipe: AdaptRecipe
    storage: Path
    workers: int = 1
    allow_hub: bool = False

    @property
    def name(self) -> str:
        """The objectives, and a hash of trunk (of a directory its weights), recipe, number of workers and texts."""
        from models.starting import fingerprint

        recipe = json.dumps(dataclasses.asdict(self.recipe), sort_keys=True)
        told = f"{fingerprint(self.trunk)}\n{recipe}\n{self.workers}\n{self.corpus.digest}"
        return f"adapt-{'-'.join(self.recipe.objectives)}-{hashlib.sha256(told.encode()).hexdigest()[:16]}"

    @property
    def folder(self) -> Path:
        """Everything of this run."""
        return self.storage.absolute() / self.name

    @property
    def adapted(self) -> Path:
        """The finished trunk."""
        return self.folder / TRUNK

    def finished(self) -> bool:
        """True when the trunk is there: it is written under another name and renamed."""
        return (self.adapted / "adapt.json").is_file()


def adapt_on_ray(run: AdaptRun, *, cluster: ClusterConfig) -> Path:
    """Adapt with `run.workers` workers, with their GPUs where there are enough, and return the trunk's directory.

    Raises:
        TrainingFailed: workers were lost more than twice, or Ray gave up; running again resumes.
        NightdeskError: whatever of ours a worker raised, such as a refused recipe.
    """
    if run.finished():
        logger.info("%s is finished: %s", run.name, run.adapted)
        return run.adapted
    run_on_ray(_loop, run, cluster=cluster, outcome=TRUNK, say=say_step)
    return run.adapted


def _loop(config: Mapping[str, Any]) -> None:
    """One worker, in its own process."""
    from models.adapting import adapt

    run: AdaptRun = config["run"]
    with at_work(config["threads"]) as worker:

        def on_checkpoint(progress: AdaptProgress, folder: Path | None) -> None:
            if worker.rank == 0:
                note(run.folder, progress)
            report({**progress.metrics, "step": progress.step, "started_at_step": progress.started_at_step}, folder)

        adapt(
            trunk=run.trunk,
            texts=run.corpus.read(),
            recipe=run.recipe,
            output=run.adapted,
            rank=worker.rank,
            world=worker.world,
            wrap=worker.wrap,
            on_checkpoint=on_checkpoint,
            resume_from=worker.resume_from,
            allow_hub=run.allow_hub,
        )

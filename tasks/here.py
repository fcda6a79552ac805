"""A training in this process, without Ray: the same run directory, the same resuming, the same lines of progress as tasks.cluster.training."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.cluster import TrainingRun
from tasks.cluster.progress import note, say

if TYPE_CHECKING:
    from models.training import Progress

CHECKPOINT = "latest-checkpoint"


def train_here(run: TrainingRun) -> Path:
    """`fit` in this process, resuming at its last checkpoint; a finished run returns at once."""
    from models.checkpoint import reached, standing
    from models.training import fit

    if run.finished():
        return run.bundle
    run.folder.mkdir(parents=True, exist_ok=True)
    pointer = run.folder / CHECKPOINT
    resume_from = standing(Path(pointer.read_text(encoding="utf-8"))) if pointer.is_file() else None
    epoch, step = reached(resume_from)

    def tell(progress: Progress, checkpoint: Path | None) -> None:
        pointer.write_text(str(checkpoint), encoding="utf-8")
        note(run.folder, progress, started_at_epoch=epoch, started_at_step=step)
        say(asdict(progress), epochs=run.recipe.epochs)

    return fit(
        trunk=run.trunk,
        data=run.data,
        recipe=run.recipe,
        output=run.bundle,
        on_epoch=tell,
        on_checkpoint=tell,
        resume_from=resume_from,
        allow_hub=run.allow_hub,
        distillation=run.distillation,
    )

"""Continued pre-training as a plain loop that any launcher can call: a trunk learns from texts of its field before it learns a task.

Gururangan et al. 2020 ("Don't Stop Pretraining") for why: further masked-language modelling on a field's own texts helps the tasks of that
field, most where labels are few. What is learnt is the objectives' (models/objectives); the output is a trunk that `--trunk` takes.

Every random choice is drawn from the seed, the step and the piece of text, and a step is made for all ranks together: its loss is a mean over
the guesses of all ranks, so the ranks take the steps that one process would, and an adaptation resumed from a checkpoint those that an
undisturbed one takes. Does not cover: a new vocabulary, sharded parameters, texts that do not fit in memory.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from models.adaptation.output import AdaptManifest, read_manifest
from models.adaptation.recipe import AdaptRecipe
from models.adaptation.run import Adaptation
from models.adaptation.texts import Texts
from models.recipe import RecipeRefused

__all__ = ["AdaptManifest", "AdaptProgress", "AdaptRecipe", "Texts", "adapt", "read_manifest"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class AdaptProgress:
    """Where an adaptation stands at a checkpoint: `metrics` are named OBJECTIVE.FIGURE, on held-out texts but for train_loss."""

    step: int  # optimiser steps done
    steps: int  # of the whole adaptation
    epoch: int  # epochs begun, from 1
    started_at_step: int  # steps that this process found done, which is the proof of a resume
    metrics: Mapping[str, float]
    finished: bool


def identity(network: nn.Module) -> nn.Module:
    """No wrapping: one process."""
    return network


def ignore(progress: AdaptProgress, checkpoint: Path | None) -> None:
    """Nobody wants to know."""


def adapt(
    *,
    trunk: str,
    texts: Texts,
    recipe: AdaptRecipe,
    output: Path,
    rank: int = 0,
    world: int = 1,
    wrap: Callable[[nn.Module], nn.Module] = identity,
    on_checkpoint: Callable[[AdaptProgress, Path | None], None] = ignore,
    resume_from: Path | None = None,
    allow_hub: bool = False,
) -> Path:
    """Adapt a trunk to texts and save it; return its directory, `output`, which rank 0 has written.

    `wrap` joins the ranks (DistributedDataParallel). At every checkpoint `on_checkpoint` is called on every rank, on rank 0 with a directory
    that holds the checkpoint until the next replaces it; copy it to keep it. `resume_from` is such a directory. The held-out loss is measured
    before the first step and at every checkpoint; the weights saved are those of the checkpoint with the least.
    """
    if not 0 <= rank < world:
        raise RecipeRefused(f"rank {rank} of {world}; allowed is 0 <= rank < world")
    adaptation = Adaptation.start(
        trunk=trunk,
        texts=texts,
        recipe=recipe,
        output=Path(output),
        rank=rank,
        world=world,
        wrap=wrap,
        allow_hub=allow_hub,
    )
    if resume_from is None:
        adaptation.measure()
        logger.info("before the first of %d steps: %s", adaptation.course.total, adaptation.evaluations[0].by_name())
    else:
        adaptation.resume(Path(resume_from))
    started_at_step = adaptation.step
    while not adaptation.finished:
        learnt = adaptation.advance()
        progress = AdaptProgress(
            step=adaptation.step,
            steps=adaptation.course.total,
            epoch=adaptation.course.epoch(adaptation.step - 1) + 1,
            started_at_step=started_at_step,
            metrics=learnt | adaptation.evaluations[-1].by_name(),
            finished=adaptation.finished,
        )
        logger.info("step %d of %d: %s", progress.step, progress.steps, dict(progress.metrics))
        on_checkpoint(progress, adaptation.checkpoint() if rank == 0 else None)
    if rank == 0:
        adaptation.save()
    return Path(output)

"""Fine-tuning as a plain loop that any launcher can call: one process, or one of many ranks that a launcher has joined.

One trunk learns one task or several at once, a task a step, tasks in turn at random. AdamW with decoupled weight decay (Loshchilov and Hutter
2019), linear warm-up and decay, clipped gradients, early stopping on the dev part with the best epoch's weights kept (Devlin et al. 2019
and Mosbach et al. 2021 for why so). At the end rank 0 fits a temperature a head on dev, measures on dev and writes the bundle.

Every random choice is drawn from (seed, epoch, rank), and within an epoch with the step where a checkpoint stands; every batch is made for all
ranks together: the ranks take the same steps, and a training resumed from a checkpoint takes those that one never interrupted would. Several tasks
are stopped together, at the epoch that is best by the mean of their F1, which need not be the best of any one of them.
Does not cover: sharded parameters, several trunks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from models.compress.distil import Distillation
from models.fitting import Fitting
from models.heads import head_class
from models.recipe import Recipe, RecipeRefused, TaskData, recipe_for
from models.throughput import Throughput

__all__ = ["Progress", "Recipe", "RecipeRefused", "TaskData", "fit", "identity", "ignore", "recipe_for"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a training stands: `metrics` are named TASK.FIGURE, `best` is the highest mean F1 on dev so far.

    Within an epoch `epoch_step` counts its steps done, and there are no metrics yet.
    """

    epoch: int  # epochs done
    step: int  # optimiser steps done
    metrics: Mapping[str, float]
    best: float
    finished: bool
    epoch_step: int = 0
    throughput: Throughput = field(default=Throughput(), compare=False)  # of the epoch's steps so far, in this process


def identity(network: nn.Module) -> nn.Module:
    """No wrapping: one process."""
    return network


def ignore(progress: Progress, checkpoint: Path | None) -> None:
    """Nobody wants to know."""


def fit(
    *,
    trunk: str,
    data: Mapping[str, TaskData],
    recipe: Recipe,
    output: Path,
    rank: int = 0,
    world: int = 1,
    wrap: Callable[[nn.Module], nn.Module] = identity,
    on_epoch: Callable[[Progress, Path | None], None] = ignore,
    on_checkpoint: Callable[[Progress, Path | None], None] = ignore,
    resume_from: Path | None = None,
    allow_hub: bool = False,
    distillation: Distillation | None = None,
) -> Path:
    """Train, choose, calibrate, measure and save; return the bundle's directory, `output`, which rank 0 has written.

    `wrap` joins the ranks (DistributedDataParallel). After every epoch `on_epoch` is called on every rank, on rank 0 with a directory that
    holds a checkpoint until the next replaces it; copy it to keep it. `resume_from` is such a directory. So is `on_checkpoint` within an
    epoch, every `recipe.checkpoint_steps` steps. `trunk` is a name of
    models.starting; with `distillation` teachers are listened to beside the gold labels (models.compress.distil).
    """
    _check(data, rank=rank, world=world)
    fitting = Fitting.start(
        trunk=trunk,
        data=data,
        recipe=recipe,
        output=Path(output),
        rank=rank,
        world=world,
        wrap=wrap,
        allow_hub=allow_hub,
        distillation=distillation,
    )
    if resume_from is not None:
        fitting.resume(Path(resume_from))
    fitting.pause = lambda paused: on_checkpoint(_progress(paused, {}), paused.checkpoint() if rank == 0 else None)
    while not fitting.finished:
        metrics = fitting.epoch()
        progress = _progress(fitting, metrics)
        logger.info("epoch %d, step %d: %s", progress.epoch, progress.step, {**metrics, **fitting.throughput.figures()})
        on_epoch(progress, fitting.checkpoint() if rank == 0 else None)
    if rank == 0:
        fitting.save()
    return Path(output)


def _progress(fitting: Fitting, metrics: Mapping[str, float]) -> Progress:
    return Progress(
        epoch=fitting.epochs_done,
        epoch_step=fitting.epoch_step,
        step=fitting.step,
        metrics=metrics,
        best=fitting.best,
        finished=fitting.finished,
        throughput=fitting.throughput,
    )


def _check(data: Mapping[str, TaskData], *, rank: int, world: int) -> None:
    if not data:
        raise RecipeRefused("no task to train; allowed are the files of models/heads")
    if not 0 <= rank < world:
        raise RecipeRefused(f"rank {rank} of {world}; allowed is 0 <= rank < world")
    for task, parts in data.items():
        head_class(task)
        if not parts.train or not parts.dev:
            raise RecipeRefused(
                f"{task}: {len(parts.train)} train and {len(parts.dev)} dev examples; each part needs one at least"
            )

"""Fine-tuning as a plain loop that any launcher can call: one process, or one of many ranks that a launcher has joined.

One trunk learns one task or several at once, a task a step, tasks in turn at random. AdamW with decoupled weight decay (Loshchilov and Hutter
2019), linear warm-up and decay, clipped gradients, early stopping on the dev part with the best epoch's weights kept (Devlin et al. 2019
and Mosbach et al. 2021 for why so). At the end rank 0 fits a temperature a head on dev, measures on dev and writes the bundle.

Every random choice is drawn from (seed, epoch, rank) and every batch is made for all ranks together: the ranks take the same steps, and a
training resumed from a checkpoint takes those that one never interrupted would. Does not cover: sharded parameters, several trunks.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from data_contracts.errors import Fatal
from models.heads import Example, head_class

logger = logging.getLogger(__name__)


class RecipeRefused(Fatal):
    """A recipe or the data for it is not one that can be followed."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train. Lengths are tokens, shares and probabilities in [0, 1], `batch_size` counts examples a step over all ranks."""

    learning_rate: float = 1e-4
    head_rate_factor: float = 1.0  # the heads learn this many times faster than the trunk
    shape_rate_factor: float = 5.0  # and the word-shape embedding this many times
    epochs: int = 3
    batch_size: int = 32
    accumulate: int = 1  # parts a step is computed in, to save memory
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    dropout: float = 0.1
    label_smoothing: float = 0.0
    loss_weights: Mapping[str, float] = field(default_factory=dict)  # by task; 1 where none is given
    freeze_layers: int = 0  # of the trunk, from below; with any, the embeddings are frozen too
    precision: str = "bf16"  # or "float32"
    patience: int = 2  # epochs without a better figure on dev before it stops; 0: never
    max_length: int = 256
    overlap: int = 64
    pooling: str = "mean"  # or "cls"
    word_shapes: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        allowed = {
            "precision in float32, bf16": self.precision in ("float32", "bf16"),
            "pooling in mean, cls": self.pooling in ("mean", "cls"),
            "learning_rate > 0": self.learning_rate > 0,
            "epochs, batch_size, accumulate >= 1": min(self.epochs, self.batch_size, self.accumulate) >= 1,
            "0 <= dropout, warmup_share, label_smoothing < 1": all(
                0 <= value < 1 for value in (self.dropout, self.warmup_share, self.label_smoothing)
            ),
            "max_length >= 8, 0 <= overlap < max_length - 2": self.max_length >= 8 and 0 <= self.overlap < self.max_length - 2,
            "freeze_layers, patience, weight_decay >= 0": min(self.freeze_layers, self.patience, self.weight_decay) >= 0,
        }
        broken = [rule for rule, holds in allowed.items() if not holds]
        if broken:
            raise RecipeRefused(f"recipe {self}: allowed is {'; '.join(broken)}")


def recipe_for(tasks: Sequence[str], **changes: Any) -> Recipe:
    """The recipe that measured best for these tasks with the default trunk, with changes by field name."""
    if "ner" in tasks:
        return dataclasses.replace(Recipe(learning_rate=2e-4, epochs=5, word_shapes=True), **changes)
    return dataclasses.replace(Recipe(learning_rate=1e-4, epochs=3), **changes)


@dataclass(frozen=True)
class TaskData:
    """A task's labelled examples, row classes of data_contracts.labelled: for fitting, and for choosing."""

    train: Sequence[Example]
    dev: Sequence[Example]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a training stands after an epoch: `metrics` are named TASK.FIGURE, `best` is the highest mean F1 on dev so far."""

    epoch: int  # epochs done
    step: int  # optimiser steps done
    metrics: Mapping[str, float]
    best: float
    finished: bool


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
    resume_from: Path | None = None,
    allow_hub: bool = False,
) -> Path:
    """Train, choose, calibrate, measure and save; return the bundle's directory, `output`, which rank 0 has written.

    `wrap` joins the ranks (DistributedDataParallel). After every epoch `on_epoch` is called on every rank, on rank 0 with a directory that
    holds a checkpoint until the next epoch replaces it; copy it to keep it. `resume_from` is such a directory.
    """
    from models.fitting import Fitting

    _check(data, rank=rank, world=world)
    fitting = Fitting.start(
        trunk=trunk, data=data, recipe=recipe, output=Path(output), rank=rank, world=world, wrap=wrap, allow_hub=allow_hub
    )
    if resume_from is not None:
        fitting.resume(Path(resume_from))
    while not fitting.finished:
        metrics = fitting.epoch()
        progress = Progress(
            epoch=fitting.epochs_done, step=fitting.step, metrics=metrics, best=fitting.best, finished=fitting.finished
        )
        logger.info("epoch %d, step %d: %s", progress.epoch, progress.step, dict(metrics))
        on_epoch(progress, fitting.checkpoint() if rank == 0 else None)
    if rank == 0:
        fitting.save()
    return Path(output)


def _check(data: Mapping[str, TaskData], *, rank: int, world: int) -> None:
    if not data:
        raise RecipeRefused("no task to train; allowed are the files of models/heads")
    if not 0 <= rank < world:
        raise RecipeRefused(f"rank {rank} of {world}; allowed is 0 <= rank < world")
    for task, parts in data.items():
        head_class(task)
        if not parts.train or not parts.dev:
            raise RecipeRefused(f"{task}: {len(parts.train)} train and {len(parts.dev)} dev examples; each part needs one at least")

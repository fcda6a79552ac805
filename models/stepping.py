"""The optimiser steps of a training: forward, backward, clip, update; and how fast they went.

Ranks whose shares of a step differ count by their items, so that their mean is the step's own; of word heads, whose loss is a mean over words,
nearly so. On a GPU nothing waits for it within a row of steps: losses stay there until the last is done, so that the next batch is made and
copied while one is computed. Does not cover: which examples make a step (models.schedule), what a loss is (models.losses).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from models import tuning
from models.items import Item
from models.losses import batch_loss
from models.schedule import Step, learning_rate_factor, share
from models.throughput import Cost, Throughput, matrix_peak

if TYPE_CHECKING:
    from models.fitting import Fitting


def take(fitting: Fitting, steps: Sequence[Step], items: Mapping[str, Sequence[Item]]) -> Throughput:
    """Take some steps in a row and note their losses; what they learnt from over all ranks, and how long that took."""
    begin = time.perf_counter()
    losses = [(step.task, _learn(fitting, step, items[step.task])) for step in steps]
    for task, loss in losses:
        fitting.losses.setdefault(task, []).append(float(loss))
    fitting.epoch_step += len(steps)
    seconds = time.perf_counter() - begin
    lengths = [len(one.ids) for step in steps for index in step.items for one in items[step.task][index].windows]
    cost = Cost.of(fitting.network, passes=2 if fitting.recipe.r_drop else 1)
    precision = torch.bfloat16 if fitting.recipe.precision == "bf16" else torch.float32
    peak = matrix_peak(fitting.network.device.type, precision, torch.get_num_threads())
    return Throughput(
        tokens=sum(lengths), flops=cost.flops(lengths), seconds=seconds, possible=seconds * fitting.world * peak
    )


def loss_of(fitting: Fitting, task: str, items: Sequence[Item]) -> torch.Tensor:
    """The loss () of some items, through the network as a launcher has joined it."""
    return batch_loss(
        task,
        items,
        network=fitting.network,
        wrapped=fitting.wrapped,
        recipe=fitting.recipe,
        pad_id=fitting.encoder.pad_id,
        lesson=fitting.lesson,
    )


def _learn(fitting: Fitting, step: Step, items: Sequence[Item]) -> torch.Tensor:
    """One step; the loss () of this rank's share of it."""
    recipe, network, total = fitting.recipe, fitting.network, fitting.epochs.total
    factor = learning_rate_factor(fitting.step, total=total, warmup=max(1, round(recipe.warmup_share * total)))
    for group in fitting.optimiser.param_groups:
        group["lr"] = group["full_rate"] * factor
    parts = share(step.items, rank=fitting.rank, world=fitting.world, accumulate=recipe.accumulate)
    count = sum(len(part) for part in parts)
    whole = max(len(step.items), fitting.world) / fitting.world  # what a launcher's mean over the ranks divides by
    loss = torch.zeros((), device=network.device)
    for part in parts:
        partial = loss_of(fitting, step.task, [items[index] for index in part])
        (partial * (len(part) / whole)).backward()  # type: ignore[no-untyped-call]
        loss += partial.detach() * (len(part) / count)
    tuning.before_step(network, recipe)
    nn.utils.clip_grad_norm_(network.parameters(), recipe.max_gradient_norm)
    fitting.optimiser.step()
    tuning.after_step(network, recipe, step=fitting.step + 1, total=total)
    fitting.optimiser.zero_grad(set_to_none=True)
    fitting.step += 1
    fitting.averaged.update(step=fitting.step, total=total)
    return loss

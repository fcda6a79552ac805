"""Which examples make which step, and how fast each step learns: pure functions of seed, epoch and step, equal on every rank.

A batch is made for all ranks together and then shared out, so the same steps are taken whatever the number of ranks, and every rank takes
part in every one. Batches are grouped by length: shuffled, sorted within pools of fifty batches, cut, shuffled again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

_POOL_BATCHES = 50


@dataclass(frozen=True, slots=True)
class Step:
    """One optimiser step: a task, and the indices of its items, over all ranks."""

    task: str
    items: tuple[int, ...]


def epoch_steps(lengths: Mapping[str, Sequence[int]], *, batch_size: int, seed: int, epoch: int) -> list[Step]:
    """An epoch's steps over the items of every task (given by their lengths in tokens), tasks in turn at random."""
    steps: list[Step] = []
    for number, task in enumerate(sorted(lengths)):
        chance = np.random.default_rng([seed, epoch, number])
        steps.extend(
            Step(task, tuple(batch)) for batch in _batches(lengths[task], batch_size=batch_size, chance=chance)
        )
    order = np.random.default_rng([seed, epoch, len(lengths)]).permutation(len(steps))
    return [steps[index] for index in order]


def _batches(lengths: Sequence[int], *, batch_size: int, chance: np.random.Generator) -> list[list[int]]:
    order = chance.permutation(len(lengths)).tolist()
    pool = batch_size * _POOL_BATCHES
    batches: list[list[int]] = []
    for begin in range(0, len(order), pool):
        grouped = sorted(order[begin : begin + pool], key=lambda index: -lengths[index])
        batches.extend(grouped[i : i + batch_size] for i in range(0, len(grouped), batch_size))
    return batches


def share(items: Sequence[int], *, rank: int, world: int, accumulate: int) -> list[list[int]]:
    """A rank's items of a step, in parts for gradient accumulation; every rank gets the same number of parts, none empty."""
    mine = list(items[rank::world]) or [items[rank % len(items)]]
    parts = max(1, min(accumulate, len(items) // world))
    return [mine[part::parts] for part in range(parts)]


def learning_rate_factor(step: int, *, total: int, warmup: int) -> float:
    """In [0, 1]: rises linearly over `warmup` steps, then falls linearly to 0 at `total`; `step` counts from 0."""
    if step < warmup:
        return (step + 1) / warmup
    return max(0.0, (total - step) / max(1, total - warmup))

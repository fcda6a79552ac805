"""Which examples make which step, and how fast each step learns: pure functions of seed, epoch and step, equal on every rank.

A batch is made for all ranks together and then shared out, so the same steps are taken whatever the number of ranks, and every rank takes
part in every one. Batches are grouped by length: shuffled, sorted within pools of fifty batches, cut, shuffled again. They are cut by a number of
examples, or by a budget of tokens, padding included, so that a step of short sentences holds more of them than one of long ones.
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


def epoch_steps(
    lengths: Mapping[str, Sequence[int]],
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    batch_tokens: int = 0,
    taken: Mapping[str, Sequence[int]] | None = None,
) -> list[Step]:
    """An epoch's steps over the items of every task (given by their lengths in tokens), tasks in turn at random.

    With `batch_tokens` above 0 a batch is cut where (its longest) x (its number) would pass it, and `batch_size` says nothing. `taken` has
    the indices of the items that this epoch learns from; without it, all.
    """
    steps: list[Step] = []
    for number, task in enumerate(sorted(lengths)):
        chance = np.random.default_rng([seed, epoch, number])
        chosen = range(len(lengths[task])) if taken is None else taken[task]
        mine = [lengths[task][index] for index in chosen]
        batches = _batches(mine, batch_size=batch_size, batch_tokens=batch_tokens, chance=chance)
        steps.extend(Step(task, tuple(chosen[place] for place in batch)) for batch in batches)
    order = np.random.default_rng([seed, epoch, len(lengths)]).permutation(len(steps))
    return [steps[index] for index in order]


def _batches(
    lengths: Sequence[int], *, batch_size: int, batch_tokens: int, chance: np.random.Generator
) -> list[list[int]]:
    order = chance.permutation(len(lengths)).tolist()
    size = max(1, round(batch_tokens / np.mean(lengths))) if batch_tokens and lengths else batch_size
    pool = size * _POOL_BATCHES
    batches: list[list[int]] = []
    for begin in range(0, len(order), pool):
        grouped = sorted(order[begin : begin + pool], key=lambda index: -lengths[index])
        if batch_tokens:
            batches.extend(_within(grouped, lengths, batch_tokens))
        else:
            batches.extend(grouped[i : i + batch_size] for i in range(0, len(grouped), batch_size))
    return batches


def _within(grouped: Sequence[int], lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Indices that come longest first, cut by the budget; one longer than the budget stands alone."""
    batches: list[list[int]] = []
    for index in grouped:
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= batch_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
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

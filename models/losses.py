"""The loss of one batch of one task: the head's own, what teachers add to it, and what two passes must agree on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from data_contracts.errors import Fatal
from models.batching import collate, there
from models.compress.distil import Lesson
from models.heads import IGNORED
from models.items import Item, padded_targets, soft_targets
from models.network import Network
from models.r_drop import divergence
from models.recipe import Recipe


class Diverged(Fatal):
    """The loss left the numbers, or no figure on dev was ever one: there is nothing to keep."""


def batch_loss(
    task: str,
    items: Sequence[Item],
    *,
    network: Network,
    wrapped: nn.Module,
    recipe: Recipe,
    pad_id: int,
    lesson: Lesson | None,
) -> torch.Tensor:
    """The loss () of some items through `wrapped`, which is the network as a launcher has joined it; each head counts what has a target."""
    head, device = network.head(task), network.device
    if recipe.r_drop:
        items = [*items, *items]
    windows = [window for item in items for window in item.windows]
    owners = [number for number, item in enumerate(items) for _ in item.windows]
    batch = collate(windows, pad_id=pad_id, owners=owners, device=device)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=recipe.precision == "bf16"):
        logits = wrapped(task, batch)
    targets = torch.from_numpy(padded_targets(items, width=batch.ids.shape[1] if head.level == "word" else 1))
    targets = there(targets, device)
    soft = soft_targets(items, labels=head.outputs)
    loss = head.loss(
        logits,
        targets,
        smoothing=recipe.label_smoothing,
        soft=None if soft is None else there(torch.from_numpy(soft), device),
    )
    if lesson is not None:
        loss = lesson.blend(head, items, batch, logits, loss)
    if recipe.r_drop:
        counted = (targets.reshape(*logits.shape[:-1], -1) != IGNORED).any(dim=-1)
        first = counted[: len(counted) // 2]
        loss = loss + recipe.r_drop * divergence(logits, first, groups=head.groups())
    return loss * recipe.loss_weights.get(task, 1.0)

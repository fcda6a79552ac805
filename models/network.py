"""The network: one trunk, one head a task, all reading the same hidden states. And the pass over many windows.

Training asks for one task's logits at a time, through `forward`, which is what a launcher wraps for data-parallel training: every parameter
that learns takes part in every step, with weight nothing where the task has no use for it. Scoring asks for all tasks from one pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.batching import Batch, collate, plan
from models.encoder import Trunk
from models.heads import Head, head_class
from models.windows import Window


class Network(nn.Module):
    """A trunk and its heads, by task."""

    def __init__(self, trunk: Trunk, tasks: Sequence[str], *, dropout: float, pooling: str) -> None:
        super().__init__()
        self.trunk = trunk
        self.heads = nn.ModuleDict(
            {task: head_class(task)(trunk.hidden_size, dropout=dropout, pooling=pooling) for task in sorted(tasks)}
        )

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks it answers, sorted."""
        return tuple(self.heads)

    @property
    def device(self) -> torch.device:
        """Where its parameters lie."""
        return next(self.parameters()).device

    def head(self, task: str) -> Head:
        """One task's head."""
        head = self.heads[task]
        assert isinstance(head, Head)
        return head

    def forward(self, task: str, ids: torch.Tensor, mask: torch.Tensor, shapes: torch.Tensor) -> torch.Tensor:
        """One task's logits, (batch, labels) or (batch, tokens, labels), for ids, mask and shapes (batch, tokens)."""
        logits: torch.Tensor = self.heads[task](self.trunk(ids, mask, shapes), mask)
        for other in self.tasks:
            if other != task:
                logits = logits + 0.0 * sum(parameter.sum() for parameter in self.heads[other].parameters())
        return logits

    def all_logits(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Every task's logits from one pass of the trunk."""
        hidden = self.trunk(batch.ids, batch.mask, batch.shapes)
        return {task: head(hidden, batch.mask) for task, head in self.heads.items()}


def run_batch(network: Network, windows: Sequence[Window], *, pad_id: int) -> list[dict[str, NDArray[np.float32]]]:
    """Each window's logits by task, (labels,) or (tokens of the text in it, labels), from one pass without gradients."""
    with torch.inference_mode():
        tensors = network.all_logits(collate(windows, pad_id=pad_id, device=network.device))
    arrays = {task: logits.float().cpu().numpy() for task, logits in tensors.items()}
    return [
        {
            task: logits[row]
            if logits.ndim == 2
            else logits[row, window.offset : window.offset + window.stop - window.start]
            for task, logits in arrays.items()
        }
        for row, window in enumerate(windows)
    ]


def run(
    network: Network, windows: Sequence[Window], *, pad_id: int, token_budget: int
) -> list[Mapping[str, NDArray[np.float32]]]:
    """Each window's logits by task, in the order given; windows that look the same to the network are computed once."""
    network.eval()
    number_of: dict[bytes, int] = {}
    distinct: list[Window] = []
    index: list[int] = []
    for window in windows:
        number = number_of.setdefault(window.key, len(distinct))
        if number == len(distinct):
            distinct.append(window)
        index.append(number)
    results: list[Mapping[str, NDArray[np.float32]]] = [{}] * len(distinct)
    for batch in plan([len(window.ids) for window in distinct], token_budget=token_budget):
        for position, logits in zip(
            batch, run_batch(network, [distinct[i] for i in batch], pad_id=pad_id), strict=True
        ):
            results[position] = logits
    return [results[number] for number in index]

"""The network: one trunk, one head a task, all reading the same hidden states.

Training asks for one task's logits at a time, through `forward`, which is what a launcher wraps for data-parallel training: every parameter
that learns takes part in every step, with weight nothing where the task has no use for it. Scoring asks for all tasks from one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from models.batching import Batch
from models.encoder import TrunkRefused
from models.heads import Head, HeadOptions, head_class
from models.prefix import Prefix
from models.shapes import SHAPES


class Trunk(nn.Module):
    """A pre-trained encoder with, if wanted, an embedding of each word's shape added to its token embeddings (zero at first)."""

    def __init__(self, encoder: nn.Module, *, word_shapes: bool) -> None:
        super().__init__()
        self.encoder = encoder
        config: Any = encoder.config
        self.hidden_size = int(config.hidden_size)
        self.shapes: nn.Embedding | None = None
        self.prefix: Prefix | None = None  # what prefix tuning has learnt
        if word_shapes:
            foreign: Any = encoder
            self.shapes = nn.Embedding(len(SHAPES), int(foreign.get_input_embeddings().embedding_dim), padding_idx=0)
            nn.init.zeros_(self.shapes.weight)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, shapes: torch.Tensor) -> torch.Tensor:
        """Ids, mask and shapes (batch, tokens) -> hidden states (batch, tokens, hidden)."""
        model: Any = self.encoder
        given = {"attention_mask": mask} if self.prefix is None else self.prefix.arguments(mask)
        if self.shapes is None:
            output = model(input_ids=ids, **given)
        else:
            output = model(inputs_embeds=model.get_input_embeddings()(ids) + self.shapes(shapes), **given)
        hidden: torch.Tensor = output.last_hidden_state
        return hidden

    def layers(self) -> nn.ModuleList:
        """The encoder's layers, lowest first."""
        stacks = [module for module in self.encoder.modules() if isinstance(module, nn.ModuleList)]
        if not stacks:
            raise TrunkRefused(
                f"{type(self.encoder).__name__} shows no stack of layers; freeze_layers must be 0 for it"
            )
        return max(stacks, key=len)


class Network(nn.Module):
    """A trunk and its heads, by task."""

    def __init__(self, trunk: Trunk, tasks: Sequence[str], options: HeadOptions) -> None:
        super().__init__()
        self.trunk = trunk
        self.heads = nn.ModuleDict({task: head_class(task)(trunk.hidden_size, options) for task in sorted(tasks)})

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

    def forward(self, task: str, batch: Batch) -> torch.Tensor:
        """One task's logits, (windows, outputs) or (windows, tokens, outputs)."""
        head = self.head(task)
        logits: torch.Tensor = head(self.trunk(batch.ids, batch.mask, batch.shapes), batch)
        if head.level == "document":
            logits = head.combine(logits, batch.owners)
        for other in self.tasks:
            if other != task:
                logits = logits + 0.0 * sum(parameter.sum() for parameter in self.heads[other].parameters())
        return logits

    def all_logits(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Every task's logits (of document heads: vectors) from one pass of the trunk."""
        hidden = self.trunk(batch.ids, batch.mask, batch.shapes)
        return {task: head(hidden, batch) for task, head in self.heads.items()}

"""The span-boundary objective of SpanBERT: each hidden token guessed from the two tokens around its span and its place in it.

Joshi et al. 2020, "SpanBERT", section 3.2: the states at the span's borders and an embedding of the place in the span go through two layers of
dense, GELU and norm; the word embeddings decode, as in the masked language model, whose loss it is added to. The trunk so learns to store
what a span says at its ends, where the heads for entities look. Places from 30 on share an embedding.
"""

from __future__ import annotations

import torch
from torch import nn

from models.masking import TokenHead
from models.objectives import Batch, Boundary, ObjectiveHead, Sizes

PLACES = 30


class BoundaryHead(ObjectiveHead):
    """Reads the hidden states at the borders of spans, and no other."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.places = nn.Embedding(PLACES, sizes.hidden)
        self.dense = nn.Linear(3 * sizes.hidden, sizes.hidden)
        self.norm = nn.LayerNorm(sizes.hidden, eps=sizes.norm_eps)
        self.tokens = TokenHead(sizes.hidden, width=sizes.width, entries=sizes.entries, norm_eps=sizes.norm_eps)
        for weight in (self.places.weight, self.dense.weight):
            nn.init.normal_(weight, std=0.02)
        nn.init.zeros_(self.dense.bias)

    def forward(
        self, hidden: torch.Tensor, batch: Batch, embeddings: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See ObjectiveHead."""
        place = (batch.positions - batch.left - 1).clamp(max=PLACES - 1)
        borders = (hidden[batch.rows, batch.left], hidden[batch.rows, batch.right])
        states = self.norm(nn.functional.gelu(self.dense(torch.cat([*borders, self.places(place)], dim=-1))))
        return self.tokens(states, embeddings), batch.targets


class SpanBoundary(Boundary):
    """Goes with the masking `span`."""

    def head(self, sizes: Sizes) -> ObjectiveHead:
        """See Objective."""
        return BoundaryHead(sizes)


OBJECTIVE = SpanBoundary()

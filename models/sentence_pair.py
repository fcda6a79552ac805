"""Two segments of a text and the head that says how they belong together: what `next_sentence` and `sentence_order` have in common.

The state of the first token goes through a dense layer with tanh, as BERT's pooler does (Devlin et al. 2019), then to two classes. A piece of a
single sentence has no pair: it is read as one segment and asks nothing of this head.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from models.objectives import IGNORED, Batch, ObjectiveHead, Pairing, Sizes
from models.pieces import Piece

TRUE, FALSE = 0, 1  # the segments follow one another as they stand; they do not


def split(piece: Piece, chance: np.random.Generator) -> tuple[Piece, Piece] | None:
    """A piece in two at the end of one of its sentences, drawn uniformly; None where it has but one."""
    if len(piece.ends) < 2:
        return None
    at = piece.ends[int(chance.integers(len(piece.ends) - 1))]
    return piece.part(0, at), piece.part(at, piece.ends[-1])


class PairHead(ObjectiveHead):
    """Two classes from the state of the first token."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.dense = nn.Linear(sizes.hidden, sizes.hidden)
        self.output = nn.Linear(sizes.hidden, 2)
        for layer in (self.dense, self.output):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(
        self, hidden: torch.Tensor, batch: Batch, embeddings: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See ObjectiveHead; the word embeddings play no part."""
        asked = batch.labels != IGNORED
        return self.output(torch.tanh(self.dense(hidden[asked, 0]))), batch.labels[asked]

    def count(self, batch: Batch) -> int:
        """How many windows are pairs."""
        return int((batch.labels != IGNORED).sum())


class SentencePair(Pairing):
    """A pairing whose head is the one above."""

    def head(self, sizes: Sizes) -> ObjectiveHead:
        """See Objective."""
        return PairHead(sizes)

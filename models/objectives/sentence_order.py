"""Sentence-order prediction: do two following segments stand in their order, or exchanged? (Lan et al. 2020, "ALBERT", section 3.1)

Both segments are always of one document, so that their topic gives nothing away, which is what made next-sentence prediction too easy.
"""

from __future__ import annotations

import numpy as np

from models.masking import Arranged
from models.objectives import Stranger
from models.pieces import Frame, Piece
from models.sentence_pair import FALSE, TRUE, SentencePair, split


class SentenceOrder(SentencePair):
    """Half of the pairs are exchanged."""

    def arrange(self, piece: Piece, frame: Frame, *, stranger: Stranger, chance: np.random.Generator) -> Arranged:
        """See Pairing."""
        pair = split(piece, chance)
        if pair is None:
            return frame.arrange([piece])
        first, second = pair
        if chance.random() < 0.5:
            return frame.arrange([second, first], label=FALSE)
        return frame.arrange([first, second], label=TRUE)


OBJECTIVE = SentenceOrder()

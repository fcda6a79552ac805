"""Next-sentence prediction: does the second segment follow the first, or come from another document? (Devlin et al. 2019, "BERT", section 3.1)

The stranger is no longer than what it replaces, so that a batch stays within its tokens. Liu et al. 2019 ("RoBERTa") found little use in it;
it is here to be measured.
"""

from __future__ import annotations

import numpy as np

from models.masking import Arranged
from models.objectives import Stranger
from models.pieces import Frame, Piece
from models.sentence_pair import FALSE, TRUE, SentencePair, split


class NextSentence(SentencePair):
    """Half of the second segments are strangers, from the beginning of one of their sentences on."""

    def arrange(self, piece: Piece, frame: Frame, *, stranger: Stranger, chance: np.random.Generator) -> Arranged:
        """See Pairing."""
        pair = split(piece, chance)
        if pair is None:
            return frame.arrange([piece])
        first, second = pair
        if chance.random() >= 0.5:
            return frame.arrange([first, second], label=TRUE)
        other = stranger(chance)
        begin = (0, *other.ends[:-1])[int(chance.integers(len(other.ends)))]
        return frame.arrange([first, other.part(begin, min(begin + len(second.ids), other.ends[-1]))], label=FALSE)


OBJECTIVE = NextSentence()

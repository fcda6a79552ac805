"""Whole-word masking: where one piece of a word is hidden, all are, so that no word is guessed from its own rest.

From the second release of BERT (Devlin et al., github.com/google-research/bert, May 2019; studied by Cui et al. 2019, "Pre-Training with Whole
Word Masking for Chinese BERT"). As there, each piece's fate is its own: a hidden word may keep a piece or have it replaced.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.masking import Span, word_spans
from models.objectives import Masking


class WordMasking(Masking):
    """Words in random order, as long as they fit the budget; a single word where none does."""

    def choose(self, words: NDArray[np.int64], *, budget: int, chance: np.random.Generator) -> list[Span]:
        """See Masking."""
        spans = word_spans(words)
        order = [spans[number] for number in chance.permutation(len(spans)).tolist()]
        chosen: list[Span] = []
        left = budget
        for start, end in order:
            if end - start <= left:
                chosen.append((start, end))
                left -= end - start
            if not left:
                break
        return sorted(chosen or order[:1])


OBJECTIVE = WordMasking()

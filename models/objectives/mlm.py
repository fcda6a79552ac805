"""Masked language model: single tokens hidden at random (Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers").

Left out of the paper: masks drawn once for the whole training; here each passing of a text has new ones (Liu et al. 2019, "RoBERTa").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.masking import Span
from models.objectives import Masking


class TokenMasking(Masking):
    """Exactly the budget of tokens, each alone."""

    def choose(self, words: NDArray[np.int64], *, budget: int, chance: np.random.Generator) -> list[Span]:
        """See Masking."""
        places = np.flatnonzero(words >= 0)
        chosen = chance.choice(places, size=min(budget, len(places)), replace=False)
        return [(place, place + 1) for place in sorted(chosen.tolist())]


OBJECTIVE = TokenMasking()

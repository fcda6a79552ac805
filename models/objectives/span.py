"""Span masking of SpanBERT: runs of whole words hidden together (Joshi et al. 2020, "SpanBERT", section 3.1).

The length of a span, in words, is drawn from a geometric distribution with p = 0.2 cut at 10 (mean 3.8), its first word uniformly; a span's
tokens are masked, replaced or kept as one. A span ends early where its segment or the budget ends. Unlike there, spans do not touch one
another, so that the tokens at their borders, which `span_boundary` reads, are always to be seen; the paper's code merges such spans.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.masking import Span, word_spans
from models.objectives import Masking

P, LONGEST_WORDS = 0.2, 10
LENGTHS = P * (1 - P) ** np.arange(LONGEST_WORDS) / (1 - (1 - P) ** LONGEST_WORDS)  # of 1, 2, ... words
_CUMULATIVE = np.cumsum(LENGTHS)
_TRIES_A_TOKEN = 5


def draw_length(chance: np.random.Generator) -> int:
    """Words of a span, 1 to 10."""
    return min(int(np.searchsorted(_CUMULATIVE, chance.random(), side="right")) + 1, LONGEST_WORDS)


class SpanMasking(Masking):
    """Spans of whole words until the budget is used or no further span is found; a single word where none fits."""

    together = True

    def choose(self, words: NDArray[np.int64], *, budget: int, chance: np.random.Generator) -> list[Span]:
        """See Masking."""
        spans = word_spans(words)
        near = np.zeros(len(words) + 1, dtype=bool)  # what is hidden, or borders on it
        chosen: list[Span] = []
        left = budget
        for _ in range(_TRIES_A_TOKEN * budget):
            first = int(chance.integers(len(spans)))
            start, end = _span(spans, first, longest=draw_length(chance), tokens=left)
            if start < end and not near[start:end].any():
                chosen.append((start, end))
                near[start - 1 : end + 1] = True
                left -= end - start
            if not left:
                break
        return sorted(chosen or [spans[int(chance.integers(len(spans)))]])


def _span(spans: list[Span], first: int, *, longest: int, tokens: int) -> Span:
    """From the word `first` on, so many words at most, as far as they follow one another and fit into `tokens`; empty where none fits."""
    start = end = spans[first][0]
    for word_start, word_end in spans[first : first + longest]:
        if word_start != end or word_end - start > tokens:
            break
        end = word_end
    return start, end


OBJECTIVE = SpanMasking()

"""What heads find in texts: named things, what is said of them, sentences; of one text one by one, or of many side by side.

Does not cover: how it is found (models.heads).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.spans import Spans


@dataclass(frozen=True, kw_only=True, slots=True)
class Mention:
    """A named thing in a text: characters [start, end), its type, and the mean probability of its words' tags."""

    start: int
    end: int
    type: str
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class EntityOpinion:
    """What a text says of what it names in characters [start, end): probabilities that sum to 1, and how much of the text is about it.

    `relevance` in [0, 1]: the weight of the sentences that mention it over the weight of all.
    """

    start: int
    end: int
    sentiment: str
    p_negative: float
    p_neutral: float
    p_positive: float
    relevance: float
    score: float = 1.0  # the mean probability of its words' tags, where the head found it by itself


@dataclass(frozen=True, kw_only=True)
class Found:
    """Mentions of many texts, side by side: where they stand, their types, and the mean probability (spans,) of their words' tags."""

    spans: Spans
    types: Sequence[str]
    scores: NDArray[np.float64]

    def where(self, chosen: NDArray[np.bool_]) -> Found:
        """Those that are chosen (spans,)."""
        types = [kind for kind, kept in zip(self.types, chosen.tolist(), strict=True) if kept]
        return Found(spans=self.spans.where(chosen), types=types, scores=self.scores[chosen])

    def listed(self) -> list[Mention]:
        """One by one."""
        rows = zip(self.spans.starts.tolist(), self.spans.ends.tolist(), self.types, self.scores.tolist(), strict=True)
        return [Mention(start=start, end=end, type=kind, score=score) for start, end, kind, score in rows]


@dataclass(frozen=True, kw_only=True)
class Judgements:
    """Opinions of the entities of many texts, side by side: probabilities (spans, 3), relevance (spans,) and scores (spans,)."""

    spans: Spans
    chances: NDArray[np.float64]
    relevance: NDArray[np.float64]
    scores: NDArray[np.float64]

    def where(self, chosen: NDArray[np.bool_]) -> Judgements:
        """Those that are chosen (spans,)."""
        return Judgements(
            spans=self.spans.where(chosen),
            chances=self.chances[chosen],
            relevance=self.relevance[chosen],
            scores=self.scores[chosen],
        )

    def listed(self, labels: Sequence[str]) -> list[EntityOpinion]:
        """One by one, by labels in the order of the probabilities."""
        columns = (self.spans.starts, self.spans.ends, self.chances, self.relevance, self.scores)
        return [
            EntityOpinion(
                start=start,
                end=end,
                sentiment=labels[row.index(max(row))],
                p_negative=row[0],
                p_neutral=row[1],
                p_positive=row[2],
                relevance=share,
                score=score,
            )
            for start, end, row, share, score in zip(*(column.tolist() for column in columns), strict=True)
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Extract:
    """A sentence that carries its text, characters [start, end), and its chance in [0, 1] to be in a summary."""

    start: int
    end: int
    score: float

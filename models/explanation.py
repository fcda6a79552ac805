"""What an explanation of a score is: passages of the text, their words, and how much each spoke for the label.

Weights and margins are in logits; how they come about is said in models.explain. Not covered: how they are shown.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from data_contracts.errors import Fatal


class NotExplained(Fatal):
    """The text, the task or the model is none whose score can be traced to words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """A word at characters [start, end) and what it adds to the margin: above 0 it speaks for the label."""

    text: str
    start: int
    end: int
    weight: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """A window of the text at characters [start, end), a sentence where the model reads sentences: its share in the text's margin, and its words.

    `weight` is its weight in the mean that the text is judged by, in (0, 1]; `margin` is already multiplied by it. `words` is empty where it
    was left out as one of those that moved least.
    """

    start: int
    end: int
    weight: float
    margin: float
    words: tuple[Word, ...]
    completeness_error: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """Why a text, or the entity at the characters `span` of it, got its label: the passages in the order of the text."""

    task: str
    text: str
    span: tuple[int, int] | None
    label: str
    probability: float
    margin: float
    passages: tuple[Passage, ...]
    completeness_error: float
    model_digest: str

    def words(self) -> list[Word]:
        """All words explained, the one that speaks loudest for or against the label first."""
        return sorted((word for one in self.passages for word in one.words), key=lambda word: -abs(word.weight))

    def to_json(self) -> str:
        """Everything as JSON text."""
        return json.dumps(asdict(self), ensure_ascii=False)

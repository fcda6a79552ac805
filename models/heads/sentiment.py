"""Sentiment of a text for an investor: negative, neutral or positive, from the pooled hidden states of each window.

Pooling is the mean over the window's tokens, as the default trunk was trained (Reimers and Gurevych 2019), or the first token's state, as in
Devlin et al. 2019. Does not cover: sentiment towards one of several entities, irony, the reader's own view.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from data_contracts.labels import SENTIMENT
from models.batching import Batch
from models.heads import Answers, Average, Example, Head, Level
from models.metrics import Scores, text_scores
from models.tokens import Encoded

_LEAST = 0.5  # below it the label that was chosen would be the less likely one


class SentimentHead(Head):
    """Dropout and one linear layer over the pooled window."""

    task: ClassVar[str] = "sentiment"
    level: ClassVar[Level] = "text"
    average: ClassVar[Average] = "macro"
    labels: tuple[str, ...] = SENTIMENT

    def forward(self, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Hidden (windows, tokens, hidden) -> logits (windows, labels)."""
        logits: torch.Tensor = self.linear(self.dropout(self.pooled(hidden, batch)))
        return logits

    def text(self, example: Example) -> str:
        """The sentence."""
        return str(example.text)

    def targets(self, example: Example, encoded: Encoded) -> NDArray[np.int64]:
        """(1,) the label's number."""
        return np.asarray([self.labels.index(example.label)], dtype=np.int64)

    def soft_targets(self, example: Example) -> NDArray[np.float32] | None:
        """(labels,) the share of annotators for the label, half at least; the rest for its neighbours in the order of labels; None if unknown."""
        if example.agreement is None:
            return None
        label = self.labels.index(example.label)
        near = [one for one in (label - 1, label + 1) if 0 <= one < len(self.labels)]
        share = max(example.agreement / 100, _LEAST)
        row = np.zeros(len(self.labels), dtype=np.float32)
        row[label], row[near] = share, (1 - share) / len(near)
        return row

    def answers(
        self,
        example: Example,
        encoded: Encoded,
        logits: NDArray[np.float64],
        temperature: float = 1.0,
        *,
        given: bool = False,
    ) -> Answers:
        """The likeliest label; logits are (1, labels)."""
        probabilities = self.probabilities(logits, temperature)
        best = int(probabilities[0].argmax())
        return Answers(
            gold=(str(example.label),), predicted=(self.labels[best],), confidence=(float(probabilities[0, best]),)
        )

    def scores(self, answers: Sequence[Answers]) -> Scores:
        """Accuracy and macro figures."""
        return text_scores([one.gold[0] for one in answers], [one.predicted[0] for one in answers], self.labels)


HEAD = SentimentHead

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
from models.encoder import Encoded
from models.heads import Answers, Example, Head, Level
from models.metrics import Scores, text_scores


class SentimentHead(Head):
    """Dropout and one linear layer over the pooled window."""

    task: ClassVar[str] = "sentiment"
    level: ClassVar[Level] = "text"
    labels: ClassVar[tuple[str, ...]] = SENTIMENT

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Hidden (batch, tokens, hidden), mask (batch, tokens) -> logits (batch, labels)."""
        if self.pooling == "cls":
            pooled = hidden[:, 0]
        else:
            weights = mask.unsqueeze(-1).to(hidden.dtype)
            pooled = (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)
        logits: torch.Tensor = self.linear(self.dropout(pooled))
        return logits

    def text(self, example: Example) -> str:
        """The sentence."""
        return str(example.text)

    def targets(self, example: Example, encoded: Encoded) -> NDArray[np.int64]:
        """(1,) the label's number."""
        return np.asarray([self.labels.index(example.label)], dtype=np.int64)

    def answers(self, example: Example, encoded: Encoded, probabilities: NDArray[np.float64]) -> Answers:
        """The likeliest label; probabilities are (1, labels)."""
        best = int(probabilities[0].argmax())
        return Answers(
            gold=(str(example.label),), predicted=(self.labels[best],), confidence=(float(probabilities[0, best]),)
        )

    def scores(self, answers: Sequence[Answers]) -> Scores:
        """Accuracy and macro figures."""
        return text_scores([one.gold[0] for one in answers], [one.predicted[0] for one in answers], self.labels)


HEAD = SentimentHead

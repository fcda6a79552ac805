"""What a text is about: any number of topics of a set that the training data gives, from the pooled hidden states of each window.

Each topic is a yes or no of its own: a sigmoid, binary cross-entropy, and an answer of yes from a probability of 0.5 on (binary relevance;
Tsoumakas and Katakis 2007). Pooling is that of the sentiment head. A topic that only the dev part knows can never be answered, and counts
as missed. Does not cover: a hierarchy of topics, thresholds of their own, topics that nobody labelled.

Figures: micro-F1 counts every (text, topic) alike and is the one a model is chosen by; macro-F1 is the mean of the topics' own; accuracy is the
share of right yes-or-noes, which many rare topics make high.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.batching import Batch
from models.heads import IGNORED, Answers, Average, Example, Head, Level
from models.metrics import LabelScore, Scores
from models.tokens import Encoded

THRESHOLD = 0.5
ABSENT = "none"  # the answer no, in place of a topic's name


class TopicsHead(Head):
    """Dropout and one linear layer over the pooled window."""

    task: ClassVar[str] = "topics"
    level: ClassVar[Level] = "text"
    average: ClassVar[Average] = "micro"
    labels: tuple[str, ...] = ()

    def forward(self, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Hidden (windows, tokens, hidden) -> logits (windows, topics)."""
        logits: torch.Tensor = self.linear(self.dropout(self.pooled(hidden, batch)))
        return logits

    def text(self, example: Example) -> str:
        """The text."""
        return str(example.text)

    def targets(self, example: Example, encoded: Encoded) -> NDArray[np.int64]:
        """(1, topics) 1 for each that the text has, 0 for the others."""
        return np.asarray([[int(label in example.topics) for label in self.labels]], dtype=np.int64)

    def loss(
        self, logits: torch.Tensor, targets: torch.Tensor, *, smoothing: float = 0.0, soft: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Mean binary cross-entropy, logits (windows, topics) and targets (windows, 1, topics); a smoothed yes is 1 - smoothing / 2."""
        gold = targets.reshape(logits.shape)
        wanted = soft if soft is not None else gold.clamp(min=0).float() * (1.0 - smoothing) + smoothing / 2.0
        each = nn.functional.binary_cross_entropy_with_logits(logits.float(), wanted, reduction="none")
        counted = gold != IGNORED
        return (each * counted).sum() / counted.sum().clamp(min=1)

    def groups(self) -> tuple[int, ...]:
        """A sigmoid a topic."""
        return (1,) * self.outputs

    def probabilities(self, logits: NDArray[np.float64], temperature: float = 1.0) -> NDArray[np.float64]:
        """(rows, topics) the probability of each topic, whatever the others."""
        found: NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * logits / temperature))
        return found

    def calibration(
        self, example: Example, encoded: Encoded, logits: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Each topic's yes against a no of logit 0, (topics, 2), whose softmax is the sigmoid."""
        return np.stack([np.zeros(self.outputs), logits[0]], axis=1), self.targets(example, encoded)[0]

    def answers(
        self,
        example: Example,
        encoded: Encoded,
        logits: NDArray[np.float64],
        temperature: float = 1.0,
        *,
        given: bool = False,
    ) -> Answers:
        """For each topic, then each that the head does not know, itself or "none"; the confidence is that of the answer given."""
        chances = self.probabilities(logits, temperature)[0]
        unknown = tuple(topic for topic in example.topics if topic not in self.labels)
        gold = tuple(label if label in example.topics else ABSENT for label in self.labels)
        said = tuple(
            label if chance >= THRESHOLD else ABSENT for label, chance in zip(self.labels, chances, strict=True)
        )
        sure = tuple(float(max(chance, 1.0 - chance)) for chance in chances)
        return Answers(
            gold=gold + unknown,
            predicted=said + (ABSENT,) * len(unknown),
            confidence=sure + (1.0,) * len(unknown),
        )

    def scores(self, answers: Sequence[Answers]) -> Scores:
        """Accuracy of yes and no, micro figures over all topics, each topic's own, and their mean as macro_f1."""
        gold = [label for one in answers for label in one.gold]
        said = [label for one in answers for label in one.predicted]
        topics = sorted({label for label in (*self.labels, *gold) if label != ABSENT})
        each = tuple(_topic_score(topic, gold, said) for topic in topics)
        right = sum(a == b != ABSENT for a, b in zip(gold, said, strict=True))
        precision = _share(right, sum(label != ABSENT for label in said))
        recall = _share(right, sum(label != ABSENT for label in gold))
        return Scores(
            accuracy=_share(sum(a == b for a, b in zip(gold, said, strict=True)), len(gold)),
            precision=precision,
            recall=recall,
            f1=_share(2.0 * precision * recall, precision + recall),
            labels=each,
            more={"macro_f1": float(np.mean([one.f1 for one in each])) if each else 0.0},
        )


def _topic_score(topic: str, gold: Sequence[str], said: Sequence[str]) -> LabelScore:
    right = sum(a == b == topic for a, b in zip(gold, said, strict=True))
    support, answered = sum(label == topic for label in gold), sum(label == topic for label in said)
    return LabelScore(
        label=topic,
        precision=_share(right, answered),
        recall=_share(right, support),
        f1=_share(2.0 * right, support + answered),
        support=support,
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


HEAD = TopicsHead

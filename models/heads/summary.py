"""Which sentences of an article carry it: an extractive summary after BERTSUM (Liu 2019; Liu and Lapata 2019).

Each sentence is a window of its own; its pooled state is its vector. Two transformer layers read an article's vectors together, with sinusoidal
positions (Vaswani et al. 2017), norms first, and a sigmoid gives each sentence a score. Learnt by binary cross-entropy from labels that are
derived greedily by ROUGE from summaries people wrote (models.oracle). In use the sentences of the highest scores are taken, at most
SENTENCES, none that repeats a run of three words of one taken before (Paulus et al. 2018), and shown in the text's order (models.extract).

Left out of the paper: the trunk sees one sentence at a time and not a document of 512 tokens with alternating segments, so that articles of any
length are read whole and the windows are those of the other heads; and the abstractive model.

Figures: ROUGE-1, -2 and -L F1 of the extract held against the summary, by rouge_score without stemming; their mean is what a model is chosen by,
and the same of the article's first sentences, as many, stands beside them. Accuracy, precision and recall are of the sentence labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.batching import Batch
from models.extract import SENTENCES, choose, joined, rouge
from models.findings import Extract
from models.heads import Answers, Average, Example, Head, HeadOptions, Level
from models.metrics import Scores
from models.oracle import greedy_labels
from models.tokens import Encoded
from models.windows import Reading, sentence_bounds

_LAYERS, _HEADS = 2, 8
_TAKEN, _LEFT = "summary", "rest"


class SummaryHead(Head):
    """Pooled windows, two layers between the sentences of a text, one logit a sentence."""

    task: ClassVar[str] = "summary"
    level: ClassVar[Level] = "document"
    average: ClassVar[Average] = "rouge"
    reading: ClassVar[Reading] = "sentences"
    labels: tuple[str, ...] = (_TAKEN,)

    def __init__(self, hidden_size: int, options: HeadOptions) -> None:
        super().__init__(hidden_size, options)
        heads = next(count for count in range(_HEADS, 0, -1) if hidden_size % count == 0)
        layer = nn.TransformerEncoderLayer(
            hidden_size,
            heads,
            dim_feedforward=4 * hidden_size,
            dropout=options.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.between = nn.TransformerEncoder(layer, _LAYERS, nn.LayerNorm(hidden_size), enable_nested_tensor=False)

    def forward(self, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Hidden (windows, tokens, hidden) -> vectors (windows, hidden)."""
        return self.pooled(hidden, batch)

    def combine(self, vectors: torch.Tensor, owners: torch.Tensor) -> torch.Tensor:
        """Vectors (windows, hidden), a text's windows side by side and in order, and owners (windows,) -> logits (windows, 1)."""
        _, text, counts = torch.unique_consecutive(owners, return_inverse=True, return_counts=True)
        place = torch.arange(len(owners), device=owners.device) - (counts.cumsum(0) - counts)[text]
        longest = int(counts.max())
        padded = vectors.new_zeros(len(counts), longest, vectors.shape[-1])
        padded[text, place] = vectors
        positions = _positions(longest, vectors.shape[-1]).to(vectors)
        padding = torch.arange(longest, device=owners.device) >= counts.unsqueeze(1)
        read = self.between(self.dropout(padded + positions), src_key_padding_mask=padding)
        logits: torch.Tensor = self.linear(read[text, place])
        return logits

    def text(self, example: Example) -> str:
        """The article."""
        return str(example.text)

    def targets(self, example: Example, encoded: Encoded) -> NDArray[np.int64]:
        """(sentences,) 1 for those that the greedy extract takes."""
        sentences = [encoded.text[start:end] for start, end in sentence_bounds(encoded)]
        return np.asarray(greedy_labels(sentences, example.summary, most=SENTENCES), dtype=np.int64)

    def loss(
        self, logits: torch.Tensor, targets: torch.Tensor, *, smoothing: float = 0.0, soft: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Mean binary cross-entropy, logits (windows, 1) and targets (windows, 1); a smoothed yes is 1 - smoothing / 2."""
        wanted = soft if soft is not None else targets.float() * (1.0 - smoothing) + smoothing / 2.0
        return nn.functional.binary_cross_entropy_with_logits(logits.float(), wanted)

    def probabilities(self, logits: NDArray[np.float64], temperature: float = 1.0) -> NDArray[np.float64]:
        """(sentences, 1) the chance of each sentence to be taken."""
        found: NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * logits / temperature))
        return found

    def calibration(
        self, example: Example, encoded: Encoded, logits: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Each sentence's yes against a no of logit 0, (sentences, 2), whose softmax is the sigmoid."""
        return np.concatenate([np.zeros_like(logits), logits], axis=1), self.targets(example, encoded)[: len(logits)]

    def extract(
        self,
        encoded: Encoded,
        logits: NDArray[np.float64],
        temperature: float = 1.0,
        *,
        most: int = SENTENCES,
        after: int = 0,
    ) -> list[Extract]:
        """The best sentences in the text's order, none that begins before the character `after`; logits are (sentences, 1)."""
        bounds = sentence_bounds(encoded)[: len(logits)]
        chances = self.probabilities(logits, temperature)[:, 0]
        able = [number for number, (start, _) in enumerate(bounds) if start >= after]
        sentences = [encoded.text[bounds[number][0] : bounds[number][1]] for number in able]
        chosen = choose(sentences, [float(chances[number]) for number in able], most=most)
        return [
            Extract(start=bounds[number][0], end=bounds[number][1], score=float(chances[number]))
            for number in (able[place] for place in chosen)
        ]

    def answers(
        self,
        example: Example,
        encoded: Encoded,
        logits: NDArray[np.float64],
        temperature: float = 1.0,
        *,
        given: bool = False,
    ) -> Answers:
        """Whether each sentence is taken, its confidence the chance of that answer; and the texts: summary, extract, first sentences."""
        bounds = sentence_bounds(encoded)[: len(logits)]
        gold = self.targets(example, encoded)[: len(logits)].tolist()
        chances = self.probabilities(logits, temperature)[:, 0].tolist()
        extract = self.extract(encoded, logits, temperature)
        begun = {one.start for one in extract}
        said = [start in begun for start, _ in bounds]
        return Answers(
            gold=tuple(_TAKEN if label else _LEFT for label in gold),
            predicted=tuple(_TAKEN if taken else _LEFT for taken in said),
            confidence=tuple(chance if taken else 1.0 - chance for chance, taken in zip(chances, said, strict=True)),
            texts=(
                str(example.summary),
                joined(encoded.text, [(one.start, one.end) for one in extract]),
                joined(encoded.text, bounds[:SENTENCES]),
            ),
        )

    def scores(self, answers: Sequence[Answers]) -> Scores:
        """Mean ROUGE F1 of extracts and of first sentences, and how the sentences' labels were met."""
        ours = rouge([(one.texts[1], one.texts[0]) for one in answers])
        lead = rouge([(one.texts[2], one.texts[0]) for one in answers])
        pairs = [(a, b) for one in answers for a, b in zip(one.gold, one.predicted, strict=True)]
        right = sum(a == b == _TAKEN for a, b in pairs)
        return Scores(
            accuracy=sum(a == b for a, b in pairs) / max(1, len(pairs)),
            precision=right / max(1, sum(b == _TAKEN for _, b in pairs)),
            recall=right / max(1, sum(a == _TAKEN for a, _ in pairs)),
            f1=float(np.mean(list(ours.values()))),
            labels=(),
            more={**ours, **{f"lead_{name}": value for name, value in lead.items()}},
        )


def _positions(count: int, size: int) -> torch.Tensor:
    """(count, size) sines and cosines of the sentence's number."""
    angles = torch.arange(count).unsqueeze(1) / 10_000.0 ** (torch.arange(0, size, 2) / size)
    return torch.stack([angles.sin(), angles.cos()], dim=2).reshape(count, -1)[:, :size]


HEAD = SummaryHead

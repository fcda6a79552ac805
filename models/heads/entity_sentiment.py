"""What a text says of each thing it names: negative, neutral or positive, in the same pass that finds the things.

Every token has three logits for the tags O, B, I of spans without types, and three for the sentiment, to which a linear view of the whole window's
mean is added. The sentiment of a span is the mean of its words' sentiment logits, so it is exactly a linear layer over [mean of the span;
mean of the window], and it can be asked of any span: the head's own, those of an entity head, or given ones (`label_spans`). Trained on
FinEntity (Tang et al. 2023) or SEntFiN (Sinha et al. 2022), whose sentences praise one company over another.

Where gold spans overlap, the longest teaches (of equals the first) and the others are passed over; asked about given spans, each is answered
from its own words. A span that holds no word of the text that was read is answered from all of them. The temperature is fitted on the
sentiments of gold spans; the tags share it. Does not cover: what kind of thing is named, or who feels so.

Relevance of an entity, in [0, 1]: the weight (1/rank, models.windows) of the sentences that mention it over that of all sentences read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from data_contracts.labels import SENTIMENT
from models.batching import Batch
from models.calibration import softmax
from models.findings import Judgements
from models.heads import IGNORED, Answers, Average, Example, Head, HeadOptions, Level, window_means
from models.metrics import Scores, tag_scores
from models.spans import Spans, Words, means, relevance, span_means, words_of
from models.tagging import Tagger, run_means, runs
from models.tokens import Encoded

TAGS = ("O", "B", "I")


class EntitySentimentHead(Head):
    """Dropout and one linear layer over every token, another over the window's mean, and a tagger over the words."""

    task: ClassVar[str] = "entity_sentiment"
    level: ClassVar[Level] = "word"
    average: ClassVar[Average] = "micro"
    labels: tuple[str, ...] = SENTIMENT

    def __init__(self, hidden_size: int, options: HeadOptions) -> None:
        super().__init__(hidden_size, options, outputs=len(TAGS) + len(SENTIMENT))
        self.whole = nn.Linear(hidden_size, len(SENTIMENT), bias=False)
        nn.init.normal_(self.whole.weight, std=0.02)
        self.tagger = Tagger(TAGS, crf=options.crf, label_features=options.label_features, ignored=IGNORED)

    def forward(self, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Hidden (windows, tokens, hidden) -> logits (windows, tokens, 6): the tags', then the sentiments'."""
        about = self.whole(self.dropout(window_means(hidden, batch)))
        logits: torch.Tensor = self.linear(self.dropout(hidden))
        return logits + nn.functional.pad(about, (len(TAGS), 0)).unsqueeze(1)

    def text(self, example: Example) -> str:
        """The text."""
        return str(example.text)

    def targets(self, example: Example, encoded: Encoded) -> NDArray[np.int64]:
        """(words, 2 + widths) the number in TAGS of each word, its span's sentiment (IGNORED outside), its label features."""
        tags = np.zeros(len(encoded.first), dtype=np.int64)
        sentiments = np.full(len(encoded.first), IGNORED, dtype=np.int64)
        for span in sorted(example.entities, key=lambda span: (span.start - span.end, span.start)):
            words = words_of(encoded, span.start, span.end)
            if len(words) and not tags[words].any():
                tags[words] = TAGS.index("I")
                tags[words[0]] = TAGS.index("B")
                sentiments[words] = self.labels.index(span.label)
        return np.concatenate([tags[:, None], sentiments[:, None], self.tagger.numbers(encoded)], axis=1)

    def loss(
        self, logits: torch.Tensor, targets: torch.Tensor, *, smoothing: float = 0.0, soft: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The mean loss of the words' tags and the mean loss of the spans' sentiments, added; targets (windows, tokens, 2 + widths)."""
        tags = torch.cat([targets[..., :1], targets[..., 2:]], dim=-1)
        found = self.tagger.loss(logits[..., : len(TAGS)], tags, smoothing=smoothing)
        means, gold = span_means(logits[..., len(TAGS) :].float(), targets[..., 0], targets[..., 1], ignored=IGNORED)
        if not len(gold):
            return found + 0.0 * logits[..., len(TAGS) :].float().sum()
        return found + nn.functional.cross_entropy(means, gold, label_smoothing=smoothing)

    def emissions(self, encoded: Encoded, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logits (words, 6) with the label features' weights added to the tags'."""
        tags = self.tagger.emissions(encoded, logits[:, : len(TAGS)])
        return np.concatenate([tags, logits[:, len(TAGS) :]], axis=1)

    def groups(self) -> tuple[int, ...]:
        """The tags, then the sentiments."""
        return (len(TAGS), len(SENTIMENT))

    def probabilities(self, logits: NDArray[np.float64], temperature: float = 1.0) -> NDArray[np.float64]:
        """(words, 6) for one sentence's emissions (words, 6): the tags' probabilities, and each word's sentiment's; either sums to 1."""
        tags = self.tagger.probabilities(logits[:, : len(TAGS)], temperature)
        return np.concatenate([tags, softmax(logits[:, len(TAGS) :], temperature)], axis=1)

    def calibration(
        self, example: Example, encoded: Encoded, logits: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The sentiment logits (spans, 3) of the gold spans, and their labels."""
        gold = [self.labels.index(span.label) for span in example.entities]
        spans = [(span.start, span.end) for span in example.entities]
        return self._sentiments(encoded, logits, spans), np.asarray(gold, dtype=np.int64)

    def _sentiments(
        self, encoded: Encoded, logits: NDArray[np.float64], spans: Sequence[tuple[int, int]]
    ) -> NDArray[np.float64]:
        return means(Words.of(encoded, len(logits)), logits[:, len(TAGS) :], Spans.of(spans))

    def label_spans(
        self,
        encoded: Encoded,
        logits: NDArray[np.float64],
        spans: Sequence[tuple[int, int]],
        temperature: float = 1.0,
    ) -> NDArray[np.float64]:
        """(spans, 3) the probabilities of negative, neutral, positive about spans of characters [start, end); logits are (words, 6)."""
        return softmax(self._sentiments(encoded, logits, spans), temperature)

    def judge(
        self, words: Words, logits: NDArray[np.float64], temperature: float = 1.0, *, spans: Spans | None = None
    ) -> Judgements:
        """What is said of each span given, or of each that the head finds by itself, in order; logits are (words, 6) of many texts."""
        sure = np.ones(0 if spans is None else len(spans))
        if spans is None:
            found, tags = self._read(words, logits, temperature)
            spans, sure = words.spans(found), 1.0 - run_means(tags[:, 0], found)
        return Judgements(
            spans=spans,
            chances=softmax(means(words, logits[:, len(TAGS) :], spans), temperature),
            relevance=relevance(words, spans),
            scores=sure,
        )

    def _read(
        self, words: Words, logits: NDArray[np.float64], temperature: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(entities, 2) the first and last word of each, and (words, 3) the probabilities of the tags."""
        emissions, borders = self.emissions_of(words, logits)[:, : len(TAGS)], self.tagger.begins(words)
        found = runs(self.tagger.decode(emissions, borders=borders), TAGS, words.breaks)
        return found, self.tagger.probabilities(emissions, temperature, borders=borders)

    def answers(
        self,
        example: Example,
        encoded: Encoded,
        logits: NDArray[np.float64],
        temperature: float = 1.0,
        *,
        given: bool = False,
    ) -> Answers:
        """Given: the label of each gold span. Else a tag a word, such as B-negative, its confidence that of tag and sentiment together."""
        if given:
            chances = self.label_spans(
                encoded, logits, [(span.start, span.end) for span in example.entities], temperature
            )
            return Answers(
                gold=tuple(span.label for span in example.entities),
                predicted=tuple(self.labels[number] for number in chances.argmax(axis=1)),
                confidence=tuple(chances.max(axis=1).tolist()),
            )
        gold = [
            TAGS[tag] if sentiment == IGNORED else f"{TAGS[tag]}-{self.labels[sentiment]}"
            for tag, sentiment in self.targets(example, encoded)[:, :2].tolist()
        ]
        said, sure = ["O"] * len(gold), np.ones(len(gold))
        words = Words.of(encoded, len(logits))
        found, tags = self._read(words, logits, temperature)
        sure[: len(tags)] = tags[:, 0]
        sentiments = softmax(means(words, logits[:, len(TAGS) :], words.spans(found)), temperature)
        for (first, last), row in zip(found.tolist(), sentiments, strict=True):
            for word in range(first, last + 1):
                tag = TAGS.index("B" if word == first else "I")
                said[word], sure[word] = f"{TAGS[tag]}-{self.labels[row.argmax()]}", tags[word, tag] * row.max()
        return Answers(gold=tuple(gold), predicted=tuple(said), confidence=tuple(sure.tolist()))

    def scores(self, answers: Sequence[Answers]) -> Scores:
        """Accuracy of words' tags, and micro figures of spans with their labels, by seqeval; a label's own are those of its spans."""
        return tag_scores([one.gold for one in answers], [one.predicted for one in answers])


HEAD = EntitySentimentHead

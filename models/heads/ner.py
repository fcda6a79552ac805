"""Named entities: an IOB2 tag for every word, read at the word's first token, decoded so that no I- stands without its B-.

Words are what the tokenizer's own pre-tokenizer finds in the raw text, in training as in use: a training set's token such as "U.S." is
four of them, the first tagged as the token is, the others as its continuation. So the head sees in training what a night will show it.
Tags are IOB2 (Ramshaw and Marcus 1995), decoded by Viterbi over the words' scores with what IOB2 forbids left out; with the option `crf`
the steps from tag to tag are learnt too (models.tagging, models.crf). A training set without one type (FiNER-ORD has no MISC) teaches
that such words are O.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from data_contracts.labels import NER_TAGS
from models.batching import Batch
from models.findings import Found
from models.heads import IGNORED, Answers, Average, Example, Head, HeadOptions, Level
from models.metrics import Scores, tag_scores
from models.spans import Words
from models.tagging import Tagger, run_means, runs
from models.tokens import Encoded


def inside_of(tag: str) -> str:
    """The tag that continues what `tag` begins: B-ORG and I-ORG -> I-ORG, O -> O."""
    return "I-" + tag[2:] if tag.startswith("B-") else tag


class NerHead(Head):
    """Dropout and one linear layer over every token, and a tagger over the words."""

    task: ClassVar[str] = "ner"
    level: ClassVar[Level] = "word"
    average: ClassVar[Average] = "micro"
    labels: tuple[str, ...] = NER_TAGS

    def __init__(self, hidden_size: int, options: HeadOptions) -> None:
        super().__init__(hidden_size, options)
        self.tagger = Tagger(self.labels, crf=options.crf, label_features=options.label_features, ignored=IGNORED)

    def forward(self, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Hidden (windows, tokens, hidden) -> logits (windows, tokens, labels)."""
        logits: torch.Tensor = self.linear(self.dropout(hidden))
        return logits

    def text(self, example: Example) -> str:
        """The example's tokens with one space between them."""
        return " ".join(example.tokens)

    def targets(self, example: Example, encoded: Encoded) -> NDArray[np.int64]:
        """(words,) the tag's number of each word the tokenizer finds; with label features (words, 1 + widths)."""
        token, opens = _token_of(example, encoded)
        tags = [
            tag if first else inside_of(tag) for tag, first in zip((example.tags[i] for i in token), opens, strict=True)
        ]
        known = {tag: number for number, tag in enumerate(self.labels)}
        numbers = np.asarray([known.get(tag, IGNORED) for tag in tags], dtype=np.int64)
        return self.tagger.targets(numbers, encoded)

    def loss(
        self, logits: torch.Tensor, targets: torch.Tensor, *, smoothing: float = 0.0, soft: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The tagger's, of logits (windows, tokens, labels) and targets (windows, tokens) or (windows, tokens, 1 + widths)."""
        return self.tagger.loss(logits, targets, smoothing=smoothing)

    def emissions(self, encoded: Encoded, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logits (words, labels) with the label features' weights added."""
        return self.tagger.emissions(encoded, logits)

    def probabilities(self, logits: NDArray[np.float64], temperature: float = 1.0) -> NDArray[np.float64]:
        """Probabilities (words, labels) of one sentence's emissions (words, labels)."""
        return self.tagger.probabilities(logits, temperature)

    def calibration(
        self, example: Example, encoded: Encoded, logits: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Every word's emissions, of a CRF the logarithms of its marginals, with its tag."""
        rows = self.tagger.log_scores(self.emissions(encoded, logits), borders=self.tagger.borders(encoded))
        targets = self.targets(example, encoded)[: len(logits)]
        gold = targets if targets.ndim == 1 else targets[:, 0]
        return rows[gold != IGNORED], gold[gold != IGNORED]

    def answers(
        self,
        example: Example,
        encoded: Encoded,
        logits: NDArray[np.float64],
        temperature: float = 1.0,
        *,
        given: bool = False,
    ) -> Answers:
        """One tag for each of the example's own tokens, read at its first word; O where the tokenizer finds no word in it."""
        emissions, borders = self.emissions(encoded, logits), self.tagger.borders(encoded)
        probabilities = self.tagger.probabilities(emissions, temperature, borders=borders)
        token, opens = _token_of(example, encoded)
        words = np.flatnonzero(opens[: len(probabilities)])
        # a chain has learnt from all words, and is read at the tokens' first
        chained = self.options.crf
        numbers = (
            self.tagger.decode(emissions, borders=borders)[words] if chained else self.tagger.decode(emissions[words])
        )
        predicted, confidence = ["O"] * len(example.tokens), [1.0] * len(example.tokens)
        for word, number in zip(words, numbers, strict=True):
            predicted[token[word]], confidence[token[word]] = self.labels[number], float(probabilities[word, number])
        return Answers(gold=tuple(example.tags), predicted=_lawful(predicted), confidence=tuple(confidence))

    def scores(self, answers: Sequence[Answers]) -> Scores:
        """Accuracy of words and micro figures of entities."""
        return tag_scores([one.gold for one in answers], [one.predicted for one in answers])

    def find(self, words: Words, logits: NDArray[np.float64], temperature: float = 1.0) -> Found:
        """The mentions in many texts, in order; logits are (words, labels). A line break ends a mention: it parts title and paragraphs."""
        emissions, borders = self.emissions_of(words, logits), self.tagger.begins(words)
        probabilities = self.tagger.probabilities(emissions, temperature, borders=borders)
        numbers = self.tagger.decode(emissions, borders=borders)
        found = runs(numbers, self.labels, words.breaks)
        return Found(
            spans=words.spans(found),
            types=[self.labels[number][2:] for number in numbers[found[:, 0]].tolist()],
            scores=run_means(probabilities[np.arange(len(numbers)), numbers], found),
        )


def _lawful(tags: Sequence[str]) -> tuple[str, ...]:
    """IOB2 tags, where what goes on with nothing, since its beginning was within a token or at one without a word, begins an entity.

    Which is how seqeval counts it, so no figure of entities depends on it.
    """
    return tuple(
        f"B-{tag[2:]}" if tag.startswith("I-") and tag[2:] != before[2:] else tag
        for before, tag in zip(("O", *tags), tags, strict=False)
    )


def _token_of(example: Example, encoded: Encoded) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """For each word of the text, (words,): the example's token it lies in, and whether it is the first there."""
    lengths = np.asarray([len(token) + 1 for token in example.tokens], dtype=np.int64)
    begins = np.cumsum(lengths) - lengths
    token = np.searchsorted(begins, encoded.word_starts(), side="right") - 1
    opens = np.ones(len(token), dtype=bool)
    opens[1:] = token[1:] != token[:-1]
    return token, opens


HEAD = NerHead

"""Named entities: an IOB2 tag for every word, read at the word's first token, decoded so that no I- stands without its B-.

Words are what the tokenizer's own pre-tokenizer finds in the raw text, in training as in use: a training set's token such as "U.S." is
four of them, the first tagged as the token is, the others as its continuation. So the head sees in training what a night will show it.
Decoding is Viterbi over the words' log-probabilities with the forbidden transitions left out (Ramshaw and Marcus 1995 for the tags); a
learned transition table, as in a conditional random field, is left out. A training set without one type (FiNER-ORD has no MISC) teaches
that such words are O.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from data_contracts.labels import NER_TAGS
from models.encoder import Encoded
from models.heads import IGNORED, Answers, Example, Head, Level, Mention
from models.metrics import Scores, tag_scores


def inside_of(tag: str) -> str:
    """The tag that continues what `tag` begins: B-ORG and I-ORG -> I-ORG, O -> O."""
    return "I-" + tag[2:] if tag.startswith("B-") else tag


def allowed_transitions(tags: Sequence[str]) -> NDArray[np.bool_]:
    """(tags + 1, tags) whether a tag may follow another; the last row stands for the beginning of the text."""
    rows = [[not tag.startswith("I-") or before[1:] == tag[1:] for tag in tags] for before in (*tags, "O")]
    return np.asarray(rows, dtype=bool)


def decode(probabilities: NDArray[np.float64], tags: Sequence[str]) -> NDArray[np.int64]:
    """The likeliest allowed tags (words,) for probabilities (words, tags): each word's best where those are allowed, else Viterbi's."""
    best: NDArray[np.int64] = probabilities.argmax(axis=1)
    allowed = allowed_transitions(tags)
    before = np.concatenate([[len(tags)], best[:-1]]) if len(best) else best
    if allowed[before, best].all():
        return best
    return _viterbi(np.log(np.maximum(probabilities, 1e-12)), allowed)


def _viterbi(scores: NDArray[np.float64], allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
    penalty = np.where(allowed, 0.0, -np.inf)
    total = scores[0] + penalty[-1]
    back = np.zeros(scores.shape, dtype=np.int64)
    for word in range(1, len(scores)):
        reach = total[:, None] + penalty[:-1]
        back[word] = reach.argmax(axis=0)
        total = reach.max(axis=0) + scores[word]
    path = np.zeros(len(scores), dtype=np.int64)
    path[-1] = total.argmax()
    for word in range(len(scores) - 1, 0, -1):
        path[word - 1] = back[word, path[word]]
    return path


class NerHead(Head):
    """Dropout and one linear layer over every token."""

    task: ClassVar[str] = "ner"
    level: ClassVar[Level] = "word"
    labels: ClassVar[tuple[str, ...]] = NER_TAGS

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Hidden (batch, tokens, hidden) -> logits (batch, tokens, labels)."""
        logits: torch.Tensor = self.linear(self.dropout(hidden))
        return logits

    def text(self, example: Example) -> str:
        """The example's tokens with one space between them."""
        return " ".join(example.tokens)

    def targets(self, example: Example, encoded: Encoded) -> NDArray[np.int64]:
        """(words,) the tag's number of each word the tokenizer finds."""
        token, opens = _token_of(example, encoded)
        tags = [
            tag if first else inside_of(tag) for tag, first in zip((example.tags[i] for i in token), opens, strict=True)
        ]
        known = {tag: number for number, tag in enumerate(self.labels)}
        return np.asarray([known.get(tag, IGNORED) for tag in tags], dtype=np.int64)

    def answers(self, example: Example, encoded: Encoded, probabilities: NDArray[np.float64]) -> Answers:
        """One tag for each of the example's own tokens, read at its first word; O where the tokenizer finds no word in it."""
        token, opens = _token_of(example, encoded)
        words = np.flatnonzero(opens[: len(probabilities)])
        seen = probabilities[words]
        numbers = decode(seen, self.labels)
        predicted, confidence = ["O"] * len(example.tokens), [1.0] * len(example.tokens)
        for word, number, row in zip(words, numbers, seen, strict=True):
            predicted[token[word]], confidence[token[word]] = self.labels[number], float(row[number])
        return Answers(gold=tuple(example.tags), predicted=tuple(predicted), confidence=tuple(confidence))

    def scores(self, answers: Sequence[Answers]) -> Scores:
        """Accuracy of words and micro figures of entities."""
        return tag_scores([one.gold for one in answers], [one.predicted for one in answers])

    def mentions(self, encoded: Encoded, probabilities: NDArray[np.float64]) -> list[Mention]:
        """The mentions in a text, in order; probabilities are (words, labels). A line break ends a mention: it parts title and paragraphs."""
        numbers = decode(probabilities, self.labels)
        named = np.flatnonzero(numbers != self.labels.index("O"))
        starts, ends = encoded.word_starts(), encoded.word_ends()
        groups: list[list[int]] = []
        for word in named.tolist():
            begins = self.labels[numbers[word]].startswith("B-")
            if begins or "\n" in encoded.text[ends[word - 1] : starts[word]]:
                groups.append([word])
            else:
                groups[-1].append(word)
        return [
            Mention(
                start=int(starts[words[0]]),
                end=int(ends[words[-1]]),
                type=self.labels[numbers[words[0]]][2:],
                score=float(np.mean([probabilities[word, numbers[word]] for word in words])),
            )
            for words in groups
        ]


def _token_of(example: Example, encoded: Encoded) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """For each word of the text, (words,): the example's token it lies in, and whether it is the first there."""
    lengths = np.asarray([len(token) + 1 for token in example.tokens], dtype=np.int64)
    begins = np.cumsum(lengths) - lengths
    token = np.searchsorted(begins, encoded.word_starts(), side="right") - 1
    opens = np.ones(len(token), dtype=bool)
    opens[1:] = token[1:] != token[:-1]
    return token, opens


HEAD = NerHead

"""What a head is: a light layer that reads the trunk's hidden states and answers one task. One head a file.

The file's name is the task's name; the head is the class `HEAD` in it, resolved with `pkgutil.resolve_name`. A head is of one of three levels.
A "text" head gives one row of logits a window, averaged over a text's windows as models.windows says. A "word" head gives one row of
logits a token; the row of a word's first token is the word's. docs/adding_a_head.md shows how one is added.

A "document" head gives a vector a window, and reads all windows of a text, a sentence each, together (`combine`).

Does not cover: heads over pairs of texts.
"""

from __future__ import annotations

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from data_contracts import labels as label_sets
from data_contracts.errors import Fatal
from models.batching import Batch
from models.calibration import softmax
from models.findings import EntityOpinion, Extract, Found, Judgements, Mention
from models.metrics import Scores
from models.spans import Spans, Words
from models.tokens import Encoded
from models.windows import Reading

IGNORED = -100  # a target that no loss counts, as torch.nn.functional.cross_entropy has it
Level: TypeAlias = Literal["text", "word", "document"]
Average: TypeAlias = Literal[
    "macro", "micro", "rouge"
]  # what a task's first figure is: an F1 by label, by entity, or the mean ROUGE
# A labelled example: a class of data_contracts.labelled, whose fields only the head of its task reads.
Example: TypeAlias = Any


class UnknownHead(Fatal):
    """No head answers to that name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What one example's gold and predicted answers are: labels, and the confidence in [0, 1] of each predicted one.

    `texts` are what a task compares beside labels: of a summary what people wrote, the extract, and the first sentences.
    """

    gold: tuple[str, ...]
    predicted: tuple[str, ...]
    confidence: tuple[float, ...]
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HeadOptions:
    """How heads are built. `labels` holds the label sets of tasks whose labels come from the data; `pooling` is "mean" or "cls"."""

    pooling: str = "mean"
    dropout: float = 0.1
    crf: bool = False
    label_features: tuple[str, ...] = ()
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def window_means(hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Hidden (windows, tokens, hidden) -> (windows, hidden) the mean over what is not padding."""
    weights = batch.mask.unsqueeze(-1).to(hidden.dtype)
    mean: torch.Tensor = (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)
    return mean


class Head(nn.Module, ABC):
    """Base of every head. Subclasses name `task`, `level`, `average` and `labels`, and say how examples become targets and logits answers.

    `labels` of the class is empty where the data gives them. `reading` is how examples are cut into windows to learn from.
    """

    task: ClassVar[str]
    level: ClassVar[Level]
    average: ClassVar[Average]
    reading: ClassVar[Reading] = "whole"
    labels: tuple[str, ...]

    def __init__(self, hidden_size: int, options: HeadOptions, *, outputs: int | None = None) -> None:
        super().__init__()
        self.options = options
        self.labels = tuple(options.labels.get(self.task, ())) or type(self).labels
        self.outputs = outputs or len(self.labels)
        self.dropout = nn.Dropout(options.dropout)
        self.linear = nn.Linear(hidden_size, self.outputs)
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    @abstractmethod
    def forward(self, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Hidden (windows, tokens, hidden) -> logits (windows, outputs), (windows, tokens, outputs), or of a document head vectors."""

    def pooled(self, hidden: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Hidden (windows, tokens, hidden) -> (windows, hidden): the mean over a window's tokens, or the first token's state."""
        return hidden[:, 0] if self.options.pooling == "cls" else window_means(hidden, batch)

    def combine(self, vectors: torch.Tensor, owners: torch.Tensor) -> torch.Tensor:
        """Of a document head: vectors (windows, hidden) and the text each belongs to (windows,) -> logits (windows, outputs).

        In use a sentence that was cut into several windows has the highest of their logits: rows (sentences, outputs).
        """
        raise TypeError(f"{type(self).__name__} is no document head")

    @abstractmethod
    def text(self, example: Example) -> str:
        """The text of an example."""

    @abstractmethod
    def targets(self, example: Example, encoded: Encoded) -> NDArray[np.int64]:
        """The right labels' numbers: (1,) or (1, k) for a text head, (words,) or (words, k) for a word head, (sentences,) for a document head.

        IGNORED where there is none.
        """

    def soft_targets(self, example: Example) -> NDArray[np.float32] | None:
        """Probabilities (labels,) that a text head should learn instead of its one label, where the example says how sure it is."""
        return None

    def loss(
        self, logits: torch.Tensor, targets: torch.Tensor, *, smoothing: float = 0.0, soft: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Mean cross-entropy over what is not IGNORED: logits (..., outputs), targets (...).

        `soft` (windows, labels) replaces targets; a row of zeros is one that is IGNORED.
        """
        if soft is not None:
            counted = soft.sum(dim=-1) > 0
            each = nn.functional.cross_entropy(logits.float(), soft, label_smoothing=smoothing, reduction="none")
            return (each * counted).sum() / counted.sum().clamp(min=1)
        summed = nn.functional.cross_entropy(
            logits.float().reshape(-1, logits.shape[-1]),
            targets.reshape(-1),
            ignore_index=IGNORED,
            label_smoothing=smoothing,
            reduction="sum",
        )
        return summed / (targets != IGNORED).sum().clamp(min=1)

    def emissions(self, encoded: Encoded, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logits (rows, outputs) with what the text itself adds to them."""
        return logits

    def joined(self, encoded: Encoded, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of a word head: a text's rows (words, outputs) as its windows gave them; in an ensemble, made of what all members gave."""
        return rows

    def groups(self) -> tuple[int, ...]:
        """How many neighbouring outputs share a softmax, in order; 1 stands for a sigmoid of its own."""
        return (self.outputs,)

    def probabilities(self, logits: NDArray[np.float64], temperature: float = 1.0) -> NDArray[np.float64]:
        """Probabilities (rows, labels) of a text's or its words' logits (rows, outputs)."""
        return softmax(logits, temperature)

    def calibration(
        self, example: Example, encoded: Encoded, logits: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """What a temperature is fitted on: logits (rows, classes) whose softmax is a probability, and the right class of each (rows,)."""
        gold = self.targets(example, encoded)[: len(logits)]
        return logits[gold != IGNORED], gold[gold != IGNORED]

    @abstractmethod
    def answers(
        self,
        example: Example,
        encoded: Encoded,
        logits: NDArray[np.float64],
        temperature: float = 1.0,
        *,
        given: bool = False,
    ) -> Answers:
        """Gold and predicted answers of one example; logits are (1, outputs) or (rows, outputs); `given`: its entities are told."""

    @abstractmethod
    def scores(self, answers: Sequence[Answers]) -> Scores:
        """The task's figures over many examples."""

    def emissions_of(self, words: Words, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logits (words, outputs) of many texts with what the texts themselves add to them."""
        if not self.options.label_features or not len(words):
            return logits
        texts = np.flatnonzero(words.counts)
        bounds = [slice(words.bounds[text], words.bounds[text + 1]) for text in texts]
        parts = zip(texts.tolist(), bounds, strict=True)
        return np.concatenate([self.emissions(words.tokens[text], logits[part]) for text, part in parts])

    def find(self, words: Words, logits: NDArray[np.float64], temperature: float = 1.0) -> Found | None:
        """The mentions that logits (words, outputs) of many texts' words show, in order; None of a head that looks for none."""
        return None

    def judge(
        self, words: Words, logits: NDArray[np.float64], temperature: float = 1.0, *, spans: Spans | None = None
    ) -> Judgements:
        """What logits (words, outputs) of many texts' words say of spans, or of those the head finds itself; most heads say nothing."""
        raise TypeError(f"{type(self).__name__} has no opinions of entities")

    def mentions(self, encoded: Encoded, logits: NDArray[np.float64], temperature: float = 1.0) -> list[Mention]:
        """The mentions that logits (words, outputs) show in a text, in order; most heads have none."""
        found = self.find(Words.of(encoded, len(logits)), logits, temperature)
        return [] if found is None else found.listed()

    def opinions(
        self,
        encoded: Encoded,
        logits: NDArray[np.float64],
        temperature: float = 1.0,
        *,
        spans: Sequence[tuple[int, int]] | None = None,
    ) -> list[EntityOpinion]:
        """What logits (words, outputs) say of spans of characters of a text, or of those the head finds itself."""
        given = None if spans is None else Spans.of(spans)
        return self.judge(Words.of(encoded, len(logits)), logits, temperature, spans=given).listed(self.labels)

    def extract(
        self,
        encoded: Encoded,
        logits: NDArray[np.float64],
        temperature: float = 1.0,
        *,
        most: int = 3,
        after: int = 0,
    ) -> list[Extract]:
        """The sentences that logits (sentences, outputs) say carry the text, none that begins before `after`; most heads have none."""
        return []


def head_class(task: str) -> type[Head]:
    """The class of a task's head."""
    if task not in label_sets.TASKS:
        raise UnknownHead(f"no head {task!r}; allowed are {', '.join(label_sets.TASKS)}, each a file in models/heads")
    found: type[Head] = pkgutil.resolve_name(f"models.heads.{task}:HEAD")
    return found

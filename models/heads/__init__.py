"""What a head is: a light layer that reads the trunk's hidden states and answers one task. One head a file.

The file's name is the task's name; the head is the class `HEAD` in it, resolved with `pkgutil.resolve_name`. A head is of one of two levels.
A "text" head gives one row of logits a window, averaged over a text's windows as models.windows says. A "word" head gives one row of
logits a token; the row of a word's first token is the word's. docs/adding_a_head.md shows how one is added.

Does not cover: heads over pairs of texts, or over spans given from outside.
"""

from __future__ import annotations

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from data_contracts import labels as label_sets
from data_contracts.errors import Fatal
from models.encoder import Encoded
from models.metrics import Scores

IGNORED = -100  # a target that no loss counts, as torch.nn.functional.cross_entropy has it
Level: TypeAlias = Literal["text", "word"]
# A labelled example: a class of data_contracts.labelled, whose fields only the head of its task reads.
Example: TypeAlias = Any


class UnknownHead(Fatal):
    """No head answers to that name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """What one example's gold and predicted answers are: labels, and the confidence in [0, 1] of each predicted one."""

    gold: tuple[str, ...]
    predicted: tuple[str, ...]
    confidence: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mention:
    """A named thing in a text: characters [start, end), its type, and the mean probability of its words' tags."""

    start: int
    end: int
    type: str
    score: float


class Head(nn.Module, ABC):
    """Base of every head. Subclasses name `task`, `level` and `labels`, and say how examples become targets and logits answers."""

    task: ClassVar[str]
    level: ClassVar[Level]
    labels: ClassVar[tuple[str, ...]]

    def __init__(self, hidden_size: int, *, dropout: float, pooling: str) -> None:
        super().__init__()
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden_size, len(self.labels))
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    @abstractmethod
    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Hidden (batch, tokens, hidden), mask (batch, tokens) -> logits (batch, labels) or (batch, tokens, labels)."""

    @abstractmethod
    def text(self, example: Example) -> str:
        """The text of an example."""

    @abstractmethod
    def targets(self, example: Example, encoded: Encoded) -> NDArray[np.int64]:
        """The right labels' numbers: (1,) for a text head, (words,) for a word head, IGNORED where there is none."""

    @abstractmethod
    def answers(self, example: Example, encoded: Encoded, probabilities: NDArray[np.float64]) -> Answers:
        """Gold and predicted answers of one example; probabilities are (1, labels) or (words, labels)."""

    @abstractmethod
    def scores(self, answers: Sequence[Answers]) -> Scores:
        """The task's figures over many examples."""

    def mentions(self, encoded: Encoded, probabilities: NDArray[np.float64]) -> list[Mention]:
        """The mentions that probabilities (words, labels) show in a text; a text head has none."""
        return []


def head_class(task: str) -> type[Head]:
    """The class of a task's head."""
    if task not in label_sets.TASKS:
        raise UnknownHead(f"no head {task!r}; allowed are {', '.join(label_sets.TASKS)}, each a file in models/heads")
    found: type[Head] = pkgutil.resolve_name(f"models.heads.{task}:HEAD")
    return found

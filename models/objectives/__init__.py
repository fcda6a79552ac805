"""What a trunk learns from texts without labels: one objective a file, its name the file's.

Three kinds go together. A masking ("mlm", "whole_word", "span") says which tokens are hidden; a boundary objective ("span_boundary") guesses
the hidden tokens a second time; a pairing ("next_sentence", "sentence_order") sets two segments beside each other and asks how they belong
together. One masking and one pairing at most are learnt at once, their losses added.

Each file has an OBJECTIVE of one of the classes below. An objective is a plain value; what it learns with is the head that it makes.
"""

from __future__ import annotations

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from data_contracts.errors import Fatal
from models.heads import IGNORED
from models.masking import Arranged, Masked, Span, TokenHead
from models.pieces import Frame, Piece

__all__ = ["IGNORED", "Batch", "Boundary", "Masking", "Objective", "ObjectiveHead", "Pairing", "Sizes", "objective"]

Stranger: TypeAlias = Callable[[np.random.Generator], Piece]  # a random piece of another document


class UnknownObjective(Fatal):
    """No file of models/objectives has this name."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What a head must fit: the trunk's hidden states, its word embeddings' width, their number, and its norms."""

    hidden: int
    width: int
    entries: int
    norm_eps: float = 1e-12


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Tensors int64: ids, mask and types (windows, tokens), labels (windows,); of each hidden token, (hidden,): row, position, target, borders."""

    ids: torch.Tensor
    mask: torch.Tensor
    types: torch.Tensor
    labels: torch.Tensor
    rows: torch.Tensor
    positions: torch.Tensor
    targets: torch.Tensor
    left: torch.Tensor
    right: torch.Tensor

    @classmethod
    def of(cls, examples: list[Masked], *, pad_id: int, device: torch.device | str = "cpu") -> Batch:
        """Examples padded at the right to the longest."""
        longest = max(len(one.ids) for one in examples)
        ids = np.full((len(examples), longest), pad_id, dtype=np.int64)
        mask, types = np.zeros_like(ids), np.zeros_like(ids)
        for row, one in enumerate(examples):
            length = len(one.ids)
            ids[row, :length], mask[row, :length], types[row, :length] = one.ids, 1, one.types
        hidden = [
            np.concatenate([getattr(one, name) for one in examples])
            for name in ("positions", "targets", "left", "right")
        ]
        rows = np.repeat(np.arange(len(examples)), [len(one.positions) for one in examples])
        labels = np.asarray([one.label for one in examples], dtype=np.int64)
        return cls(
            **dict(
                zip(
                    ("ids", "mask", "types", "labels", "rows", "positions", "targets", "left", "right"),
                    (torch.from_numpy(array).to(device) for array in (ids, mask, types, labels, rows, *hidden)),
                    strict=True,
                )
            )
        )


class ObjectiveHead(nn.Module, ABC):
    """What turns hidden states into the guesses of one objective."""

    @abstractmethod
    def forward(
        self, hidden: torch.Tensor, batch: Batch, embeddings: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden states (windows, tokens, hidden), word embeddings (entries, width) -> logits (guesses, classes), targets (guesses,)."""

    def count(self, batch: Batch) -> int:
        """How many guesses a batch asks for."""
        return len(batch.targets)


class Objective(ABC):
    """What all objectives have."""

    kind: ClassVar[str]

    @abstractmethod
    def head(self, sizes: Sizes) -> ObjectiveHead:
        """A new head."""


class MaskedHead(ObjectiveHead):
    """Each hidden token guessed from the trunk's state at its own place."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.tokens = TokenHead(sizes.hidden, width=sizes.width, entries=sizes.entries, norm_eps=sizes.norm_eps)

    def forward(
        self, hidden: torch.Tensor, batch: Batch, embeddings: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See ObjectiveHead."""
        return self.tokens(hidden[batch.rows, batch.positions], embeddings), batch.targets


class Masking(Objective):
    """Says which tokens are hidden, and guesses each from the state at its own place."""

    kind = "masking"
    together: ClassVar[bool] = False  # True: the tokens of a span are masked, replaced or kept as one

    @abstractmethod
    def choose(self, words: NDArray[np.int64], *, budget: int, chance: np.random.Generator) -> list[Span]:
        """Spans that do not overlap, of `budget` tokens at most where that is possible; `words` (length,) as in Arranged."""

    def head(self, sizes: Sizes) -> ObjectiveHead:
        """The masked language model's head, tied to the word embeddings."""
        return MaskedHead(sizes)


class Boundary(Objective):
    """Guesses the hidden tokens from the borders of their spans."""

    kind = "boundary"


class Pairing(Objective):
    """Arranges a piece as two segments and asks how they belong together."""

    kind = "pairing"

    @abstractmethod
    def arrange(self, piece: Piece, frame: Frame, *, stranger: Stranger, chance: np.random.Generator) -> Arranged:
        """The piece with its label; as one segment, without a label, where it has one sentence only."""


def names() -> list[str]:
    """The names of all objectives, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def objective(name: str) -> Objective:
    """The objective of the file `name`."""
    if name not in names():
        raise UnknownObjective(f"no objective {name!r}; the files of models/objectives are {', '.join(names())}")
    found = import_module(f"{__name__}.{name}").OBJECTIVE
    assert isinstance(found, Objective)
    return found

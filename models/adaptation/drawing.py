"""Which pieces make which step, and what is hidden in them: pure functions of seed, epoch and piece, equal on every rank.

A piece is drawn anew each epoch: other segments, other tokens hidden. Held-out pieces are drawn once, so that two evaluations differ by the
network alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from models.adaptation.recipe import AdaptRecipe
from models.batching import plan
from models.masking import Arranged, Masked, Vocabulary, budget, corrupt
from models.pieces import Frame, Piece

_POOL_BATCHES = 50
_TRAIN, _HELD_OUT, _ORDER = 0, 1, 2  # streams of random numbers


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Pieces, and how they become what the trunk reads and guesses."""

    pieces: Sequence[Piece]
    frame: Frame
    vocabulary: Vocabulary
    recipe: AdaptRecipe

    def draw(self, index: int, *, epoch: int) -> Masked:
        """A piece as it is learnt from in an epoch."""
        return self._draw(index, np.random.default_rng([self.recipe.seed, _TRAIN, epoch, index]))

    def fixed(self, index: int) -> Masked:
        """A piece as it is measured."""
        return self._draw(index, np.random.default_rng([self.recipe.seed, _HELD_OUT, index]))

    def lengths(self) -> list[int]:
        """Tokens of each piece as the trunk reads it, at most."""
        extra = len(self.frame.prefix) + (2 if self.recipe.pairing else 1) * len(self.frame.suffix)
        return [len(piece.ids) + extra for piece in self.pieces]

    def pairs(self) -> int:
        """How many pieces have two sentences or more."""
        return sum(len(piece.ends) > 1 for piece in self.pieces)

    def _draw(self, index: int, chance: np.random.Generator) -> Masked:
        piece, masking, pairing = self.pieces[index], self.recipe.masking, self.recipe.pairing
        if pairing is None:
            arranged = self.frame.arrange([piece])
        else:
            arranged = pairing.arrange(
                piece, self.frame, stranger=lambda drawn: self._stranger(piece, drawn), chance=chance
            )
        if masking is None:
            return _unmasked(arranged)
        tokens = int((arranged.words >= 0).sum())
        spans = masking.choose(arranged.words, budget=budget(tokens, self.recipe.masking_share), chance=chance)
        return corrupt(arranged, spans, together=masking.together, vocabulary=self.vocabulary, chance=chance)

    def _stranger(self, piece: Piece, chance: np.random.Generator) -> Piece:
        """A random piece of another document; the pieces are of two documents at least."""
        while True:
            other = self.pieces[int(chance.integers(len(self.pieces)))]
            if other.document != piece.document:
                return other


def _unmasked(arranged: Arranged) -> Masked:
    none = np.zeros(0, dtype=np.int64)
    return Masked(
        ids=arranged.ids,
        types=arranged.types,
        label=arranged.label,
        positions=none,
        targets=none,
        left=none,
        right=none,
    )


@dataclass(frozen=True, kw_only=True)
class Course:
    """The steps of a whole training over pieces of these lengths."""

    lengths: Sequence[int]
    recipe: AdaptRecipe
    starts: list[int] = field(
        default_factory=list
    )  # the step each epoch begins with, and the step after the last epoch

    def __post_init__(self) -> None:
        self.starts.append(0)
        while len(self.starts) <= self.recipe.epochs if not self.recipe.steps else self.starts[-1] < self.recipe.steps:
            self.starts.append(self.starts[-1] + len(self.batches(len(self.starts) - 1)))

    @property
    def total(self) -> int:
        """Steps of the training."""
        return self.recipe.steps or self.starts[-1]

    def epoch(self, step: int) -> int:
        """The epoch that a step, from 0, belongs to."""
        return int(np.searchsorted(self.starts, step, side="right")) - 1

    def stop(self, step: int) -> int:
        """The step before which the next checkpoint is written, when `step` is the next to be taken."""
        every = self.recipe.checkpoint_steps
        end = (step // every + 1) * every if every else self.starts[self.epoch(step) + 1]
        return min(end, self.total)

    def batches(self, epoch: int) -> list[tuple[int, ...]]:
        """An epoch's steps, each the indices of its pieces over all ranks: of nearly equal length, in random order."""
        chance = np.random.default_rng([self.recipe.seed, _ORDER, epoch])
        order = chance.permutation(len(self.lengths)).tolist()
        mean = sum(self.lengths) / len(self.lengths)
        pool = max(1, int(_POOL_BATCHES * self.recipe.batch_tokens / mean))
        batches: list[tuple[int, ...]] = []
        for begin in range(0, len(order), pool):
            some = order[begin : begin + pool]
            cut = plan([self.lengths[index] for index in some], token_budget=self.recipe.batch_tokens)
            batches.extend(tuple(some[place] for place in batch) for batch in cut)
        return [batches[number] for number in chance.permutation(len(batches)).tolist()]

"""How to adapt a trunk to a field's texts: plain values, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass

from models.objectives import Boundary, Masking, Objective, Pairing, objective
from models.recipe import RecipeRefused


@dataclass(frozen=True, kw_only=True)
class AdaptRecipe:
    """How to adapt. Lengths are tokens, shares and probabilities in [0, 1]."""

    objectives: tuple[str, ...] = ("whole_word",)  # names of files in models/objectives
    learning_rate: float = 2e-4
    head_rate_factor: float = 1.0  # the objectives' heads learn this many times faster than the trunk
    epochs: int = 1
    steps: int = 0  # optimiser steps, over as many epochs as they take; 0: as many as the epochs have
    batch_tokens: int = 4_096  # of a step over all ranks, padding included
    accumulate: int = 1  # parts a step is computed in, to save memory
    masking_share: float = 0.15
    max_length: int = 128  # special tokens included
    warmup_share: float = 0.06
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    dropout: float = 0.1
    precision: str = "bf16"  # or "float32"
    checkpoint_steps: int = 0  # steps between two checkpoints, each with an evaluation; 0: at the end of every epoch
    evaluation_pieces: int = 2_000  # held-out pieces that are measured, at most
    seed: int = 0

    def __post_init__(self) -> None:
        kinds = [found.kind for found in self.chosen()]
        allowed = {
            "one masking, one boundary and one pairing objective at most, and one of any kind at least": 0
            < len(kinds)
            == len(set(kinds)),
            "span_boundary together with span": "boundary" not in kinds or "span" in self.objectives,
            "precision in float32, bf16": self.precision in ("float32", "bf16"),
            "learning_rate, head_rate_factor > 0": min(self.learning_rate, self.head_rate_factor) > 0,
            "epochs, accumulate, evaluation_pieces >= 1": min(self.epochs, self.accumulate, self.evaluation_pieces)
            >= 1,
            "steps, checkpoint_steps, weight_decay, seed >= 0": min(
                self.steps, self.checkpoint_steps, self.weight_decay, self.seed
            )
            >= 0,
            "0 < masking_share <= 0.5": 0 < self.masking_share <= 0.5,
            "0 <= dropout, warmup_share < 1": all(0 <= value < 1 for value in (self.dropout, self.warmup_share)),
            "max_length >= 16, batch_tokens >= max_length": 16 <= self.max_length <= self.batch_tokens,
        }
        broken = [rule for rule, holds in allowed.items() if not holds]
        if broken:
            raise RecipeRefused(f"recipe {self}: allowed is {'; '.join(broken)}")

    def chosen(self) -> tuple[Objective, ...]:
        """Its objectives, in the order of their names; UnknownObjective where there is none of a name."""
        return tuple(objective(name) for name in self.objectives)

    @property
    def masking(self) -> Masking | None:
        """The objective that says which tokens are hidden, if any."""
        return next((found for found in self.chosen() if isinstance(found, Masking)), None)

    @property
    def boundary(self) -> Boundary | None:
        """The objective that guesses from borders, if any."""
        return next((found for found in self.chosen() if isinstance(found, Boundary)), None)

    @property
    def pairing(self) -> Pairing | None:
        """The objective that sets two segments beside each other, if any."""
        return next((found for found in self.chosen() if isinstance(found, Pairing)), None)

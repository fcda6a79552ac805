"""What held-out texts say of a network: for each objective the mean loss of its guesses, and how many of them are right.

Loss: the mean cross-entropy of the guesses, in nats. Perplexity: e to the power of it, the number of equally likely tokens that a guess is as
hard as; given for guessed tokens alone. Accuracy: the share of guesses whose likeliest class is the right one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from models.adaptation.network import ObjectiveNetwork
from models.objectives import Batch, objective

_LARGEST_EXPONENT = 700.0


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One objective on held-out texts; `guesses` is how many were made."""

    objective: str
    loss: float
    perplexity: float | None
    accuracy: float
    guesses: int


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All objectives on held-out texts, after so many steps."""

    step: int
    figures: tuple[Figure, ...]

    @property
    def loss(self) -> float:
        """The sum of the objectives' losses, which training makes smaller."""
        return sum(figure.loss for figure in self.figures)

    def by_name(self) -> dict[str, float]:
        """Its figures, named OBJECTIVE.FIGURE."""
        return {
            f"{figure.objective}.{name}": value
            for figure in self.figures
            for name, value in (("loss", figure.loss), ("perplexity", figure.perplexity), ("accuracy", figure.accuracy))
            if value is not None
        }


def evaluate(network: ObjectiveNetwork, batches: Iterable[Batch], *, step: int, bf16: bool) -> Evaluation:
    """Measure a network on batches; it is left in the state of scoring."""
    network.eval()
    names = list(network.keys)
    losses, right, guesses = [0.0] * len(names), [0] * len(names), [0] * len(names)
    with torch.inference_mode():
        for batch in batches:
            with torch.autocast(network.device.type, dtype=torch.bfloat16, enabled=bf16):
                answers = network.guesses(batch)
            for number, (logits, targets) in enumerate(answers):
                losses[number] += nn.functional.cross_entropy(logits.float(), targets, reduction="sum").item()
                right[number] += int((logits.argmax(dim=-1) == targets).sum())
                guesses[number] += len(targets)
    figures = []
    for name, loss, good, count in zip(names, losses, right, guesses, strict=True):
        mean = loss / max(count, 1)
        token = objective(name).kind != "pairing"
        figures.append(
            Figure(
                objective=name,
                loss=mean,
                perplexity=math.exp(min(mean, _LARGEST_EXPONENT)) if token else None,
                accuracy=good / max(count, 1),
                guesses=count,
            )
        )
    return Evaluation(step=step, figures=tuple(figures))

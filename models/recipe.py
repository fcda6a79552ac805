"""How to train, and on what: plain values, checked when they are made.

The defaults of `recipe_for` were measured on the dev parts, default trunk, bf16 on two x86 cores, seed 0, one run each (2026-11-20):
sentiment alone (PhraseBank, rate 1e-4, 3 epochs) accuracy 0.860, macro-F1 0.842; ner alone (FiNER-ORD, rate 2e-4, 5 epochs, word shapes)
micro-F1 0.840. Both in one trunk (rate 2e-4, 3 epochs) gave 0.820 and 0.840 / 0.803: entities hold, sentiment loses four points of F1, so
one trunk a task is the better model and one trunk for both the cheaper.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from data_contracts.errors import Fatal
from models.augment import WAYS
from models.averaging import AVERAGINGS
from models.heads import Example
from models.windows import Reading


class RecipeRefused(Fatal):
    """A recipe or the data for it is not one that can be followed."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train. Lengths are tokens, shares and probabilities in [0, 1], `batch_size` counts examples a step over all ranks."""

    learning_rate: float = 1e-4
    layer_decay: float = 1.0  # each layer learns this many times as fast as the one above it, the embeddings slowest
    head_rate_factor: float = 1.0  # the heads learn this many times faster than the trunk
    shape_rate_factor: float = 5.0  # and the word-shape embedding this many times
    epochs: int = 3
    auxiliary_epochs: int = 0  # in the first so many, the examples of TaskData.auxiliary join the training
    batch_size: int = 32
    batch_tokens: int = 0  # above 0: a step holds so many tokens at most, whatever the number of examples
    accumulate: int = 1  # parts a step is computed in, to save memory
    warmup_share: float = 0.1
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    dropout: float = 0.1
    quick_dropout: bool = False  # draw it by random bits on a CPU: faster, other draws; models.dropout
    label_smoothing: float = 0.0
    agreement_smoothing: bool = False  # learn the annotators' agreement where an example states it
    r_drop: float = 0.0  # weight of the divergence between two passes under dropout; 0: one pass
    averaging: str = "none"  # of weights: or "ema", "swa" (over steps), "epochs" (over their ends)
    ema_decay: float = 0.999
    loss_weights: Mapping[str, float] = field(default_factory=dict)  # by task; 1 where none is given
    freeze_layers: int = 0  # of the trunk, from below; with any, the embeddings are frozen too
    tuning: str = "full"  # or a file of models/tuning
    tuning_rank: int = 8  # of LoRA and AdaLoRA; virtual tokens of prompt and prefix; layers of top_layers
    precision: str = "bf16"  # or "float32"
    checkpoint_steps: int = 0  # a checkpoint every so many steps besides each epoch's; 0: none
    patience: int = 2  # epochs without a better figure on dev before it stops; 0: never
    max_length: int = 256
    overlap: int = 64
    reading: Reading = "sentences"  # of dev and in use: models.windows; what it learns from is always "whole"
    pooling: str = "mean"  # or "cls"
    word_shapes: bool = False
    crf: bool = False  # over the tags of word heads
    label_features: tuple[str, ...] = ()  # files of models/features, for the CRF
    augment: Mapping[str, float] = field(
        default_factory=dict
    )  # file of models/augment -> probability an example an epoch
    negative_share: float = 1.0  # of the sentences without entities, seen an epoch
    seed: int = 0

    def __post_init__(self) -> None:
        allowed = self._craft() | {
            "precision in float32, bf16": self.precision in ("float32", "bf16"),
            "reading in sentences, whole": self.reading in ("sentences", "whole"),
            "pooling in mean, cls": self.pooling in ("mean", "cls"),
            "finite learning_rate > 0": 0 < self.learning_rate < math.inf,
            "epochs, batch_size, accumulate >= 1": min(self.epochs, self.batch_size, self.accumulate) >= 1,
            "0 <= dropout, warmup_share, label_smoothing < 1": all(
                0 <= value < 1 for value in (self.dropout, self.warmup_share, self.label_smoothing)
            ),
            "max_length >= 8, 0 <= overlap < max_length - 2": self.max_length >= 8
            and 0 <= self.overlap < self.max_length - 2,
            "freeze_layers, patience, seed >= 0": min(self.freeze_layers, self.patience, self.seed) >= 0,
            "finite weight_decay and loss_weights >= 0, head_rate_factor and shape_rate_factor > 0": all(
                0 <= value < math.inf for value in (self.weight_decay, *self.loss_weights.values())
            )
            and all(0 < value < math.inf for value in (self.head_rate_factor, self.shape_rate_factor)),
        }
        broken = [rule for rule, holds in allowed.items() if not holds]
        if broken:
            raise RecipeRefused(f"recipe {self}: allowed is {'; '.join(broken)}")

    def _craft(self) -> dict[str, bool]:
        return {
            "0 < layer_decay <= 1": 0 < self.layer_decay <= 1,
            "auxiliary_epochs, batch_tokens, checkpoint_steps >= 0": min(
                self.auxiliary_epochs, self.batch_tokens, self.checkpoint_steps
            )
            >= 0,
            "r_drop >= 0, and above it dropout > 0": self.r_drop == 0 or (self.r_drop > 0 and self.dropout > 0),
            f"averaging in {', '.join(AVERAGINGS)}": self.averaging in AVERAGINGS,
            "0 <= ema_decay < 1": 0 <= self.ema_decay < 1,
            "0 <= negative_share <= 1": 0 <= self.negative_share <= 1,
            f"augment of {', '.join(WAYS)}, each with a probability": set(self.augment) <= set(WAYS)
            and all(0 <= value <= 1 for value in self.augment.values()),
        }


def recipe_for(tasks: Sequence[str], **changes: Any) -> Recipe:
    """The recipe that measured best for these tasks with the default trunk, with changes by field name."""
    if "summary" in tasks:  # an item is a whole article
        return dataclasses.replace(Recipe(learning_rate=1e-4, epochs=5, batch_tokens=4096), **changes)
    if tuple(tasks) == ("topics",):  # many yes and no a text, few of them yes: slow to leave "no" behind
        return dataclasses.replace(
            Recipe(learning_rate=3e-4, epochs=12, batch_size=16, patience=0, head_rate_factor=20.0), **changes
        )
    if "ner" in tasks or "entity_sentiment" in tasks:
        return dataclasses.replace(Recipe(learning_rate=2e-4, epochs=5, word_shapes=True), **changes)
    return dataclasses.replace(Recipe(learning_rate=1e-4, epochs=3), **changes)


@dataclass(frozen=True)
class TaskData:
    """A task's labelled examples, row classes of data_contracts.labelled: for fitting, for choosing, and to begin the fitting with."""

    train: Sequence[Example]
    dev: Sequence[Example]
    auxiliary: Sequence[Example] = ()

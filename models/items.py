"""Labelled examples as windows to learn from, each with what it should answer. Nothing of a long example is left out.

An example is read whole, however many sentences it has: its label is of all of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.encoder import Encoder
from models.heads import IGNORED, Head
from models.recipe import Recipe, RecipeRefused, TaskData
from models.windows import Window, cut


@dataclass(frozen=True, slots=True)
class Item:
    """One window to learn from: target is (1,) for a text head, (len(window.ids),) for a word head."""

    window: Window
    target: NDArray[np.int64]


def make_items(head: Head, encoder: Encoder, parts: TaskData, recipe: Recipe) -> list[Item]:
    """Every window of every training example with what it should answer; a text without tokens gives none."""
    items: list[Item] = []
    encoded = encoder.encode([head.text(example) for example in parts.train])
    for example, text in zip(parts.train, encoded, strict=True):
        targets = head.targets(example, text)
        for window in cut(text, encoder, max_length=recipe.max_length, overlap=recipe.overlap, reading="whole"):
            if head.level == "text":
                items.append(Item(window, targets))
                continue
            target = np.full(len(window.ids), IGNORED, dtype=np.int64)
            held = (text.first >= window.start) & (text.first < window.stop)
            target[text.first[held] - window.start + window.offset] = targets[held]
            items.append(Item(window, target))
    if not items:
        raise RecipeRefused(f"{head.task}: none of the {len(parts.train)} training texts has a token")
    return items

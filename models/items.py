"""Labelled examples as windows to learn from, each with what it should answer. Nothing of a long example is left out.

An example is read whole, however many sentences it has: its label is of all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.encoder import Encoder
from models.heads import IGNORED, Example, Head, HeadOptions, head_class
from models.recipe import Recipe, RecipeRefused, TaskData
from models.tokens import Encoded
from models.windows import Window, cut, sentence_of


@dataclass(frozen=True, slots=True)
class Item:
    """What is learnt from at once: one window with its target, of a document head all windows of a text with one target each.

    A target is (1,) for a text or document head, (len(window.ids),) or (len(window.ids), k) for a word head; `soft` is (labels,); `source`
    numbers the example among the task's training and auxiliary ones, -1 where there is none.
    """

    windows: tuple[Window, ...]
    targets: tuple[NDArray[np.int64], ...]
    soft: NDArray[np.float32] | None = None
    source: int = -1

    @property
    def length(self) -> int:
        """Tokens, special ones included."""
        return sum(len(window.ids) for window in self.windows)


def make_items(head: Head, encoder: Encoder, parts: TaskData, recipe: Recipe) -> list[Item]:
    """Every window of every training and auxiliary example with what it should answer; a text without tokens gives none."""
    if head.reading == "sentences" != recipe.reading:
        raise RecipeRefused(
            f'{head.task}: reading is "{recipe.reading}"; allowed is "sentences", which it learns from and is used with'
        )
    examples = (*parts.train, *(parts.auxiliary if recipe.auxiliary_epochs else ()))
    encoded = encoder.encode([head.text(example) for example in examples])
    items = [
        item
        for source, (example, text) in enumerate(zip(examples, encoded, strict=True))
        for item in items_of(head, encoder, example, text, recipe, source=source)
    ]
    if not any(item.source < len(parts.train) for item in items):
        raise RecipeRefused(f"{head.task}: none of the {len(parts.train)} training texts has a token")
    return items


def items_of(
    head: Head, encoder: Encoder, example: Example, text: Encoded, recipe: Recipe, *, source: int
) -> list[Item]:
    """The items of one example, whose text is `text`."""
    targets = head.targets(example, text)
    windows = cut(text, encoder, max_length=recipe.max_length, overlap=recipe.overlap, reading=head.reading)
    if head.level == "word":
        return [Item((window,), (_word_target(window, text, targets),), source=source) for window in windows]
    if head.level == "text":
        soft = head.soft_targets(example) if recipe.agreement_smoothing else None
        return [Item((window,), (targets,), soft, source) for window in windows]
    return [Item(tuple(windows), tuple(targets[sentence_of(text, windows), None]), source=source)] if windows else []


def _word_target(window: Window, text: Encoded, targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Words' targets (words,) or (words, k) at their first tokens, (len(window.ids),) or (len(window.ids), k)."""
    target = np.full((len(window.ids), *targets.shape[1:]), IGNORED, dtype=np.int64)
    held = (text.first >= window.start) & (text.first < window.stop)
    target[text.first[held] - window.start + window.offset] = targets[held]
    return target


def head_options(data: Mapping[str, TaskData], recipe: Recipe) -> HeadOptions:
    """How the heads are built: by the recipe, with the label sets that the training examples give where a task's are not fixed."""
    found = {
        task: tuple(sorted({label for example in parts.train for label in example.labels()}))
        for task, parts in data.items()
        if not head_class(task).labels
    }
    if empty := sorted(task for task, labels in found.items() if not labels):
        raise RecipeRefused(f"no training example of {', '.join(empty)} has a label; allowed: one label at least")
    return HeadOptions(
        pooling=recipe.pooling,
        dropout=recipe.dropout,
        crf=recipe.crf,
        label_features=recipe.label_features,
        labels=found,
    )


def padded_targets(items: Sequence[Item], *, width: int) -> NDArray[np.int64]:
    """Targets (windows, width) or (windows, width, k) of a batch, IGNORED where there is none."""
    rows = [target for item in items for target in item.targets]
    padded = np.full((len(rows), width, *rows[0].shape[1:]), IGNORED, dtype=np.int64)
    for row, target in enumerate(rows):
        padded[row, : len(target)] = target
    return padded


def soft_targets(items: Sequence[Item], *, labels: int) -> NDArray[np.float32] | None:
    """Probabilities (items, labels) to learn, one-hot for items that have only a label, 0 without one; None where no item has any."""
    if all(item.soft is None for item in items):
        return None
    return np.stack([_hard(item, labels) if item.soft is None else item.soft for item in items])


def _hard(item: Item, labels: int) -> NDArray[np.float32]:
    """A label as probabilities (labels,), all 0 where it is IGNORED."""
    row = np.zeros(labels, dtype=np.float32)
    row[np.flatnonzero(np.arange(labels) == item.targets[0][0])] = 1.0
    return row

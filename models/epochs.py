"""What each epoch learns from: which items, changed how, in which steps. Equal on every rank, and the same whenever it is asked.

An epoch takes all training items, but of the sentences without entities a share drawn anew (`negative_share`: most words of a news text
name nothing, and a set where most sentences name nothing teaches that), and in the first epochs the auxiliary examples too. Augmented
examples stand in for their originals; only those that were changed are encoded again, and one is changed only if it fits one window before
and after. Steps are planned by the lengths before augmentation, so their number is known before the training starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from models.augment import Material, augmented
from models.encoder import Encoder
from models.heads import Example
from models.items import Item, items_of
from models.network import Network
from models.recipe import Recipe, RecipeRefused, TaskData
from models.schedule import Step, epoch_steps

_NEGATIVES, _AUGMENTED = 1, 2  # what a random draw of an epoch is for, besides the order


class Epochs:
    """The epochs of one training; `items` of a task are those of its training examples, of its auxiliary ones, then any without an example."""

    def __init__(
        self,
        *,
        items: Mapping[str, list[Item]],
        data: Mapping[str, TaskData],
        network: Network,
        encoder: Encoder,
        recipe: Recipe,
    ) -> None:
        self._items = items
        self._data = data
        self._heads = {task: network.head(task) for task in data}
        self._encoder = encoder
        self._recipe = recipe
        self._lengths = {task: [item.length for item in some] for task, some in items.items()}
        self.examples: dict[str, Sequence[Example]] = {
            task: (*parts.train, *(parts.auxiliary if recipe.auxiliary_epochs else ())) for task, parts in data.items()
        }
        self._unnamed = {task: [without_entities(one) for one in some] for task, some in self.examples.items()}
        self._material = {
            task: Material.of(parts.train) if recipe.augment else Material() for task, parts in data.items()
        }

    @cached_property
    def total(self) -> int:
        """The steps of all epochs of the recipe together."""
        return sum(len(self.steps(epoch)) for epoch in range(self._recipe.epochs))

    def steps(self, epoch: int) -> list[Step]:
        """The steps of an epoch, counted from 0."""
        recipe = self._recipe
        return epoch_steps(
            self._lengths,
            batch_size=recipe.batch_size,
            batch_tokens=recipe.batch_tokens,
            seed=recipe.seed,
            epoch=epoch,
            taken={task: self._taken(task, epoch) for task in self._items},
        )

    def _taken(self, task: str, epoch: int) -> list[int]:
        last = len(self._data[task].train) if epoch >= self._recipe.auxiliary_epochs else len(self.examples[task])
        dropped: set[int] = set()
        if self._recipe.negative_share < 1:
            draws = self._chance(task, epoch, _NEGATIVES).random(len(self.examples[task]))
            dropped = {
                source
                for source, draw in enumerate(draws.tolist())
                if self._unnamed[task][source] and draw >= self._recipe.negative_share
            }
        taken = [
            index for index, item in enumerate(self._items[task]) if item.source < last and item.source not in dropped
        ]
        if not taken:
            raise RecipeRefused(
                f"{task}: negative_share {self._recipe.negative_share} leaves nothing for epoch {epoch + 1}"
            )
        return taken

    def items(self, epoch: int) -> dict[str, list[Item]]:
        """Each task's items as this epoch sees them, at the same places as ever."""
        if not self._recipe.augment:
            return {task: list(some) for task, some in self._items.items()}
        return {task: self._augmented(task, epoch) for task in self._items}

    def _augmented(self, task: str, epoch: int) -> list[Item]:
        changed: dict[int, Example] = {}
        for source, example in enumerate(self.examples[task]):
            found = augmented(
                example,
                ways=self._recipe.augment,
                material=self._material[task],
                chance=self._chance(task, epoch, _AUGMENTED, source),
            )
            if found is not example:
                changed[source] = found
        head, places = self._heads[task], self._places(task)
        some = list(self._items[task])
        texts = self._encoder.encode([head.text(example) for example in changed.values()])
        for (source, example), text in zip(changed.items(), texts, strict=True):
            new = items_of(head, self._encoder, example, text, self._recipe, source=source)
            if len(new) == len(places.get(source, ())) == 1:
                some[places[source][0]] = new[0]
        return some

    def _places(self, task: str) -> dict[int, list[int]]:
        """Where the items of each example stand."""
        places: dict[int, list[int]] = {}
        for index, item in enumerate(self._items[task]):
            places.setdefault(item.source, []).append(index)
        return places

    def _chance(self, task: str, epoch: int, use: int, *more: int) -> np.random.Generator:
        return np.random.default_rng([self._recipe.seed, epoch, sorted(self._items).index(task), use, *more])


def without_entities(example: Example) -> bool:
    """True for an example that could mark entities and marks none."""
    if hasattr(example, "tags"):
        return set(example.tags) <= {"O"}
    return hasattr(example, "entities") and not example.entities

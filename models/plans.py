"""What is trained when nobody says how: a recipe for the tasks, and from how many seeds.

"default" is one quick training. "best" is the recipe that measured best for the one task asked for, on the default trunk: see docs/log.md for
every lever's figure and for what gave nothing; those of topics and summaries were chosen on the shipped sample alone. With several seeds
the trainings start from the same weights and differ in the order of examples and in dropout; their weights are averaged into one model of
the same size (Wortsman et al. 2022, "Model soups").
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.recipe import Recipe, RecipeRefused, recipe_for

_MOST = 8  # times the recipe's epochs


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A recipe, followed with `seeds` seeds: the recipe's own, the next, and so on.

    A small set is read more often than the recipe's `epochs`, up to eight times as often, until there are `min_steps` steps of `batch_size`.
    """

    recipe: Recipe
    seeds: int = 1
    min_steps: int = 0

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.min_steps < 0:
            raise RecipeRefused(
                f"{self.seeds} seeds, {self.min_steps} steps; allowed is 1 seed at least, no less than 0 steps"
            )

    def over(self, examples: int) -> Plan:
        """The plan for so many training examples, auxiliary ones aside: with the epochs that they take."""
        recipe = self.recipe
        wanted = math.ceil(self.min_steps / math.ceil(max(examples, 1) / recipe.batch_size))
        epochs = max(recipe.epochs, min(wanted, _MOST * recipe.epochs))
        patience = math.ceil(recipe.patience * epochs / recipe.epochs)  # as many steps as before
        recipe = dataclasses.replace(recipe, epochs=epochs, patience=patience)
        return dataclasses.replace(self, recipe=recipe, min_steps=0)

    def recipes(self) -> list[Recipe]:
        """The recipe of each seed."""
        first = self.recipe.seed
        return [dataclasses.replace(self.recipe, seed=first + number) for number in range(self.seeds)]


BEST: Mapping[str, Plan] = {
    "sentiment": Plan(
        recipe=Recipe(learning_rate=1e-4, epochs=4, agreement_smoothing=True, averaging="epochs"), min_steps=400
    ),
    "topics": Plan(recipe=Recipe(learning_rate=3e-4, epochs=12, batch_size=16, patience=0, head_rate_factor=20.0)),
    "ner": Plan(
        recipe=Recipe(
            learning_rate=3e-4,
            epochs=5,
            auxiliary_epochs=2,
            word_shapes=True,
            crf=True,
            averaging="epochs",
            augment={"entity": 0.3},
        ),
        min_steps=500,
    ),
    "entity_sentiment": Plan(
        recipe=Recipe(
            learning_rate=2e-4,
            epochs=5,
            auxiliary_epochs=1,
            patience=0,
            word_shapes=True,
            crf=True,
            averaging="epochs",
        ),
        min_steps=440,
    ),
    "summary": Plan(recipe=Recipe(learning_rate=1e-4, epochs=5, batch_tokens=4096)),
}


def plan_for(tasks: Sequence[str], name: str = "default", *, seeds: int | None = None, **changes: Any) -> Plan:
    """The plan called `name` ("default" or "best") for these tasks, with changes to its recipe by field name.

    Raises:
        RecipeRefused: there is no such plan, or "best" is asked for several tasks at once: it was measured for one a trunk.
    """
    if name == "default":
        return Plan(recipe=recipe_for(tasks, **changes), seeds=seeds or 1)
    if name != "best":
        raise RecipeRefused(f"no recipe is called {name!r}; allowed are default, best")
    if len(tasks) != 1:
        raise RecipeRefused(
            f"recipe 'best' for {', '.join(tasks)}: allowed is one task, since one trunk a task measured best"
        )
    plan = BEST[tasks[0]]
    return dataclasses.replace(
        plan,
        recipe=dataclasses.replace(plan.recipe, **changes),
        seeds=seeds or plan.seeds,
        min_steps=0 if "epochs" in changes else plan.min_steps,
    )

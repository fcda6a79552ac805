"""What a search may change in a recipe, and within what bounds.

A space names fields of models.recipe.Recipe, each with a range (of a number, on a linear or a logarithmic scale) or with choices. A field that holds
values by name is searched one name at a time: "augment.swap", "loss_weights.ner". Everything is checked before anything runs, and a refusal
names the parameter. Not covered: parameters that hang together, such as a rank that matters for one kind of tuning only.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, get_origin, get_type_hints

from data_contracts.errors import Fatal

if TYPE_CHECKING:
    from models.recipe import Recipe

Value: TypeAlias = float | int | bool | str
# Fields that no search may choose, and why.
NOT_SEARCHED = {
    "epochs": "a search hands out epochs itself, up to max_epochs",
    "patience": "a search stops bad trials itself",
    "seed": "the seed that does best on dev does so by luck",
    "checkpoint_steps": "it changes nothing in the model",
    "auxiliary_epochs": "it hangs on the epochs that a trial is given",
}


class SpaceRefused(Fatal):
    """A search's space is not one that can be searched: the text names the parameter."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones where the field is; with `log` each doubling is as likely as the next."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Values, each as likely as the others."""

    values: tuple[Value, ...]


Space: TypeAlias = Mapping[str, Range | Choices]

DEFAULT_SPACE: Space = {
    "learning_rate": Range(low=3e-5, high=5e-4, log=True),
    "batch_size": Choices(values=(16, 32, 64)),
    "layer_decay": Range(low=0.8, high=1.0),
    "head_rate_factor": Range(low=1.0, high=10.0, log=True),
    "warmup_share": Range(low=0.0, high=0.3),
    "dropout": Range(low=0.0, high=0.3),
    "label_smoothing": Range(low=0.0, high=0.1),
}


def check(space: Space, recipe: Recipe) -> None:
    """Refuse a space that names unknown fields or allows values that `recipe` cannot take.

    Raises:
        SpaceRefused: with the parameter, what was given and what is allowed.
    """
    if not space:
        raise SpaceRefused("the space is empty; name at least one parameter")
    for name, one in space.items():
        kind = kind_of(name)
        if isinstance(one, Range):
            _check_range(name, one, kind)
            values: Sequence[Value] = (one.low, one.high)
        else:
            _check_choices(name, one, kind)
            values = one.values
        for value in values:
            _try(name, value, recipe)


def kind_of(name: str) -> type:
    """float, int, bool or str: what the values of a parameter are; SpaceRefused where there is none of that name."""
    from models.recipe import Recipe

    hints = get_type_hints(Recipe)
    searched = sorted(set(hints) - set(NOT_SEARCHED) - {field for field in hints if get_origin(hints[field]) is tuple})
    field, _, key = name.partition(".")
    if field in NOT_SEARCHED:
        raise SpaceRefused(f"the parameter {name!r} is not searched: {NOT_SEARCHED[field]}")
    if field not in searched:
        raise SpaceRefused(f"no parameter {name!r} to search; allowed are {', '.join(searched)}")
    hint = hints[field]
    if isinstance(hint, type) and not key:
        return hint
    origin = get_origin(hint)
    by_name = origin is not None and isinstance(origin, type) and issubclass(origin, Mapping)
    if by_name != bool(key):
        allowed = f"one name of it, such as {field}.NAME" if by_name else f"{field!r}, which holds one value"
        raise SpaceRefused(f"the parameter {name!r}: allowed is {allowed}")
    return float if by_name else str


def applied(recipe: Recipe, values: Mapping[str, Value]) -> Recipe:
    """The recipe with a trial's values."""
    for name, value in values.items():
        field, _, key = name.partition(".")
        whole = {**getattr(recipe, field), key: value} if key else value
        changes: dict[str, Any] = {field: whole}
        recipe = dataclasses.replace(recipe, **changes)
    return recipe


def _check_range(name: str, given: Range, kind: type) -> None:
    if kind not in (int, float):
        raise SpaceRefused(f"the parameter {name!r} is no number; allowed: choices")
    bounds = (given.low, given.high)
    if not all(math.isfinite(bound) for bound in bounds) or given.low >= given.high:
        raise SpaceRefused(f"the parameter {name!r} goes from {given.low} to {given.high}; allowed: low below high")
    if given.log and given.low <= 0:
        raise SpaceRefused(f"the parameter {name!r} starts at {given.low}; allowed on a logarithmic scale: above 0")
    if kind is int and any(bound != int(bound) for bound in bounds):
        raise SpaceRefused(f"the parameter {name!r} goes from {given.low} to {given.high}; allowed: whole numbers")


def _check_choices(name: str, given: Choices, kind: type) -> None:
    if not given.values or len(set(given.values)) != len(given.values):
        raise SpaceRefused(
            f"the parameter {name!r} has the choices {list(given.values)}; allowed: one or more, each once"
        )
    fitting = (int, float) if kind is float else (kind,)
    for value in given.values:
        if not isinstance(value, fitting) or (isinstance(value, bool) and kind is not bool):
            raise SpaceRefused(f"the parameter {name!r} has the choice {value!r}; allowed: {kind.__name__}")


def _try(name: str, value: Value, recipe: Recipe) -> None:
    from models.recipe import RecipeRefused

    whole = int(value) if kind_of(name) is int and not isinstance(value, str) else value
    try:
        applied(recipe, {name: whole})
    except RecipeRefused as error:
        raise SpaceRefused(f"the parameter {name!r} may not be {value!r}: {error}") from error

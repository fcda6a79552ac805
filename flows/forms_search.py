"""The nested parameters of the search flow, as the Prefect form shows them; apart from the flow for the reason that flows.forms gives."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from flows.forms import RecipeForm
from tasks.space import DEFAULT_SPACE, NOT_SEARCHED, Choices, Range, Space, SpaceRefused
from tasks.trials import SearchPlan


class RangeForm(BaseModel):
    """Numbers that one parameter of the recipe may be."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="Range")
    low: float = Field(title="Lowest", description="of the range")
    high: float = Field(title="Highest", description="of the range, included")
    log: bool = Field(False, title="Logarithmic", description="each doubling as likely as the next; above 0 only")

    def parameter(self) -> Range:
        """The same for tasks.space."""
        return Range(low=self.low, high=self.high, log=self.log)


class ChoicesForm(BaseModel):
    """Values that one parameter of the recipe may be."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="Choices")
    choices: list[bool | int | float | str] = Field(title="Choices", description="each as likely", min_length=1)

    def parameter(self) -> Choices:
        """The same for tasks.space."""
        return Choices(values=tuple(self.choices))


class SearchForm(BaseModel):
    """How far a search goes."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="Search")
    trials: int = Field(16, title="Trials", description="recipes tried", ge=1)
    max_epochs: int = Field(6, title="Epochs", description="that a trial gets at most", ge=1)
    grace_epochs: int = Field(1, title="Grace", description="epochs before a trial may be stopped", ge=1)
    reduction: float = Field(
        3.0, title="Reduction", description="one in so many goes on at each rung, which is so many times as far", gt=1
    )
    concurrent: int = Field(2, title="At once", description="trials at a time, a CPU each", ge=1)
    seed: int = Field(0, title="Seed", description="of the parameters drawn", ge=0)

    def plan(self) -> SearchPlan:
        """The same for tasks.trials."""
        values: dict[str, Any] = self.model_dump()
        return SearchPlan(**values)


def searched() -> list[str]:
    """The fields of a recipe that may be searched; of one that holds values by name, each name of it."""
    names: list[str] = []
    for field, schema in RecipeForm.model_json_schema()["properties"].items():
        kind = schema["anyOf"][0]
        inner = kind.get("propertyNames", {}).get("enum")
        if field not in NOT_SEARCHED and kind.get("type") != "array":
            names += [f"{field}.{name}" for name in inner] if inner else [field]
    return names


ParameterForm: TypeAlias = RangeForm | ChoicesForm
SpaceForm: TypeAlias = Annotated[
    dict[str, ParameterForm], Field(json_schema_extra={"propertyNames": {"enum": list[Any](searched())}})
]


def space_of(given: dict[str, ParameterForm]) -> Space:
    """The space that forms say; where there are none, the default one."""
    return {name: one.parameter() for name, one in given.items()} or DEFAULT_SPACE


def written_space(lines: list[str]) -> dict[str, ParameterForm]:
    """A space as it is written at the command line: "learning_rate=1e-5:1e-3:log", "batch_size=16,32", "crf=true,false".

    Raises:
        SpaceRefused: a line is not of that form.
    """
    space: dict[str, ParameterForm] = {}
    for line in lines:
        name, _, given = line.partition("=")
        if not name or not given or name in space:
            raise SpaceRefused(
                f"{line!r} is no parameter; allowed, each once: NAME=LOW:HIGH, NAME=LOW:HIGH:log, NAME=A,B"
            )
        low, colon, rest = given.partition(":")
        high, _, scale = rest.partition(":")
        if not colon:
            space[name] = ChoicesForm(choices=[_value(one) for one in given.split(",")])
            continue
        try:
            space[name] = RangeForm(low=float(low), high=float(high), log=bool(scale))
        except ValueError as error:
            raise SpaceRefused(f"{line!r}: a range is written LOW:HIGH or LOW:HIGH:log, in numbers") from error
        if scale not in ("", "log"):
            raise SpaceRefused(f"{line!r}: the scale is {scale!r}; allowed: log, or none")
    return space


def _value(text: str) -> bool | int | float | str:
    """true and false, whole numbers, numbers, and else the text itself."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text

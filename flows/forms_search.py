"""The nested parameters of the search flow, as the Prefect form shows them; apart from the flow for the reason that flows.forms gives."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.space import DEFAULT_SPACE, Choices, Range, Space, SpaceRefused
from tasks.trials import SearchPlan


class ParameterForm(BaseModel):
    """What one parameter of the recipe may be: a range of numbers, or choices."""

    model_config = ConfigDict(extra="forbid", frozen=True, title="Parameter")
    low: float | None = Field(None, title="Lowest", description="of a range")
    high: float | None = Field(None, title="Highest", description="of a range, included")
    log: bool = Field(False, title="Logarithmic", description="each doubling as likely as the next; above 0 only")
    choices: list[bool | int | float | str] | None = Field(None, title="Choices", description="instead of a range")

    @model_validator(mode="after")
    def _one_kind(self) -> ParameterForm:
        ranged = self.low is not None and self.high is not None
        whole = ranged if self.choices is None else self.low is None and self.high is None and not self.log
        if not whole:
            raise ValueError("allowed is a range, with low and high, or choices; not both")
        return self

    def parameter(self) -> Range | Choices:
        """The same for tasks.space."""
        if self.choices is not None:
            return Choices(values=tuple(self.choices))
        assert self.low is not None
        assert self.high is not None
        return Range(low=self.low, high=self.high, log=self.log)


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
            space[name] = ParameterForm(choices=[_value(one) for one in given.split(",")])
            continue
        try:
            space[name] = ParameterForm(low=float(low), high=float(high), log=bool(scale))
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

"""What the commands that make models smaller have in common: words typed by a person, as the forms of the flows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import typer
from pydantic import BaseModel, ValidationError

from flows.finetune import sample_files
from flows.forms import LabelledForm, RecipeForm
from flows.tuning import settings_of

Form = TypeVar("Form", bound=BaseModel)


def labelled_form(task: str, train: Sequence[Path] | None, dev: Path | None) -> LabelledForm:
    """The files given, or the shipped sample's where none are."""
    if bool(train) != bool(dev):
        raise typer.BadParameter("--train and --dev go together", param_hint="--train")
    if train and dev:
        return LabelledForm(train=[str(path) for path in train], dev=[str(dev)])
    sample = sample_files(task)
    return LabelledForm(train=list(sample.train), dev=list(sample.dev))


def recipe_form(changes: Sequence[str] | None) -> RecipeForm:
    """NAME=VALUE words as changes to a recipe."""
    return checked(RecipeForm, settings_of(changes or []), hint="--set")


def checked(form: type[Form], given: Mapping[str, object], *, hint: str | None = None) -> Form:
    """A form of what was given; what it refuses is said as the command line says it."""
    try:
        return form.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise typer.BadParameter(f"{where}: {first['msg']}", param_hint=hint or f"--{where}") from error

"""A space is checked before anything runs, and a refusal names the parameter."""

import math
from collections.abc import Mapping

import pytest
from pydantic import TypeAdapter, ValidationError

from flows.forms_search import ParameterForm, SearchForm, searched, space_of, written_space
from models.augment import WAYS
from models.recipe import Recipe, recipe_for
from tasks.space import DEFAULT_SPACE, Choices, Range, Space, SpaceRefused, applied, check, kind_of
from tasks.trials import SearchPlan

FORM: TypeAdapter[ParameterForm] = TypeAdapter(ParameterForm)


def test_the_default_space_fits_the_recipes_of_every_task() -> None:
    for tasks in (("sentiment",), ("ner",), ("ner", "sentiment")):
        check(DEFAULT_SPACE, recipe_for(tasks))


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({}, "the space is empty"),
        ({"lerning_rate": Range(low=1, high=2)}, "no parameter 'lerning_rate' to search; allowed are .*learning_rate"),
        ({"epochs": Range(low=1, high=9)}, "'epochs' is not searched: a search hands out epochs itself"),
        ({"seed": Choices(values=(0, 1))}, "'seed' is not searched: the seed that does best on dev does so by luck"),
        ({"label_features": Choices(values=("case",))}, "no parameter 'label_features'"),
        (
            {"learning_rate": Range(low=1e-3, high=1e-4)},
            "'learning_rate' goes from 0.001 to 0.0001; allowed: low below",
        ),
        ({"learning_rate": Range(low=0, high=1e-4, log=True)}, "'learning_rate' starts at 0; allowed on a logarithmic"),
        ({"learning_rate": Range(low=0, high=1e-4)}, "'learning_rate' may not be 0"),
        ({"learning_rate": Range(low=1e-5, high=math.inf)}, "'learning_rate' goes from"),
        ({"dropout": Range(low=0.1, high=1.5)}, "'dropout' may not be 1.5"),
        ({"batch_size": Range(low=8.5, high=32)}, "'batch_size' goes from 8.5 to 32; allowed: whole numbers"),
        ({"batch_size": Choices(values=(16, 16))}, "'batch_size' has the choices .*each once"),
        ({"batch_size": Choices(values=())}, "'batch_size' has the choices"),
        ({"batch_size": Choices(values=("big",))}, "'batch_size' has the choice 'big'; allowed: int"),
        ({"batch_size": Choices(values=(True,))}, "'batch_size' has the choice True"),
        ({"crf": Range(low=0, high=1)}, "'crf' is no number; allowed: choices"),
        ({"pooling": Choices(values=("mean", "max"))}, "'pooling' may not be 'max'"),
        ({"augment": Choices(values=(0.1, 0.2))}, "'augment': allowed is one name of it, such as augment.NAME"),
        ({"dropout.deep": Range(low=0, high=0.5)}, "'dropout.deep': allowed is 'dropout', which holds one value"),
    ],
)
def test_what_cannot_be_searched_is_refused_by_name(space: Space, said: str) -> None:
    with pytest.raises(SpaceRefused, match=said):
        check(space, Recipe())


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("dropout", float),
        ("batch_size", int),
        ("crf", bool),
        ("pooling", str),
        ("reading", str),
        ("loss_weights.ner", float),
    ],
)
def test_a_parameter_is_of_the_kind_of_its_field(name: str, kind: type) -> None:
    assert kind_of(name) is kind


def test_a_form_offers_every_parameter_that_may_be_searched_and_no_other() -> None:
    for name in searched():
        kind_of(name)
    fields = {name.partition(".")[0] for name in searched()}
    with pytest.raises(SpaceRefused) as refused:
        kind_of("nothing")
    assert fields == set(str(refused.value).partition("allowed are ")[2].split(", "))
    assert {name for name in searched() if name.startswith("augment.")} == {f"augment.{way}" for way in WAYS}


def test_a_trials_values_are_put_into_the_recipe_one_name_of_a_field_at_a_time() -> None:
    recipe = applied(
        Recipe(loss_weights={"ner": 2.0}), {"dropout": 0.2, "loss_weights.sentiment": 0.5, "loss_weights.topics": 3.0}
    )
    assert recipe == Recipe(dropout=0.2, loss_weights={"ner": 2.0, "sentiment": 0.5, "topics": 3.0})


def test_a_form_says_a_range_or_choices() -> None:
    given = {"learning_rate": {"low": 1e-5, "high": 1e-3, "log": True}, "crf": {"choices": [True, False]}}
    forms = {name: FORM.validate_python(one) for name, one in given.items()}
    space = space_of(forms)
    assert space == {"learning_rate": Range(low=1e-5, high=1e-3, log=True), "crf": Choices(values=(True, False))}
    check(space, Recipe())
    assert space_of({}) is DEFAULT_SPACE
    assert SearchForm().plan() == SearchPlan()


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"low": 1},
        {"low": 1, "high": 2, "choices": [1]},
        {"choices": [1], "log": True},
        {"lo": 1, "high": 2},
        {"choices": []},
    ],
)
def test_a_form_that_says_neither_or_both_is_refused(given: Mapping[str, object]) -> None:
    with pytest.raises(ValidationError):
        FORM.validate_python(given)


def test_a_space_is_written_at_the_command_line() -> None:
    lines = ["learning_rate=1e-5:1e-3:log", "dropout=0:0.3", "batch_size=16,32", "crf=true,false", "pooling=mean,cls"]
    assert space_of(written_space(lines)) == {
        "learning_rate": Range(low=1e-5, high=1e-3, log=True),
        "dropout": Range(low=0, high=0.3),
        "batch_size": Choices(values=(16, 32)),
        "crf": Choices(values=(True, False)),
        "pooling": Choices(values=("mean", "cls")),
    }


@pytest.mark.parametrize("line", ["dropout", "=1:2", "dropout=a:b", "dropout=0:0.1:cubic", "dropout=0:"])
def test_a_line_that_is_no_parameter_is_refused(line: str) -> None:
    with pytest.raises(SpaceRefused, match=line):
        written_space([line])


@pytest.mark.parametrize("changes", [{"trials": 0}, {"grace_epochs": 7}, {"reduction": 1.0}, {"concurrent": 0}])
def test_a_search_that_goes_nowhere_is_refused(changes: Mapping[str, float]) -> None:
    with pytest.raises(Exception, match=next(iter(changes))):
        SearchPlan(**changes)  # type: ignore[arg-type]

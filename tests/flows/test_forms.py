"""What the Prefect UI draws of every deployed flow, and what the server refuses by it: the schema is held as the server holds it."""

import calendar
import itertools
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.schema_tools.validation import ValidationError, validate

from flows.forms import ISO_DATE, schema_of

FILE = Path(__file__).parents[2] / "deployments" / "prefect.yaml"
DEPLOYMENTS = {one["name"]: one for one in yaml.safe_load(FILE.read_text(encoding="utf-8"))["deployments"]}
PROMOTE = {"task": "ner", "version": 2, "reason": "better on our texts"}
RANGE = {"first": "2026-03-02", "last": "2026-03-03"}
FILES = {"train": ["train.jsonl"], "dev": ["dev.jsonl"]}


@cache
def form_of(name: str) -> dict[str, Any]:
    flow: Flow[..., Any] = load_flow_from_entrypoint(DEPLOYMENTS[name]["entrypoint"])
    return schema_of(flow)


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_every_parameter_is_typed_titled_and_described(name: str) -> None:
    schema = form_of(name)
    for parameter, field in schema["properties"].items():
        model = schema.get("definitions", {}).get(field.get("$ref", "").rpartition("/")[2], {})
        assert {"type", "anyOf", "enum", "$ref", "allOf"} & set(field), f"{parameter} has no type"
        assert field.get("description"), f"{parameter} has no description"
        assert field.get("title", model.get("title", parameter)) != parameter, f"{parameter} has no title"
    for model in schema.get("definitions", {}).values():
        assert model["additionalProperties"] is False, f"{model['title']} takes unknown names"
        for parameter, field in model["properties"].items():
            assert field.get("title"), f"{model['title']}.{parameter} has no title"
            assert field.get("description"), f"{model['title']}.{parameter} has no description"


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_the_defaults_of_a_form_are_allowed_by_it(name: str) -> None:
    schema = form_of(name)
    defaults = {name: field["default"] for name, field in schema["properties"].items() if "default" in field}
    validate(defaults, schema, raise_on_error=True, ignore_required=True)


def test_a_date_s_pattern_takes_the_days_that_there_are_and_no_others() -> None:
    """Every day of eleven centuries, every number that looks like one, and the years on both sides."""
    pattern, wrong = re.compile(ISO_DATE), []
    for year, month in itertools.product(range(1900, 3000), range(14)):
        days = calendar.monthrange(year, month)[1] if 1 <= month <= 12 else 0
        for day in range(33):
            given = f"{year}-{month:02}-{day:02}"
            if bool(pattern.search(given)) != (1 <= day <= days):
                wrong.append(given)
    assert wrong == []
    assert not any(pattern.search(f"{year}-{rest}") for year in (0, 1899, 3000, 20260) for rest in ("02-28", "02-29"))


def test_a_date_s_pattern_is_one_that_a_browser_knows_too() -> None:
    assert "(?" not in ISO_DATE, "nothing that only one dialect has"
    assert "\\" not in ISO_DATE, "no class that takes other digits than 0 to 9"


def test_choices_and_dates_are_drawn_as_such() -> None:
    properties = form_of("backfill")["properties"]
    assert properties["first"]["format"] == "date"
    assert properties["by"]["enum"] == ["first_seen", "published"]
    assert properties["by"]["title"] == "An article's night"


@pytest.mark.parametrize(
    ("name", "given", "field"),
    [
        ("nightly", {"night": "tomorrow"}, "night"),
        ("nightly", {"night": "2026-13-01"}, "night"),
        ("nightly", {"night": "2026-03-02T00:00:00"}, "night"),
        ("nightly", {"night": 20260302}, "night"),
        ("nightly", {"night": "2026-02-30"}, "night"),
        ("nightly", {"night": "2026-02-29"}, "night"),
        ("nightly", {"night": "2100-02-29"}, "night"),
        ("nightly", {"night": "2026-11-31"}, "night"),
        ("nightly", {"night": "0000-01-01"}, "night"),
        ("nightly", {"lake": "s3://key:secret@bucket/lake"}, "lake"),
        ("nightly", {"lake": "s3://key:sec/ret@bucket/lake"}, "lake"),
        ("nightly", {"lake": "sftp://desk:secret@store.example/lake"}, "lake"),
        ("backfill", {**RANGE, "lake": "s3://key:secret@bucket/lake"}, "lake"),
        ("nightly", {"nigth": "2026-03-02"}, "nigth"),
        ("nightly", {"by": "weekday"}, "by"),
        ("nightly", {"rescore": "perhaps"}, "rescore"),
        ("backfill", {**RANGE, "last": "03/03/2026"}, "last"),
        ("backfill", {"first": "2026-03-02"}, "last"),
        ("finetune", {"task": "mood"}, "task"),
        ("finetune", {"workers": -1}, "workers"),
        ("finetune", {"seeds": 0}, "seeds"),
        ("finetune", {"plan": "quick"}, "plan"),
        ("finetune", {"sentiment": {**FILES, "train": []}}, "sentiment"),
        ("finetune", {"recipe": {"learning_rate": 0}}, "recipe.learning_rate"),
        ("finetune", {"recipe": {"dropout": 1}}, "recipe.dropout"),
        ("finetune", {"recipe": {"learnin_rate": 0.1}}, "recipe"),
        ("adapt", {"objectives": []}, "objectives"),
        ("adapt", {"objectives": ["rhyme"]}, "objectives"),
        ("adapt", {"texts": {"first": "yesterday"}}, "texts.first"),
        ("adapt", {"texts": {"held_out_share": 1.5}}, "texts.held_out_share"),
        ("adapt", {"texts": {"lake": "s3://key:secret@bucket/lake"}}, "texts.lake"),
        ("search", {"extent": {"trials": 0}}, "extent.trials"),
        ("search", {"space": {"learning_rat": {"low": 1, "high": 2}}}, "space"),
        ("search", {"space": {"epochs": {"low": 1, "high": 2}}}, "space"),
        ("search", {"space": {"learning_rate": {}}}, "space.learning_rate"),
        ("search", {"space": {"dropout": {"low": 0, "choices": [0.1]}}}, "space.dropout"),
        ("distil", {"teaching": {"teachers": []}}, "teaching.teachers"),
        ("compress", {"compression": {"method": "zip"}}, "compression.method"),
        ("combine", {"models": ["champion"]}, "models"),
        ("combine", {"models": ["champion", "champion"]}, "models"),
        ("promote", {**PROMOTE, "version": 0}, "version"),
        ("promote", {**PROMOTE, "version": "two"}, "version"),
        ("promote", {**PROMOTE, "reason": ""}, "reason"),
        ("promote", {**PROMOTE, "reason": " "}, "reason"),
        ("rollback", {"task": "ner"}, "reason"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_server_refuses_a_wrong_value_and_names_the_field(name: str, given: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        validate(given, form_of(name), raise_on_error=True)
    assert f"'{field}" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("nightly", {}),
        ("nightly", {"night": "2026-03-02", "by": "published", "settings_file": None}),
        ("nightly", {"night": "2028-02-29", "lake": "s3://bucket/a@b"}),
        ("nightly", {"night": "2000-02-29"}),
        ("nightly", {"night": "2026-12-31", "lake": "/data/a@b"}),
        ("nightly", {"lake": "file:///data/lake"}),
        ("nightly", {"lake": "abfss://container@account.dfs.core.windows.net/desk"}),
        ("nightly", {"lake": "sftp://desk@store.example/lake"}),
        ("nightly", {"lake": "s3://bucket/lake?endpoint_override=127.0.0.1:9000"}),
        ("backfill", {**RANGE, "redo": True}),
        ("finetune", {"task": "ner", "ner": FILES, "recipe": {"epochs": 2, "crf": True}, "seeds": None}),
        ("adapt", {"objectives": ["whole_word", "sentence_order"], "texts": {"first": "2026-03-02"}}),
        ("search", {"space": {"dropout": {"low": 0.0, "high": 0.2}, "crf": {"choices": [True, False]}}}),
        (
            "search",
            {"space": {"augment.swap": {"choices": [0.0, 0.1]}, "batch_size": {"low": 8, "high": 64, "log": True}}},
        ),
        ("combine", {"models": ["sentiment/1", "sentiment/2"], "how": "soup"}),
        ("promote", PROMOTE),
    ],
)
def test_the_server_takes_what_is_allowed(name: str, given: dict[str, Any]) -> None:
    validate(given, form_of(name), raise_on_error=True)

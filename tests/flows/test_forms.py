"""What the Prefect UI draws: every parameter of every deployed flow is typed and described."""

from pathlib import Path

import pytest
import yaml
from prefect import Flow
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema

FILE = Path(__file__).parents[2] / "deployments" / "prefect.yaml"
DEPLOYMENTS = yaml.safe_load(FILE.read_text(encoding="utf-8"))["deployments"]


@pytest.fixture(params=DEPLOYMENTS, ids=lambda d: d["name"])
def flow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Flow:
    monkeypatch.chdir(FILE.parents[1])
    loaded: Flow = load_flow_from_entrypoint(request.param["entrypoint"])
    return loaded


def test_every_parameter_is_typed_and_described(flow: Flow) -> None:
    for name, field in parameter_schema(flow).properties.items():
        assert {"type", "anyOf", "enum", "$ref", "allOf"} & set(field), f"{flow.name}.{name} has no type"
        assert field.get("description"), f"{flow.name}.{name} has no description"


def test_choices_and_dates_are_drawn_as_such() -> None:
    from flows.backfill import backfill

    properties = parameter_schema(backfill).properties
    assert properties["first"]["format"] == "date"
    assert properties["by"]["enum"] == ["first_seen", "published"]

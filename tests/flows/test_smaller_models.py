"""The flows that make models smaller or of several: what they leave, in the registry and outside of it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import typer
from prefect.utilities.callables import parameter_schema
from typer.testing import CliRunner

from data_contracts.labelled import NerExample, SentimentExample
from flows.combine import combine
from flows.commands.combine import combine as combine_command
from flows.commands.compress import compress as compress_command
from flows.commands.distil import distil as distil_command
from flows.compress import compress
from flows.distil import distil
from flows.forms import LabelledForm, RecipeForm
from flows.forms_distil import CompressionForm, TeachingForm
from models.bundle import load
from tasks.registry import Registry
from tests.loopback import prefect_server
from tests.tasks.conftest import ner_examples, sentiment_examples, tiny_bundle, tiny_trunk

__all__ = ["ner_examples", "sentiment_examples", "tiny_bundle", "tiny_trunk"]  # fixtures

QUICK = ("epochs=2", "precision=float32", "max_length=80", "learning_rate=0.01")


@pytest.fixture
def files(tmp_path: Path, sentiment_examples: list[SentimentExample]) -> LabelledForm:
    unseen = [replace(one, text=f"{one.text} quarter") for one in sentiment_examples[:9]]

    def write(name: str, some: Sequence[SentimentExample | NerExample]) -> list[str]:
        lines = [json.dumps({key: value for key, value in asdict(one).items() if value is not None}) for one in some]
        (tmp_path / name).write_text("\n".join(lines))
        return [str(tmp_path / name)]

    return LabelledForm(train=write("t.jsonl", sentiment_examples), dev=write("d.jsonl", unseen))


@pytest.mark.parametrize("flow", [distil, compress, combine], ids=lambda flow: flow.name)
def test_every_parameter_is_described_and_closed_to_unknown_names(flow: object) -> None:
    schema = parameter_schema(flow).model_dump()
    assert all(one.get("description") for one in schema["properties"].values())
    forms = [one for name, one in schema["definitions"].items() if name.endswith("Form")]
    assert all(one["additionalProperties"] is False for one in forms)
    assert all(field["title"] and field["description"] for one in forms for field in one["properties"].values())


def _call(*arguments: object) -> str:
    app = typer.Typer()
    for command in (distil_command, compress_command, combine_command):
        app.command()(command)
    done = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output + str(done.exception)
    return str(done.stdout)


def test_the_commands_leave_bundles_in_directories(
    tmp_path: Path, tiny_trunk: Path, tiny_bundle: Path, files: LabelledForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTDESK_HOME", str(tmp_path / "home"))
    labelled = ("--task", "sentiment", "--train", *files.train, "--dev", *files.dev)
    quick = [word for change in QUICK for word in ("--set", change)]
    first, second, small, both = (tmp_path / name for name in ("first", "second", "small", "both"))
    for student, trunk in ((first, "layers:1"), (second, "bilstm")):
        _call(
            *("distil", "--teacher", tiny_bundle, "--student", f"{trunk}@{tiny_trunk}", *labelled),
            *("--output", student, "--workers", 0, *quick),
        )
    said = _call("compress", "--method", "int8", *labelled, "--model", tiny_bundle, "--output", small, "--json")
    assert json.loads(said.splitlines()[-1])["size_share"] < 0.9
    _call(
        *("combine", "--how", "ensemble", "--task", "sentiment", "--model", first, "--model", second),
        *("--dev", *files.dev, "--output", both),
    )
    assert load(second).manifest.teachers
    assert load(small).manifest.quantization == "int8"
    assert len(load(both).manifest.members) == 2


@pytest.mark.slow
def test_the_flows_register_candidates_with_what_they_weigh(
    tmp_path: Path, tiny_trunk: Path, tiny_bundle: Path, files: LabelledForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTDESK_HOME", str(tmp_path / "home"))
    recipe = RecipeForm(epochs=2, precision="float32", max_length=80, learning_rate=1e-2)
    with prefect_server():
        taught = distil(
            teaching=TeachingForm(teachers=[str(tiny_bundle)]),
            student=f"layers:1@{tiny_trunk}",
            files=files,
            recipe=recipe,
            workers=0,
        )
        small = compress(compression=CompressionForm(method="int8"), files=files)
        both = combine(models=["sentiment/1", "sentiment/2"], dev=files.dev)
    assert [(one.task, one.version) for done in (taught, small, both) for one in done] == [
        ("sentiment", 1),
        ("sentiment", 2),
        ("sentiment", 3),
    ]
    registry = Registry(f"sqlite:///{tmp_path / 'home' / 'mlflow.db'}", tmp_path / "home" / "bundles")
    assert load(registry.resolve("sentiment/2")).manifest.quantization == "int8"
    assert load(registry.resolve("sentiment/3")).manifest.members

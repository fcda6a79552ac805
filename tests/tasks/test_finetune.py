"""The fine-tuning flow as Prefect runs it, and training outside the registry."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from data_contracts.errors import Fatal
from data_contracts.labelled import NerExample, SentimentExample
from data_contracts.labels import TASKS
from flows.finetune import SAMPLE_LABELLED, copy_bundle, files_for, finetune, finetune_into, sample_files
from flows.forms import LabelledForm, RecipeForm
from models.bundle import load
from models.plans import plan_for
from models.recipe import Recipe
from tasks.cluster import ClusterConfig
from tasks.registry import Registry
from tests.loopback import prefect_server

RECIPE = RecipeForm(epochs=6, patience=0, precision="float32", learning_rate=1e-2, max_length=80)


@pytest.fixture
def forms(
    tmp_path: Path, sentiment_examples: list[SentimentExample], ner_examples: list[NerExample]
) -> Callable[[], dict[str, LabelledForm]]:
    unseen = [replace(one, text=f"{one.text} quarter") for one in sentiment_examples[:9]]
    unseen_ner = [replace(one, tokens=(*one.tokens, "quarter"), tags=(*one.tags, "O")) for one in ner_examples[:9]]

    def write() -> dict[str, LabelledForm]:
        found = {}
        for task, examples, dev in (("sentiment", sentiment_examples, unseen), ("ner", ner_examples, unseen_ner)):
            for part, some in (("train", examples), ("dev", dev)):
                lines = [json.dumps({k: v for k, v in asdict(one).items() if v is not None}) for one in some]
                (tmp_path / f"{task}.{part}.jsonl").write_text("\n".join(lines))
            found[task] = LabelledForm(
                train=[str(tmp_path / f"{task}.train.jsonl")], dev=[str(tmp_path / f"{task}.dev.jsonl")]
            )
        return found

    return write


@pytest.mark.slow
def test_the_flow_makes_a_champion_and_then_keeps_it(
    tmp_path: Path, tiny_trunk: Path, forms: Callable[[], dict[str, LabelledForm]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTDESK_HOME", str(tmp_path / "home"))
    registry = Registry(f"sqlite:///{tmp_path / 'home' / 'mlflow.db'}", tmp_path / "home" / "bundles")
    with prefect_server():
        first = finetune(**forms(), recipe=RECIPE, trunk=str(tiny_trunk), workers=0)
        champions = registry.serving()
        same = finetune(**forms(), recipe=RECIPE, trunk=str(tiny_trunk), workers=0)
        worse = RecipeForm(epochs=1, learning_rate=1e-9, precision="float32", max_length=80)
        other = finetune(**forms(), recipe=worse, trunk=str(tiny_trunk), workers=0)
    assert [(one.task, one.version, one.promoted) for one in first] == [("ner", 1, True), ("sentiment", 1, True)]
    assert {one.reason for one in same} == {"it is the champion already"}
    assert [(one.version, one.promoted) for one in other] == [(2, False), (2, False)]
    assert all("stays a candidate" in one.reason for one in other)
    assert registry.serving() == champions
    assert load(champions[0]).heads == ("ner", "sentiment")


def test_outside_the_registry_the_bundle_lies_in_the_directory_asked_for(
    tmp_path: Path, tiny_trunk: Path, forms: Callable[[], dict[str, LabelledForm]]
) -> None:
    files = files_for("sentiment", {"sentiment": forms()["sentiment"]})
    output = tmp_path / "out" / "model"
    for _ in range(2):
        figures = finetune_into(
            output,
            files,
            storage=tmp_path / "store",
            cluster=ClusterConfig(),
            plan=plan_for(("sentiment",), **RECIPE.changes()),
            trunk=str(tiny_trunk),
            workers=0,
        )
    assert load(output).digest == figures["sentiment"].model_digest
    assert load(output).heads == ("sentiment",)


def test_a_directory_with_something_else_in_it_is_never_replaced(tmp_path: Path, tiny_bundle: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(Fatal, match="holds no bundle"):
        copy_bundle(tiny_bundle, tmp_path)
    assert (tmp_path / "thesis.txt").is_file()


def test_all_trains_what_files_were_given_for_else_both_on_the_sample() -> None:
    form = LabelledForm(train=["a.jsonl"], dev=["b.jsonl"])
    assert set(files_for("all", {"sentiment": None, "ner": form})) == {"ner"}
    assert set(files_for("all", {})) == {"sentiment", "ner"}
    assert files_for("ner", {}) == {"ner": sample_files("ner")}
    with pytest.raises(Fatal, match="files for ner"):
        files_for("sentiment", {"ner": form})


def test_the_sample_is_there() -> None:
    assert {path.name for path in SAMPLE_LABELLED.glob("*.jsonl")} >= {
        f"{task}.{part}.jsonl" for task in ("sentiment", "ner") for part in ("train", "dev")
    }


def test_every_field_of_the_recipe_can_be_changed_in_the_form() -> None:
    assert set(RecipeForm.model_fields) == set(Recipe.__dataclass_fields__)


def test_the_form_describes_every_parameter_and_is_closed_to_unknown_names() -> None:
    from prefect.utilities.callables import parameter_schema

    schema = parameter_schema(finetune).model_dump()
    rest = {"task", "plan", "recipe", "seeds", "trunk", "workers", "settings_file"}
    assert set(schema["properties"]) == {*TASKS, *rest}
    assert all(one.get("description") for one in schema["properties"].values())
    assert {schema["definitions"][name]["additionalProperties"] for name in ("LabelledForm", "RecipeForm")} == {False}
    assert all(
        one["title"] and one["description"] for one in schema["definitions"]["RecipeForm"]["properties"].values()
    )

"""Versions, champions and names of models."""

import importlib
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_contracts.labelled import NerExample, SentimentExample
from models.bundle import load
from models.engine import Predictor
from models.throughput import Throughput
from models.training import Recipe, TaskData, fit
from tasks.cluster.progress import Epoch
from tasks.registry import QUIET, Registry
from tasks.switches import switched
from tasks.versions import NoSuchModel

RECIPE = Recipe(epochs=1, precision="float32", max_length=64, overlap=16, learning_rate=1e-2)


@pytest.fixture(scope="module")
def joint(
    tiny_trunk: Path,
    sentiment_examples: list[SentimentExample],
    ner_examples: list[NerExample],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Path]:
    """Two bundles with both heads, of two seeds."""
    data = {"sentiment": TaskData(sentiment_examples, sentiment_examples), "ner": TaskData(ner_examples, ner_examples)}
    folder = tmp_path_factory.mktemp("joint")
    return [
        fit(
            trunk=str(tiny_trunk),
            data=data,
            recipe=Recipe(epochs=1, precision="float32", max_length=64, overlap=16, seed=seed),
            output=folder / str(seed),
        )
        for seed in (0, 1)
    ]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    home = tmp_path_factory.mktemp("home")
    return Registry(f"sqlite:///{home / 'mlflow.db'}", home / "bundles")


@pytest.fixture(scope="module")
def registry(empty: Registry, joint: list[Path]) -> Registry:
    """Version 1 (joint, one run) champion of sentiment, version 2 champion of ner."""
    first, second = joint
    run = empty.log(["sentiment", "ner"], first, {"sentiment.macro_f1": 0.8}, {"epochs": 1, "long": "x" * 900})
    for task, figure in (("sentiment", "macro_f1"), ("ner", "micro_f1")):
        assert empty.register(task, first, {figure: 0.8}, {}, run_id=run) == 1
        assert empty.register(task, second, {figure: 0.7}, {"epochs": 1}) == 2
    empty.promote("sentiment", 1, reason="first of its task")
    empty.reject("sentiment", 2, reason="0.7 is not above 0.8")
    empty.promote("ner", 2)
    return empty


def test_a_run_keeps_how_fast_each_epoch_was_and_all_together(joint: list[Path], tmp_path: Path) -> None:
    epochs = [
        Epoch(metrics={"ner.loss": loss}, throughput=Throughput(tokens=tokens, flops=1.0, seconds=2.0, possible=4.0))
        for loss, tokens in ((0.5, 100), (0.25, 300))
    ]
    registry = Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "bundles")
    run = registry.log(["ner"], joint[0], {"ner.micro_f1": 0.8}, {"epochs": 2}, epochs=epochs)
    with registry.client() as client:
        told = {
            name: [(one.step, one.value) for one in client.get_metric_history(run, name)]
            for name in client.get_run(run).data.metrics
        }
    assert told == {
        "ner.micro_f1": [(0, 0.8)],
        "epoch.ner.loss": [(1, 0.5), (2, 0.25)],
        "epoch.tokens_per_second": [(1, 50.0), (2, 150.0)],
        "epoch.flops_utilisation": [(1, 0.25), (2, 0.25)],
        "training.tokens_per_second": [(0, 100.0)],
        "training.flops_utilisation": [(0, 0.25)],
    }


def test_an_empty_registry_has_no_champion_and_is_not_created_by_looking(tmp_path: Path) -> None:
    registry = Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "bundles")
    assert registry.champion("sentiment") is None
    assert registry.candidates("ner") == []
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NoSuchModel, match="nothing yet"):
        registry.resolve("champion")


def test_a_champion_is_the_bundle_as_it_was_registered(registry: Registry, joint: list[Path]) -> None:
    path = registry.champion("sentiment")
    assert path is not None
    assert path != joint[0]
    assert load(path).digest == load(joint[0]).digest


def test_versions_keep_their_metrics_and_the_reason_of_the_gate(registry: Registry) -> None:
    one, two = registry.candidates("sentiment")
    assert (one.name, one.champion, one.gate) == ("sentiment/1", True, "first of its task")
    assert (two.name, two.champion, two.gate) == ("sentiment/2", False, "0.7 is not above 0.8")
    assert two.metrics == {"macro_f1": 0.7}


def test_a_model_is_found_by_task_and_version_by_alias_and_by_directory(registry: Registry, joint: list[Path]) -> None:
    assert load(registry.resolve("sentiment/2")).digest == load(joint[1]).digest
    assert registry.resolve("ner/champion") == registry.champion("ner")
    assert registry.resolve(str(joint[0])) == joint[0]


@pytest.mark.parametrize("name", ["sentiment/9", "weather/1", "nowhere", "ner/first", ""])
def test_an_unknown_name_is_refused_with_what_there_is(registry: Registry, name: str) -> None:
    with pytest.raises(NoSuchModel, match=r"sentiment/1 \(champion\), sentiment/2, ner/1, ner/2 \(champion\)"):
        registry.resolve(name)


def test_champion_names_one_bundle_only_where_it_serves_all_tasks(registry: Registry) -> None:
    with pytest.raises(NoSuchModel, match="sentiment/champion, ner/champion"):
        registry.resolve("champion")


def test_joint_champions_of_different_tasks_are_narrowed_so_that_they_serve_together(
    registry: Registry, joint: list[Path]
) -> None:
    bundles = registry.serving()
    assert [load(path).heads for path in bundles] == [("sentiment",), ("ner",)]
    assert Predictor(bundles).tasks == ("ner", "sentiment")
    assert registry.serving() == bundles


def test_a_joint_bundle_that_serves_all_its_tasks_stays_whole(registry: Registry) -> None:
    (path,) = registry.serving(["sentiment/1", "ner/1"])
    assert path == registry.resolve("sentiment/1")


def test_two_bundles_of_one_task_are_refused(registry: Registry, joint: list[Path]) -> None:
    with pytest.raises(NoSuchModel, match="serve sentiment twice"):
        registry.serving(["sentiment/1", "sentiment/2"])


def test_a_narrowed_bundle_scores_as_the_whole_one(joint: list[Path], tmp_path: Path) -> None:
    import pyarrow as pa

    from tasks.narrow import narrowed

    texts = pa.table({"id": ["a", "b"], "title": ["profit rose", "losses fell"], "body": ["acme said", None]})
    whole = Predictor([joint[0]]).predict(texts)
    assert Predictor([narrowed(joint[0], ["sentiment"], tmp_path)]).predict(texts).articles.equals(whole.articles)
    assert Predictor([narrowed(joint[0], ["ner"], tmp_path)]).predict(texts).mentions.equals(whole.mentions)


def test_a_narrowed_bundle_remembers_all_that_its_trunk_has_learnt(joint: list[Path], tmp_path: Path) -> None:
    from models.bundle import load
    from tasks.narrow import narrowed

    small = load(narrowed(joint[0], ["ner"], tmp_path))
    assert small.heads == ("ner",)
    assert small.learnt() == load(joint[0]).learnt() > load(joint[0]).training_texts("ner")


def test_mlflow_is_told_to_report_to_nobody_before_it_is_imported(tmp_path: Path) -> None:
    script = (
        "import sys; from tasks.registry import Registry\n"
        "assert 'mlflow' not in sys.modules\n"
        f"registry = Registry('sqlite:///{tmp_path / 'm.db'}', {str(tmp_path)!r})\n"
        "with registry.client(): pass\n"
        "from mlflow.telemetry.client import get_telemetry_client\n"
        "assert get_telemetry_client() is None\n"
    )
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / ".config").exists()


@pytest.mark.parametrize("takes_calls", [True, False])
@pytest.mark.parametrize("kind", ["http", "postgresql+psycopg2"])
def test_one_who_waits_is_told_within_seconds_that_the_registry_is_away(
    kind: str, takes_calls: bool, tmp_path: Path
) -> None:
    """A server that takes a call and says nothing, and one that refuses it."""
    with switched(QUIET):
        importlib.import_module("mlflow")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if takes_calls:
            server.listen()
        where = f"{kind}://desk:x@127.0.0.1:{server.getsockname()[1]}/nightdesk_mlflow"
        registry, began = Registry(where, tmp_path, patient=False), time.monotonic()
        with pytest.raises(Exception, match=r"127\.0\.0\.1"), registry.client() as client:
            client.search_registered_models()
    assert time.monotonic() - began < 20

"""The deployments that make models and choose among them, each executed by a worker as the UI starts it: what one run leaves, the next takes.

Nights, backfills and the clean-up are executed in other files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from data_contracts.labelled import NerExample, SentimentExample
from flows.finetune import SAMPLE_LABELLED
from models.adapting import read_manifest
from models.bundle import load
from tasks.registry import Registry
from tasks.versions import Version
from tests.flows.operate.bare import Bare, bare_server
from tests.flows.operate.tiny import ENDED
from tests.tasks.conftest import sentiment_examples, tiny_trunk
from tests.waiting import until

__all__ = ["sentiment_examples", "tiny_trunk"]  # fixtures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

RUN_SECONDS = 1200  # a run's start alone is 15 seconds of a core, which may be shared by many
QUICK = {"epochs": 3, "patience": 0, "precision": "float32", "max_length": 80, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bare]:
    """A server with the deployments, and a worker; no schedule starts a run."""
    with bare_server(tmp_path_factory.mktemp("runs")) as bare:
        done = bare.call("deploy")
        assert done.returncode == 0, done.stderr
        for one in bare.post("/deployments/filter", {}):
            bare.post(f"/deployments/{one['id']}/pause_deployment", {})
        with bare.worker(PREFECT_WORKER_QUERY_SECONDS="1", NIGHTDESK_SCORING__BACKEND="torch"):
            yield bare


@pytest.fixture(scope="module")
def files(server: Bare, sentiment_examples: list[SentimentExample]) -> dict[str, list[str]]:
    """What the form calls labelled files: paths on the worker."""
    unseen = [replace(one, text=f"{one.text} quarter") for one in sentiment_examples[:9]]
    return {
        "train": [written(server.folder / "train.jsonl", sentiment_examples)],
        "dev": [written(server.folder / "dev.jsonl", unseen)],
    }


def written(path: Path, some: Sequence[SentimentExample | NerExample]) -> str:
    lines = [json.dumps({key: value for key, value in asdict(one).items() if value is not None}) for one in some]
    path.write_text("\n".join(lines), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def adapted(server: Bare, files: dict[str, list[str]], tiny_trunk: Path) -> Path:
    """A trunk that has read the examples' texts."""
    executed(
        server,
        "adapt",
        texts={"files": files["train"], "held_out_share": 0.2},
        recipe={"epochs": 1, "batch_tokens": 256, "max_length": 64, "precision": "float32"},
        trunk=str(tiny_trunk),
        output=str(server.folder / "adapted"),
        workers=0,
    )
    return server.folder / "adapted"


@pytest.fixture(scope="module")
def champion(server: Bare, files: dict[str, list[str]], adapted: Path) -> Version:
    """The first model of the desk, fine-tuned from that trunk."""
    executed(server, "finetune", task="sentiment", sentiment=files, recipe=QUICK, trunk=str(adapted), workers=0)
    found = registry(server).champion_version("sentiment")
    assert found is not None
    return found


def executed(server: Bare, deployment: str, **parameters: object) -> dict[str, Any]:
    """A run of the deployment with what is filled in on its form, until its end, which is a good one; returns what its page shows, by key."""
    found = server.get(f"/deployments/name/{deployment}/{deployment}")
    asked = {"parameters": parameters, "idempotency_key": uuid4().hex}
    run = server.post(f"/deployments/{found['id']}/create_flow_run", asked)["id"]

    def state() -> dict[str, Any]:
        return dict(server.get(f"/flow_runs/{run}")["state"])

    until(lambda: state()["type"] in ENDED, lambda: f"{state()}\n{server.logs()}", seconds=RUN_SECONDS)
    assert state()["type"] == "COMPLETED", f"{state()}\n{server.logs()}"
    shown = server.post("/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}})
    return {one["key"]: one["data"] for one in shown}


def registry(server: Bare) -> Registry:
    return Registry(f"sqlite:///{server.home / 'mlflow.db'}", server.home / "bundles")


def newest(server: Bare, task: str = "sentiment") -> Version:
    return registry(server).candidates(task)[-1]


def serves(server: Bare, task: str = "sentiment") -> str:
    found = registry(server).champion_version(task)
    return found.name if found else "nothing"


def test_a_model_is_fine_tuned_from_an_adapted_trunk_and_serves(adapted: Path, champion: Version) -> None:
    assert read_manifest(adapted).steps > 0
    assert champion.name == "sentiment/1"
    assert load(champion.path).heads == ("sentiment",)


def test_a_compressed_model_is_promoted_by_hand_and_taken_back(
    server: Bare, champion: Version, files: dict[str, list[str]]
) -> None:
    shown = executed(server, "compress", model=champion.name, compression={"method": "int8"}, files=files)
    small = newest(server)
    assert load(small.path).manifest.quantization == "int8"
    assert small.name in shown["compress-gate"]
    shown = executed(server, "promote", task="sentiment", version=small.version, reason="it is quicker")
    assert serves(server) == small.name
    assert shown["promotion"] == f"{small.name} is champion: it is quicker"
    shown = executed(server, "rollback", task="sentiment", reason="it is worse")
    assert serves(server) == champion.name
    assert shown["promotion"] == f"{champion.name} is champion again: it is worse"


def test_a_model_teaches_a_smaller_one_and_both_answer_together(
    server: Bare, champion: Version, files: dict[str, list[str]], tiny_trunk: Path
) -> None:
    shown = executed(
        server,
        "distil",
        teaching={"teachers": [champion.name]},
        student=f"layers:1@{tiny_trunk}",
        files=files,
        recipe=QUICK,
        workers=0,
    )
    student = newest(server)
    assert load(student.path).manifest.teachers
    assert student.name in shown["distil-gate"]
    shown = executed(server, "combine", models=[champion.name, student.name], dev=files["dev"])
    assert len(load(newest(server).path).manifest.members) == 2
    assert newest(server).name in shown["combine-gate"]


def test_a_search_tells_of_its_trial_and_registers_it(server: Bare, files: dict[str, list[str]], adapted: Path) -> None:
    shown = executed(
        server,
        "search",
        labelled=files,
        space={"learning_rate": {"choices": [0.01]}},
        extent={"trials": 1, "max_epochs": 1},
        recipe={"precision": "float32", "max_length": 80},
        trunk=str(adapted),
    )
    (trial,) = json.loads(shown["search-trials"])
    assert (trial["learning_rate"], trial["epochs"]) == (0.01, 1)
    assert newest(server).name in shown["search-gate"]


def test_what_analysts_have_labelled_is_learnt_by_the_retraining(server: Bare) -> None:
    folder = server.home / "labelled"
    folder.mkdir()
    for part in ("train", "dev"):
        lines = (SAMPLE_LABELLED / f"topics.{part}.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / f"topics.{part}.jsonl").write_text("".join(lines[:12]), encoding="utf-8")
    assert serves(server, "topics") == "nothing"
    executed(server, "retrain", recipe={"epochs": 1})
    assert serves(server, "topics") == "topics/1"

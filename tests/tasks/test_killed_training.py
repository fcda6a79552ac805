"""SIGKILL within an epoch, of a worker, of the program that started it, or of a training without Ray: it ends as if nothing had happened."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from data_contracts.labelled import SentimentExample
from models.bundle import load
from models.training import Recipe, TaskData, fit
from tasks.cluster import ClusterConfig, TrainingRun, session, train_on_ray
from tests.flows.operate.running import lives
from tests.waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")]
RAY = ClusterConfig(workers=1, threads_per_worker=1)
RECIPE = Recipe(
    epochs=3,
    batch_size=4,
    checkpoint_steps=3,
    averaging="ema",
    augment={"swap": 0.3},
    precision="float32",
    max_length=64,
    overlap=16,
    learning_rate=1e-3,
    patience=0,
)
ALONE = """
import pickle, sys, torch
from pathlib import Path
from tasks.cluster import ClusterConfig, train_on_ray
from tasks.here import train_here
torch.set_num_threads(1)
run = pickle.loads(Path(sys.argv[1]).read_bytes())
"""
SCRIPTS = {
    "driver": ALONE + "train_on_ray(run, cluster=ClusterConfig(threads_per_worker=1))",
    "process": ALONE + "train_here(run)",
}


@pytest.fixture
def data(sentiment_examples: list[SentimentExample]) -> dict[str, TaskData]:
    return {"sentiment": TaskData(sentiment_examples, sentiment_examples)}


@pytest.fixture
def undisturbed(tmp_path: Path, tiny_trunk: Path, data: dict[str, TaskData]) -> str:
    """The digest of the bundle that a training gives which nobody kills."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    bundle = fit(trunk=str(tiny_trunk), data=data, recipe=RECIPE, output=tmp_path / "undisturbed")
    torch.set_num_threads(threads)
    return load(bundle).digest


def lines(folder: Path) -> list[dict[str, Any]]:
    file = folder / "progress.jsonl"
    text = file.read_text() if file.is_file() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def within_an_epoch(folder: Path) -> list[dict[str, Any]]:
    """The lines so far if the last tells of the third checkpoint or a later one within the second epoch: Ray then has one before it."""
    found = lines(folder)
    return found if found and found[-1]["epoch"] >= 1 and found[-1]["epoch_step"] >= 9 else []


def starts_within_an_epoch(folder: Path) -> list[int]:
    """The steps within an epoch that a worker went on from."""
    found = lines(folder)
    per_epoch = next(line["step"] for line in found if line["epoch"] == 1 and not line["epoch_step"])
    return [step for step in {line["started_at_step"] for line in found} if step % per_epoch]


def assert_resumed_within_an_epoch(folder: Path) -> None:
    found = lines(folder)
    assert starts_within_an_epoch(folder), {line["started_at_step"] for line in found}
    assert {(line["epoch"], line["epoch_step"]) for line in found} >= {(epoch, 0) for epoch in range(1, 4)}


def test_a_killed_worker_goes_on_within_the_epoch(
    tmp_path: Path, tiny_trunk: Path, data: dict[str, TaskData], undisturbed: str
) -> None:
    def kill(run: TrainingRun) -> None:
        until(lambda: within_an_epoch(run.folder) or run.finished(), pause=0.01)
        if not run.finished():
            with suppress(ProcessLookupError):
                os.kill(int(lines(run.folder)[-1]["pid"]), signal.SIGKILL)

    with session(RAY):
        for attempt in range(4):  # a kill on a busy machine may come when the epoch has ended
            run = TrainingRun(trunk=str(tiny_trunk), data=data, recipe=RECIPE, storage=tmp_path / f"store{attempt}")
            thread = threading.Thread(target=kill, args=(run,))
            thread.start()
            train_on_ray(run, cluster=RAY)
            thread.join()
            assert load(run.bundle).digest == undisturbed
            if starts_within_an_epoch(run.folder):
                break
    assert_resumed_within_an_epoch(run.folder)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_killed_program_goes_on_within_the_epoch_when_run_again(
    script: str, tmp_path: Path, tiny_trunk: Path, data: dict[str, TaskData], undisturbed: str
) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-c", SCRIPTS[script], str(tmp_path / "run.pickle")]
    for attempt in range(4):  # a kill on a busy machine may come when the epoch has ended
        run = TrainingRun(trunk=str(tiny_trunk), data=data, recipe=RECIPE, storage=tmp_path / f"store{attempt}")
        (tmp_path / "run.pickle").write_bytes(pickle.dumps(run))
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path
        ) as program:
            try:
                until(lambda: within_an_epoch(run.folder) or program.poll() is not None, pause=0.01)  # noqa: B023
            finally:
                program.kill()
        until(lambda: not lives(int(lines(run.folder)[-1]["pid"])), pause=0.01)  # noqa: B023  # Ray's worker goes on for a moment
        if within_an_epoch(run.folder):
            break
    again = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert again.returncode == 0, again.stderr[-2000:]
    assert_resumed_within_an_epoch(run.folder)
    assert load(run.bundle).digest == undisturbed


def test_a_checkpoint_within_an_epoch_changes_the_name_of_the_run(tmp_path: Path, data: dict[str, TaskData]) -> None:
    run = TrainingRun(trunk="minilm", data=data, recipe=RECIPE, storage=tmp_path)
    assert replace(run, recipe=replace(RECIPE, checkpoint_steps=5)).name != run.name

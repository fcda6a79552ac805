"""Ray: started and stopped without a trace, training that goes on after a loss."""

import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from data_contracts.errors import Fatal
from data_contracts.labelled import NerExample, SentimentExample
from models.bundle import load
from models.training import Recipe, RecipeRefused, TaskData
from tasks.cluster import ClusterAway, ClusterConfig, TrainingRun, session, train_on_ray, trainer
from tasks.cluster.session import _end_stragglers, _token
from tests.loopback import free_ports
from tests.waiting import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
]  # Ray warns of its own defaults
RAY = ClusterConfig(min_rows=1, rows_per_shard=8, workers=2, threads_per_worker=1, no_progress_seconds=120)
RECIPE = Recipe(epochs=3, precision="float32", max_length=64, overlap=16, learning_rate=1e-2, patience=0)


@pytest.fixture(scope="module")
def ray_running() -> Iterator[None]:
    """One Ray for the tests that do not look at its start or end."""
    with session(RAY):
        yield


def examples(sentiment: list[SentimentExample], ner: list[NerExample]) -> dict[str, TaskData]:
    return {"sentiment": TaskData(sentiment, sentiment), "ner": TaskData(ner, ner)}


def progress(folder: Path) -> list[dict[str, float]]:
    file = folder / "progress.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def sockets(pid: int) -> Iterator[str]:
    """The inodes of a process's sockets; it may close some, or end, meanwhile."""
    with suppress(OSError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                kind, _, inode = str(link.readlink()).partition(":")
                if kind == "socket":
                    yield inode.strip("[]")


# Starting and stopping


def test_ray_listens_on_the_loopback_alone_and_leaves_nothing_behind(children: Callable[[str], list[int]]) -> None:
    before, handler = set(Path(tempfile.gettempdir()).glob("nd-*")), signal.getsignal(signal.SIGTERM)
    with session(RAY):
        assert signal.getsignal(signal.SIGTERM) is handler
        assert children("raylet")
        inodes = {inode for pid in children("ray") for inode in sockets(pid)}
        lines = [
            line.split()
            for table in ("tcp", "tcp6")
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        ]
        listening = {fields[1].split(":")[0] for fields in lines if fields[3] == "0A" and fields[9] in inodes}
        assert listening
        assert listening <= {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert signal.getsignal(signal.SIGTERM) is handler
    assert not children("raylet")
    assert not children("gcs_server")
    assert set(Path(tempfile.gettempdir()).glob("nd-*")) == before


def test_a_named_cluster_that_does_not_answer_is_told_at_once_and_with_what_to_do() -> None:
    (port,) = free_ports(1)
    with (
        pytest.raises(ClusterAway, match=rf"'127\.0\.0\.1:{port}', where no Ray head answers .*refused.*ray start"),
        session(ClusterConfig(address=f"127.0.0.1:{port}")),
    ):
        pass


def test_a_worker_that_was_starting_when_its_ray_ended_is_ended_and_another_ones_is_not() -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(600)", f"--raylet-name={folder}/session/sockets/raylet"],
            env=os.environ | {"RAY_AUTH_TOKEN": token},
        )
        for folder, token in (("/ray/nd-1", _token()), ("/ray/nd-1", "another"), ("/ray/nd-2", _token()))
    ]
    try:
        _end_stragglers("/ray/nd-1")
        assert started[0].wait(60) == -signal.SIGKILL
        assert [one.poll() for one in started[1:]] == [None, None]
    finally:
        for one in started:
            one.kill()
            one.wait()


def test_ray_is_stopped_after_an_error_and_works_from_a_thread(children: Callable[[str], list[int]]) -> None:
    caught: list[BaseException] = []

    def work() -> None:
        try:
            with session(RAY):
                raise KeyError("inside")
        except KeyError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert caught
    assert not children("raylet")


def test_a_temporary_directory_that_sockets_would_not_fit_in_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Fatal, match="at most 40"), session(replace(RAY, temp_dir="/tmp/" + "x" * 60)):
        pass


@pytest.mark.parametrize(
    "wrong",
    [
        {"workers": 0},
        {"max_workers": 1},
        {"prefetch": 0},
        {"token_budget": 0},
        {"rows_per_shard": 0},
        {"min_rows": -1},
        {"object_store_mib": 10},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(Fatal, match="allowed"):
        ClusterConfig(**wrong)  # type: ignore[arg-type]


# Training


def test_one_and_two_workers_train_and_a_finished_run_returns_at_once(
    ray_running: None,
    tmp_path: Path,
    tiny_trunk: Path,
    sentiment_examples: list[SentimentExample],
    ner_examples: list[NerExample],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for workers in (1, 2):
        run = TrainingRun(
            trunk=str(tiny_trunk),
            data=examples(sentiment_examples, ner_examples),
            recipe=RECIPE,
            storage=tmp_path,
            workers=workers,
        )
        bundle = load(train_on_ray(run, cluster=RAY))
        assert bundle.heads == ("ner", "sentiment")
        assert bundle.metrics["sentiment"]["macro_f1"] > 0.9
        assert [(line["epoch"], line["step"]) for line in progress(run.folder)] == [(1, 4), (2, 8), (3, 12)]
        assert sorted(path.name for path in run.folder.iterdir()) == ["bundle", "progress.jsonl"]
        with monkeypatch.context() as patched:
            patched.setattr(trainer, "session", None)  # whoever starts Ray, fails
            assert train_on_ray(run, cluster=RAY) == bundle.path


def test_another_recipe_or_other_data_is_another_run(
    tmp_path: Path, sentiment_examples: list[SentimentExample]
) -> None:
    data = {"sentiment": TaskData(sentiment_examples, sentiment_examples)}
    run = TrainingRun(trunk="minilm", data=data, recipe=RECIPE, storage=tmp_path)
    other = {"sentiment": TaskData(sentiment_examples[1:], sentiment_examples)}
    names = {
        run.name,
        replace(run, recipe=replace(RECIPE, seed=1)).name,
        replace(run, data=other).name,
        replace(run, workers=2).name,
    }
    assert len(names) == 4
    assert replace(run, storage=tmp_path / "elsewhere").name == run.name


def test_training_goes_on_where_it_stood_when_a_worker_is_killed(
    ray_running: None, tmp_path: Path, tiny_trunk: Path, sentiment_examples: list[SentimentExample]
) -> None:
    data = {"sentiment": TaskData(sentiment_examples, sentiment_examples)}
    recipe = replace(RECIPE, epochs=25)
    run = TrainingRun(trunk=str(tiny_trunk), data=data, recipe=recipe, storage=tmp_path)

    def kill() -> None:
        until(lambda: len(progress(run.folder)) >= 4, pause=0.02)
        os.kill(int(progress(run.folder)[0]["pid"]), signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    train_on_ray(run, cluster=RAY)
    thread.join()
    lines = progress(run.folder)
    resumed = [line for line in lines if line["started_at_epoch"] > 0]
    assert resumed
    assert resumed[0]["epoch"] == resumed[0]["started_at_epoch"] + 1
    assert all(line["step"] == 2 * line["epoch"] for line in lines)
    assert {line["epoch"] for line in lines} == set(range(1, 26))


def test_what_a_worker_refuses_is_raised_as_it_is(
    ray_running: None, tmp_path: Path, tiny_trunk: Path, sentiment_examples: list[SentimentExample]
) -> None:
    data = {"sentiment": TaskData(sentiment_examples, sentiment_examples)}
    run = TrainingRun(trunk=str(tiny_trunk), data=data, recipe=replace(RECIPE, freeze_layers=99), storage=tmp_path)
    with pytest.raises(RecipeRefused, match="freeze_layers"):
        train_on_ray(run, cluster=RAY)


SCRIPT = """
import pickle, sys
from pathlib import Path
from tasks.cluster import ClusterConfig, train_on_ray
run = pickle.loads(Path(sys.argv[1]).read_bytes())
train_on_ray(run, cluster=ClusterConfig())
"""


def test_a_killed_program_leaves_no_ray_and_its_training_goes_on_when_run_again(
    tmp_path: Path, tiny_trunk: Path, sentiment_examples: list[SentimentExample], children: Callable[[str], list[int]]
) -> None:
    before = _raylets()
    data = {"sentiment": TaskData(sentiment_examples, sentiment_examples)}
    run = TrainingRun(trunk=str(tiny_trunk), data=data, recipe=replace(RECIPE, epochs=12), storage=tmp_path / "store")
    (tmp_path / "run.pickle").write_bytes(pickle.dumps(run))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "run.pickle")]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path
    ) as program:
        try:
            until(lambda: len(progress(run.folder)) >= 4, pause=0.02)
        finally:
            program.kill()
    again = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert again.returncode == 0, again.stderr[-2000:]
    lines = progress(run.folder)
    assert any(line["started_at_epoch"] >= 2 for line in lines)
    assert {line["epoch"] for line in lines} == set(range(1, 13))
    until(lambda: _raylets() <= before, pause=0.02)


def _raylets() -> set[str]:
    """Every raylet that this environment has started with its files in this process's temporary directory."""
    mine = f"{tempfile.gettempdir()}/nd-".encode()
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if command.startswith(sys.prefix.encode()) and b"raylet/raylet" in command and mine in command:
                found.add(entry.name)
    return found

"""A search stops bad trials early, keeps every trial, goes on after a kill, and hands its best to the gate."""

import json
import os
import pickle
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_contracts.errors import Fatal
from data_contracts.labelled import SentimentExample
from models.bundle import load
from models.training import Recipe, TaskData
from tasks.cluster import ClusterConfig
from tasks.cluster import search as searching
from tasks.cluster.search import search_on_ray
from tasks.registry import Registry
from tasks.search import PARENT, TRIAL, SearchLog
from tasks.search import search as search_recipe
from tasks.space import Choices, Range, SpaceRefused
from tasks.train import LabelledFiles
from tasks.trials import SearchPlan, SearchRun, Trial, TrialFolder
from tests.flows.operate.running import lives
from tests.loopback import prefect_server
from tests.waiting import until

RECIPE = Recipe(precision="float32", max_length=64, overlap=16)
SPACE = {"learning_rate": Choices(values=(1e-9, 1e-2)), "batch_size": Range(low=4, high=6)}
# One at a time, and the seed draws a rate that learns before two that do not.
PLAN = SearchPlan(trials=3, max_epochs=4, grace_epochs=2, reduction=2, concurrent=1, seed=0)


@pytest.fixture
def search_run(tmp_path: Path, tiny_trunk: Path, sentiment_examples: list[SentimentExample]) -> SearchRun:
    data = {"sentiment": TaskData(sentiment_examples, sentiment_examples)}
    return SearchRun(trunk=str(tiny_trunk), data=data, recipe=RECIPE, space=SPACE, plan=PLAN, storage=tmp_path / "s")


def registry_in(folder: Path) -> Registry:
    return Registry(f"sqlite:///{folder / 'mlflow.db'}", folder / "bundles")


def trial(name: str, **changes: object) -> Trial:
    given = {"name": name, "parameters": {"dropout": 0.1}, "figures": (0.5, 0.7), "state": "stopped", **changes}
    return Trial(**given)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")
def test_bad_trials_are_stopped_every_one_is_told_of_and_the_best_has_its_bundle(
    search_run: SearchRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Trial] = []
    trials = search_on_ray(search_run, cluster=ClusterConfig(threads_per_worker=1), on_trial=told.append)
    assert [(one.name, one.state, len(one.figures)) for one in trials] == [
        ("00000", "finished", 4),
        ("00001", "stopped", 2),
        ("00002", "stopped", 2),
    ]
    assert {one.name for one in told} == {one.name for one in trials}
    best = trials[0]
    assert [one.parameters["learning_rate"] for one in trials] == [1e-2, 1e-9, 1e-9]
    assert best.best > 0.9 > max(one.best for one in trials[1:])
    assert best.bundle is not None
    assert load(best.bundle).metrics["sentiment"]["macro_f1"] == pytest.approx(best.best)
    assert [one.bundle for one in trials[1:]] == [None] * 2
    left = {path.name for path in search_run.trials.glob("*/*") if path.is_dir()}
    assert left == {"bundle"}
    monkeypatch.setattr(searching, "session", None)  # whoever starts Ray, fails
    assert search_on_ray(search_run, cluster=ClusterConfig(), on_trial=told.append) == trials


SCRIPT = """
import pickle, sys
from pathlib import Path
from tasks.cluster import ClusterConfig
from tasks.cluster.search import search_on_ray
run = pickle.loads(Path(sys.argv[1]).read_bytes())
search_on_ray(run, cluster=ClusterConfig(threads_per_worker=1), on_trial=lambda trial: None)
"""


def figures(run: SearchRun, name: str) -> tuple[float, ...]:
    return TrialFolder(path=run.trials / name).figures()


def lines_of(run: SearchRun, name: str) -> list[dict[str, Any]]:
    """A trial's lines of progress so far that are whole."""
    text = (run.trials / name / "progress.jsonl").read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


@pytest.mark.slow
def test_a_killed_search_goes_on_where_it_stood_when_it_is_run_again(search_run: SearchRun, tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "run.pickle")]
    given = {"env": {**os.environ, "PYTHONPATH": path}, "cwd": tmp_path}
    for attempt in range(4):  # a kill on a busy machine may come when the trial has ended
        plan = replace(PLAN, trials=2, max_epochs=25, grace_epochs=25, concurrent=1)
        run = replace(search_run, plan=plan, storage=tmp_path / f"s{attempt}")
        (tmp_path / "run.pickle").write_bytes(pickle.dumps(run))
        with (tmp_path / "first.txt").open("w") as said:
            program = subprocess.Popen(command, stdout=said, stderr=said, **given)  # type: ignore[call-overload]
            until(lambda: len(figures(run, "00001")) >= 2 or program.poll() is not None, pause=0.05)  # noqa: B023
            assert program.poll() in (None, 0), (tmp_path / "first.txt").read_text()[-2000:]
            if program.poll() is None:
                program.kill()
                with suppress(ProcessLookupError):  # Ray's worker would go on for a moment
                    os.kill(int(lines_of(run, "00001")[-1]["pid"]), signal.SIGKILL)
            program.wait()
        until(lambda: not lives(int(lines_of(run, "00001")[-1]["pid"])), pause=0.05)  # noqa: B023
        before = [figures(run, name) for name in ("00000", "00001")]
        if len(before[1]) < 25:
            break
    assert len(before[0]) == 25 > len(before[1])
    with (tmp_path / "again.txt").open("w") as said:
        assert subprocess.run(command, stdout=said, stderr=said, **given).returncode == 0  # type: ignore[call-overload]
    found = run.result()
    assert found is not None
    assert [len(one.figures) for one in found] == [25, 25]
    lines = [lines_of(run, name) for name in ("00000", "00001")]
    assert [line["epoch"] for line in lines[0]] == list(range(1, 26))
    resumed = [line for line in lines[1] if line["started_at_epoch"] > 0]
    assert resumed
    assert resumed[0]["epoch"] == resumed[0]["started_at_epoch"] + 1 >= len(before[1])


@pytest.mark.slow
def test_the_flow_registers_the_best_trial_and_its_figures_are_in_mlflow(
    tmp_path: Path, tiny_trunk: Path, sentiment_examples: list[SentimentExample], monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.forms import LabelledForm, RecipeForm
    from flows.forms_search import ChoicesForm, SearchForm
    from flows.search import search

    for part, some in (("train", sentiment_examples), ("dev", sentiment_examples[:9])):
        ending = " quarter" if part == "dev" else ""
        lines = [json.dumps({"text": one.text + ending, "label": one.label}) for one in some]
        (tmp_path / f"{part}.jsonl").write_text("\n".join(lines))
    monkeypatch.setenv("NIGHTDESK_HOME", str(tmp_path / "home"))
    with prefect_server():
        (decision,) = search(
            labelled=LabelledForm(train=[str(tmp_path / "train.jsonl")], dev=[str(tmp_path / "dev.jsonl")]),
            space={"learning_rate": ChoicesForm(choices=[5e-3, 1e-2])},
            extent=SearchForm(trials=2, max_epochs=3),
            recipe=RecipeForm(precision="float32", max_length=80),
            trunk=str(tiny_trunk),
        )
    assert (decision.task, decision.version, decision.promoted) == ("sentiment", 1, True)
    registry = registry_in(tmp_path / "home")
    with registry.client() as client:
        runs = client.search_runs([registry.experiment(client, "sentiment")])
    trials = [one for one in runs if TRIAL in one.data.tags]
    assert len(trials) == 2
    assert len({one.data.tags[PARENT] for one in trials}) == 1
    assert {one.data.params["learning_rate"] for one in trials} <= {"0.005", "0.01"}
    assert all(one.data.metrics["dev.best"] > 0 for one in trials)


def test_auxiliary_files_that_no_trial_would_read_are_refused(
    tmp_path: Path, tiny_trunk: Path, search_run: SearchRun
) -> None:
    (tmp_path / "some.jsonl").write_text(json.dumps({"text": "the river", "label": "neutral"}) + "\n")
    (tmp_path / "dev.jsonl").write_text(json.dumps({"text": "the bank", "label": "neutral"}) + "\n")
    some = (str(tmp_path / "some.jsonl"),)
    with pytest.raises(Fatal, match="auxiliary_epochs is 0"):
        search_recipe.fn(
            {"sentiment": LabelledFiles(train=some, dev=(str(tmp_path / "dev.jsonl"),), auxiliary=some)},
            trunk=str(tiny_trunk),
            recipe=search_run.recipe,
            space=search_run.space,
            plan=search_run.plan,
            storage=str(tmp_path / "storage"),
            cluster=ClusterConfig(),
            tracking_uri=f"sqlite:///{tmp_path / 'm.db'}",
            artifact_root=str(tmp_path / "bundles"),
        )
    assert not (tmp_path / "m.db").exists()


def test_an_unknown_parameter_is_refused_before_anything_is_written(search_run: SearchRun) -> None:
    with pytest.raises(SpaceRefused, match="lr"):
        replace(search_run, space={"lr": Range(low=1e-5, high=1e-3)})
    assert not search_run.folder.exists()


def test_another_space_plan_or_recipe_is_another_search(search_run: SearchRun) -> None:
    names = {
        search_run.name,
        replace(search_run, space={"learning_rate": Range(low=1e-5, high=1e-3)}).name,
        replace(search_run, space=SPACE | {"dropout": Range(low=0, high=0.1)}).name,
        replace(search_run, plan=replace(PLAN, seed=4)).name,
        replace(search_run, recipe=replace(RECIPE, dropout=0.2)).name,
    }
    assert len(names) == 5


def test_a_search_is_its_trials_ranked_and_without_one_that_finished_is_refused(
    search_run: SearchRun, tiny_bundle: Path
) -> None:
    def ended(name: str, figures: tuple[float, ...], reason: str = "") -> TrialFolder:
        folder = TrialFolder(path=search_run.trials / name)
        folder.begin({"dropout": 0.1})
        lines = [json.dumps({"epoch": epoch, "best": best}) for epoch, best in enumerate(figures, start=1)]
        (folder.path / "progress.jsonl").write_text("".join(f"{line}\n" for line in lines))
        folder.end(reason)
        return folder

    ended("00000", (0.9,))
    ended("00001", (), "RecipeRefused: no")
    with pytest.raises(Fatal, match="none of 2 trials got to its end: RecipeRefused: no"):
        search_run.finish()
    for name, best in (("00002", 0.6), ("00003", 0.8)):
        folder = ended(name, (best, best))
        (folder.path / "bundle").mkdir()
        (folder.path / "bundle" / "manifest.json").touch()
    search_run.finish()
    result = search_run.result()
    assert result is not None
    assert [(one.name, one.state) for one in result] == [
        ("00003", "finished"),
        ("00002", "finished"),
        ("00000", "stopped"),
        ("00001", "failed"),
    ]
    assert [one.bundle is not None for one in result] == [True, False, False, False]
    assert [path.parent.name for path in search_run.trials.glob("*/bundle")] == ["00003"]


def test_a_trials_directory_is_its_own_recipes_and_a_failure_is_tried_again(tmp_path: Path) -> None:
    folder = TrialFolder(path=tmp_path / "00000")
    folder.begin({"dropout": 0.1})
    folder.point(tmp_path / "nowhere")
    folder.end("lost")
    assert folder.outcome().state == "failed"
    folder.begin({"dropout": 0.1})
    assert not folder.ended()
    folder.end("")
    folder.begin({"dropout": 0.1})
    assert folder.outcome().state == "stopped"
    folder.begin({"dropout": 0.2})
    assert not folder.ended()
    assert folder.checkpoint() is None


def test_every_trial_is_a_nested_run_and_one_told_of_twice_is_kept_once(search_run: SearchRun, tmp_path: Path) -> None:
    registry = registry_in(tmp_path)
    for _ in range(2):
        log = SearchLog(registry, ["sentiment"], search_run)
        log.trial(trial("00000"))
        log.trial(trial("00001", state="failed", figures=(), reason="it broke"))
        log.trial(trial("00002", state="finished", figures=(0.6, 0.6, 0.9)))
    log.trial(trial("00001", state="finished", figures=(0.6, 0.8)))
    log.close(trial("00002", state="finished", figures=(0.9,)))
    with registry.client() as client:
        runs = client.search_runs([registry.experiment(client, "sentiment")])
        figures = client.get_metric_history(
            next(r.info.run_id for r in runs if r.info.run_name.endswith("00002")), "dev.best"
        )
    by_name = {one.info.run_name.rpartition("/")[2]: one for one in runs}
    assert set(by_name) == {search_run.name, "00000", "00001", "00002"}
    parent = by_name[search_run.name]
    assert (parent.info.status, parent.data.metrics["dev.best"]) == ("FINISHED", 0.9)
    assert parent.data.params["space.batch_size"] == str({"low": 4, "high": 6})
    assert {one.data.tags[PARENT] for name, one in by_name.items() if name != search_run.name} == {parent.info.run_id}
    assert [by_name[f"0000{n}"].info.status for n in range(3)] == ["KILLED", "FINISHED", "FINISHED"]
    assert [(one.step, one.value) for one in figures] == [(1, 0.6), (2, 0.6), (3, 0.9)]

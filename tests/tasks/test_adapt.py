"""Texts to an adapted trunk: in this process, on Ray, killed and gone on with; and the flow around it."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors.torch import load_file

from data_contracts.errors import Fatal
from flows.adapt import adapt as adapt_flow
from flows.adapt import adapt_into
from flows.forms_adapt import AdaptRecipeForm, Objective, TextsForm
from flows.settings import load
from models.adapting import AdaptRecipe, Texts, read_manifest
from models.objectives import names
from models.recipe import RecipeRefused
from tasks.adapt import Adapted, adapt, copy_trunk
from tasks.cluster import AdaptRun, ClusterConfig, adapt_on_ray, trainer
from tasks.corpus import Corpus
from tasks.unlabelled import Unlabelled
from tests.loopback import prefect_server
from tests.waiting import until

WORDS = ("acme", "bolt", "zeta", "paris", "rome", "smith", "profit", "fell", "record", "meeting", "growth", "office")
FORM = AdaptRecipeForm(
    epochs=2, batch_tokens=256, max_length=64, precision="float32", learning_rate=2e-3, checkpoint_steps=3
)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty documents of two sentences."""
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    rows = [
        {
            "title": f"the company {WORDS[i % 12]} said {WORDS[i % 7]} today {i}",
            "body": f"Its {WORDS[i % 5]} in a quarter. The {WORDS[i % 11]} shares {WORDS[i % 3]} said {i}.",
        }
        for i in range(60)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def source(texts: Path) -> Unlabelled:
    return Unlabelled(files=(str(texts),), held_out_share=0.2)


def here(texts: Path, trunk: Path, storage: Path) -> Adapted:
    recipe = FORM.recipe(("whole_word", "sentence_order"))
    return adapt.fn(
        source(texts), trunk=str(trunk), recipe=recipe, storage=str(storage), cluster=ClusterConfig(), workers=0
    )


def lines(folder: Path) -> list[dict[str, int]]:
    file = folder / "progress.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []


def same_weights(one: Path, other: Path) -> bool:
    for name in ("model.safetensors", "objectives.safetensors"):
        left, right = load_file(one / name), load_file(other / name)
        if left.keys() != right.keys() or not all(torch.equal(left[key], right[key]) for key in left):
            return False
    return True


def test_an_adapted_trunk_is_left_with_its_figures_and_found_again(
    tmp_path: Path, texts: Path, tiny_trunk: Path
) -> None:
    done = here(texts, tiny_trunk, tmp_path)
    assert (done.learnt + done.held_out, done.repeated, done.unreadable) == (60, 0, 0)
    assert done.after["whole_word.loss"] < done.before["whole_word.loss"]
    assert set(done.before) == {
        "whole_word.loss", "whole_word.perplexity", "whole_word.accuracy", "sentence_order.loss", "sentence_order.accuracy"
    }  # fmt: skip
    (folder,) = tmp_path.glob("adapt-whole_word-sentence_order-*")
    before = lines(folder)
    assert [line["step"] for line in before][:2] == [3, 6]
    assert here(texts, tiny_trunk, tmp_path) == done
    assert lines(folder) == before


def test_other_texts_objectives_and_trunks_are_other_runs(tmp_path: Path, tiny_trunk: Path) -> None:
    corpus = Corpus.write(Texts(["one", "two"], ["three"]), tmp_path)
    run = AdaptRun(trunk=str(tiny_trunk), corpus=corpus, recipe=AdaptRecipe(), storage=tmp_path)
    other = tmp_path / "trunk"
    copy = {"model.safetensors": b"other"}
    other.mkdir()
    for name, data in copy.items():
        (other / name).write_bytes(data)
    first = replace(run, trunk=str(other)).name
    (other / "model.safetensors").write_bytes(b"changed")
    found = {
        run.name,
        replace(run, corpus=Corpus.write(Texts(["one"], ["three"]), tmp_path)).name,
        replace(run, recipe=AdaptRecipe(objectives=("mlm",))).name,
        replace(run, workers=2).name,
        first,
        replace(run, trunk=str(other)).name,
    }
    assert len(found) == 6


SCRIPT = """
import pickle, sys
from pathlib import Path
from tasks.adapt import _adapt_here
_adapt_here(pickle.loads(Path(sys.argv[1]).read_bytes()))
"""


@pytest.mark.slow
def test_a_killed_adaptation_takes_the_very_steps_of_an_undisturbed_one(tmp_path: Path, tiny_trunk: Path) -> None:
    sentences = [f"the company {WORDS[i % 12]} said {WORDS[i % 7]} in a quarter {i}" for i in range(60)]
    recipe = AdaptRecipe(
        objectives=("span", "span_boundary"), epochs=60, batch_tokens=256, max_length=64, precision="float32", checkpoint_steps=4
    )  # fmt: skip
    runs = [
        AdaptRun(
            trunk=str(tiny_trunk),
            corpus=Corpus.write(Texts(sentences[6:], sentences[:6]), tmp_path / "texts"),
            recipe=recipe,
            storage=tmp_path / name,
        )
        for name in ("undisturbed", *(f"killed{attempt}" for attempt in range(4)))
    ]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}

    def start(number: int) -> subprocess.Popen[bytes]:
        (tmp_path / f"{number}.pickle").write_bytes(pickle.dumps(runs[number]))
        return subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path / f"{number}.pickle")], env=environment)

    for killed in range(1, len(runs)):  # a kill on a busy machine may come after the end
        with start(killed) as program:
            until(lambda: len(lines(runs[killed].folder)) >= 3, pause=0.02)  # noqa: B023
            program.kill()
        if not runs[killed].finished():
            break
    assert not runs[killed].finished()
    for number in (0, killed):
        assert start(number).wait() == 0
    started = {line["started_at_step"] for line in lines(runs[killed].folder)}
    assert min(started) == 0 < max(started)
    assert {line["started_at_step"] for line in lines(runs[0].folder)} == {0}
    assert same_weights(runs[0].adapted, runs[killed].adapted)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")
def test_ray_adapts_with_one_and_two_workers_and_goes_on_when_a_worker_is_killed(
    tmp_path: Path, texts: Path, tiny_trunk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = here(texts, tiny_trunk, tmp_path / "here")
    recipe = FORM.recipe(("whole_word", "sentence_order"))
    corpus = Corpus(path=next((tmp_path / "here" / "texts").iterdir()), digest=read_manifest(Path(alone.trunk)).data)
    cluster = ClusterConfig(workers=2, threads_per_worker=1)
    for workers in (1, 2):
        run = AdaptRun(
            trunk=str(tiny_trunk), corpus=corpus, recipe=recipe, storage=tmp_path / f"ray{workers}", workers=workers
        )
        trunk = adapt_on_ray(run, cluster=cluster)
        assert read_manifest(trunk).after["whole_word.loss"] == pytest.approx(
            alone.after["whole_word.loss"], rel=1e-3 if workers == 1 else 0.1
        )
        assert sorted(path.name for path in run.folder.iterdir()) == ["progress.jsonl", "trunk"]
        with monkeypatch.context() as patched:
            patched.setattr(trainer, "session", None)  # whoever starts Ray, fails
            assert adapt_on_ray(run, cluster=cluster) == trunk
    longer = replace(run, workers=1, recipe=replace(recipe, epochs=12), storage=tmp_path / "killed")

    def kill() -> None:
        until(lambda: len(lines(longer.folder)) >= 4, pause=0.02)
        os.kill(int(lines(longer.folder)[0]["pid"]), signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    adapt_on_ray(longer, cluster=cluster)
    thread.join()
    told = lines(longer.folder)
    resumed = [line for line in told if line["started_at_step"] > 0]
    assert resumed
    assert resumed[0]["step"] == resumed[0]["started_at_step"] + 3
    assert {line["step"] for line in told} == {*range(3, told[-1]["steps"], 3), told[-1]["steps"]}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")
def test_what_a_worker_refuses_is_raised_as_it_is(tmp_path: Path, tiny_trunk: Path) -> None:
    corpus = Corpus.write(Texts(["only a headline of words"] * 2, ["another headline of words"]), tmp_path)
    recipe = AdaptRecipe(objectives=("sentence_order",))
    run = AdaptRun(trunk=str(tiny_trunk), corpus=corpus, recipe=recipe, storage=tmp_path / "store")
    with pytest.raises(RecipeRefused, match="headlines alone"):
        adapt_on_ray(run, cluster=ClusterConfig(workers=1))


def test_a_trunk_is_copied_whole_and_replaces_nothing_else(tmp_path: Path, texts: Path, tiny_trunk: Path) -> None:
    done = adapt_into(
        tmp_path / "trunk",
        objectives=("mlm",),
        texts=TextsForm(files=[str(texts)], held_out_share=0.2),
        recipe=FORM,
        settings=load().model_copy(update={"home": tmp_path / "home"}),
        trunk=str(tiny_trunk),
        workers=0,
    )
    assert same_weights(Path(done.trunk), tmp_path / "trunk")
    copy_trunk(Path(done.trunk), tmp_path / "trunk")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(Fatal, match="holds no adapted trunk"):
        copy_trunk(Path(done.trunk), tmp_path / "mine")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def test_the_form_offers_every_objective_and_every_field_of_the_recipe() -> None:
    assert sorted(get_args(Objective)) == names()
    assert set(AdaptRecipeForm.model_fields) == set(AdaptRecipe.__dataclass_fields__) - {
        "objectives",
        "evaluation_pieces",
    }


def test_files_alone_leave_the_lake_out() -> None:
    assert TextsForm(files=["a.txt"]).source("lake").lake is None
    assert TextsForm().source("lake").lake == "lake"
    assert TextsForm(files=["a.txt"], lake="other").source("lake").lake == "other"


@pytest.mark.slow
def test_the_flow_leaves_its_trunk_where_it_was_told(
    tmp_path: Path, texts: Path, tiny_trunk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTDESK_HOME", str(tmp_path / "home"))
    with prefect_server():
        done = adapt_flow(
            objectives=("span", "span_boundary"),
            texts=TextsForm(files=[str(texts)], held_out_share=0.2),
            recipe=FORM,
            trunk=str(tiny_trunk),
            output=str(tmp_path / "trunk"),
            workers=0,
        )
    assert read_manifest(tmp_path / "trunk").after == done.after

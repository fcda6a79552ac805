"""Several bundles answer as one, in whatever order they are named; or become one by averaging their weights."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.special import softmax

from models.bundle import BundleRefused, load
from models.engine import Predictor
from models.ensemble import EnsembleRefused, build
from models.evaluation import evaluate
from models.jury import Jury
from models.recipe import Recipe, TaskData
from models.scoring import Scorer
from models.soup import soup
from models.training import fit

Data = dict[str, TaskData]
TEXTS = ["profit rises sharply", "Oslo and Acme", "the bank falls", "U.S. shares falls"]


@pytest.fixture(scope="module")
def members(
    tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    folder = tmp_path_factory.mktemp("members")
    recipes = [dataclasses.replace(tiny_recipe, epochs=12, seed=seed, word_shapes=seed != 2) for seed in range(3)]
    return [
        fit(trunk=str(tiny_trunk), data=tiny_data, recipe=recipe, output=folder / str(recipe.seed))
        for recipe in recipes
    ]


@pytest.fixture(scope="module")
def dev(unseen_data: Data) -> dict[str, list[object]]:
    return {task: list(parts.dev) for task, parts in unseen_data.items()}


@pytest.fixture(scope="module")
def ensemble(members: list[Path], dev: dict[str, list[object]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(members, tmp_path_factory.mktemp("together") / "ensemble", dev)


def _scores(bundle: Path, texts: list[str]) -> np.ndarray:
    scored = Scorer(load(bundle), token_budget=2048, max_windows=None).score(texts)
    return np.stack([one.probabilities["sentiment"] for one in scored])


def test_its_probabilities_are_the_mean_of_its_members(members: list[Path], ensemble: Path) -> None:
    mean = np.mean([_scores(member, TEXTS) for member in members], axis=0)
    by_hand = softmax(np.log(mean) / load(ensemble).manifest.temperatures["sentiment"], axis=1)
    assert _scores(ensemble, TEXTS) == pytest.approx(by_hand, abs=1e-6)


def test_its_words_have_the_mean_of_its_members_calibrated_probabilities(
    members: list[Path], ensemble: Path, tiny_data: Data
) -> None:
    from models.evaluation import speaker

    examples = list(tiny_data["ner"].dev)
    *each, together = (speaker(load(path), "ner")(examples).logits for path in (*members, ensemble))
    temperatures = [load(path).manifest.temperatures["ner"] for path in members]
    for *ours, joint in zip(*each, together, strict=True):
        mean = np.mean([softmax(one / t, axis=1) for one, t in zip(ours, temperatures, strict=True)], axis=0)
        assert softmax(joint, axis=1) == pytest.approx(mean, abs=1e-6)


def test_the_order_of_its_members_changes_nothing(
    members: list[Path], ensemble: Path, dev: dict[str, list[object]], tmp_path: Path
) -> None:
    again = build(list(reversed(members)), tmp_path / "again", dev)
    assert load(again).digest == load(ensemble).digest


def test_it_is_measured_scored_and_moved_like_any_bundle(ensemble: Path, tiny_data: Data, tmp_path: Path) -> None:
    moved = load(shutil.copytree(ensemble, tmp_path / "moved"))
    assert moved.heads == ("ner", "sentiment")
    assert evaluate(moved.path, "ner", tiny_data["ner"].dev, allow_overlap=True).f1 >= 0.8
    assert len(moved.training_texts("ner")) == 10
    found = Predictor([moved]).predict(pa.table({"id": [1], "title": ["profit rises"], "body": ["the city of Oslo"]}))
    assert found.articles.num_rows == 1
    assert isinstance(moved.network(), Jury)


def test_a_changed_member_is_refused(ensemble: Path, members: list[Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(ensemble, tmp_path / "copy"))
    first, second = (copy / name for name in load(ensemble).manifest.members[:2])
    shutil.rmtree(first)
    shutil.copytree(second, first)
    with pytest.raises(BundleRefused, match="the manifest states"):
        load(copy)


def test_bundles_that_cannot_answer_together_are_refused(
    members: list[Path],
    ensemble: Path,
    dev: dict[str, list[object]],
    tmp_path: Path,
    tiny_data: Data,
    tiny_trunk: Path,
    tiny_recipe: Recipe,
) -> None:
    with pytest.raises(EnsembleRefused, match="none of them twice"):
        build([members[0], members[0]], tmp_path / "e", dev)
    with pytest.raises(EnsembleRefused, match="is an ensemble itself"):
        build([members[0], ensemble], tmp_path / "e", dev)
    recipe = dataclasses.replace(tiny_recipe, epochs=1, max_length=24)
    other = fit(trunk=str(tiny_trunk), data={"ner": tiny_data["ner"]}, recipe=recipe, output=tmp_path / "other")
    with pytest.raises(EnsembleRefused, match="differ in labels, max_length"):
        build([members[0], other], tmp_path / "e", dev)


def test_a_soup_of_equal_bundles_is_that_bundle(
    members: list[Path], dev: dict[str, list[object]], tmp_path: Path
) -> None:
    same = load(soup([members[0]] * 3, tmp_path / "soup", dev))
    before, after = load(members[0]).network().state_dict(), same.network().state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert same.manifest.temperatures == pytest.approx(load(members[0]).manifest.temperatures)


def test_a_soup_is_the_mean_of_its_weights_and_other_shapes_are_refused(
    members: list[Path], dev: dict[str, list[object]], tmp_path: Path
) -> None:
    mean = load(soup(members[:2], tmp_path / "soup", dev)).network().state_dict()
    ours = [load(path).network().state_dict() for path in members[:2]]
    for name, value in mean.items():
        torch.testing.assert_close(value, (ours[0][name] + ours[1][name]) / 2)
    with pytest.raises(EnsembleRefused, match="built differently"):
        soup([members[0], members[2]], tmp_path / "no", dev)


def test_bundles_of_different_pooling_make_no_soup(
    members: list[Path],
    dev: dict[str, list[object]],
    tiny_trunk: Path,
    tiny_data: Data,
    tiny_recipe: Recipe,
    tmp_path: Path,
) -> None:
    recipe = dataclasses.replace(tiny_recipe, epochs=1, pooling="cls")
    other = fit(trunk=str(tiny_trunk), data=tiny_data, recipe=recipe, output=tmp_path / "other")
    with pytest.raises(EnsembleRefused, match=r"pooling '(cls|mean)', .* '(cls|mean)'"):
        soup([members[0], other], tmp_path / "no", dev)

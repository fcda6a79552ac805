"""Several bundles in one Predictor: those that share a trunk share its pass."""

import dataclasses
from pathlib import Path

import pytest

from models.bundle import BundleRefused, load, save
from models.engine import Predictor
from models.recipe import Recipe, TaskData
from models.training import fit
from tests.models.tables import TEXTS, table_of


@pytest.fixture(scope="module")
def predictor(tiny_bundle: Path) -> Predictor:
    return Predictor([tiny_bundle])


def test_bundles_that_share_a_trunk_share_its_pass(
    tiny_bundle: Path, predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load(tiny_bundle)
    apart = []
    for task in whole.heads:
        network = whole.network()
        del network.heads[next(other for other in whole.heads if other != task)]
        manifest = dataclasses.replace(whole.manifest, labels={task: whole.labels[task]})
        save(tmp_path / task, network=network, encoder=whole.encoder(), manifest=manifest, training_texts={})
        apart.append(tmp_path / task)
    shared = Predictor(apart)
    assert len(shared._scorers) == 1
    assert shared.tasks == predictor.tasks
    assert shared.digest == Predictor(apart[::-1]).digest != predictor.digest
    found, expected = shared.predict(table_of(TEXTS)), predictor.predict(table_of(TEXTS))
    assert found.articles.equals(expected.articles)
    assert found.mentions.equals(expected.mentions)


def test_bundles_of_different_trunks_share_only_what_comes_before(
    tiny_bundle: Path, tiny_trunk: Path, tiny_recipe: Recipe, tiny_data: dict[str, TaskData], tmp_path: Path
) -> None:
    recipe = dataclasses.replace(tiny_recipe, epochs=1)
    both = [
        fit(trunk=str(tiny_trunk), data={task: parts}, recipe=recipe, output=tmp_path / task)
        for task, parts in tiny_data.items()
    ]
    predictor = Predictor(both)
    assert (len(predictor._scorers), len(predictor._readers)) == (2, 1)


def test_one_bundle_a_task_scores_as_well_and_two_of_one_task_are_refused(
    tiny_bundle: Path, tiny_trunk: Path, tiny_recipe: Recipe, tiny_data: dict[str, TaskData], tmp_path: Path
) -> None:
    both = {
        task: fit(trunk=str(tiny_trunk), data={task: parts}, recipe=tiny_recipe, output=tmp_path / task)
        for task, parts in tiny_data.items()
    }
    apart = Predictor([both["ner"], both["sentiment"]])
    assert apart.tasks == ("ner", "sentiment")
    assert apart.digest == Predictor([both["sentiment"], both["ner"]]).digest != Predictor([tiny_bundle]).digest
    found = apart.predict(table_of(["profit rises sharply", "Oslo and Acme"]))
    assert found.articles.num_rows == 2
    assert found.mentions.column("text").to_pylist() == ["Oslo", "Acme"]
    names_only = Predictor([both["ner"]]).predict(table_of(["profit rises"]))
    assert names_only.articles.column("sentiment").to_pylist() == [None]
    with pytest.raises(BundleRefused, match=r"twice: \['ner'\]"):
        Predictor([tiny_bundle, both["ner"]])
    with pytest.raises(BundleRefused, match="none"):
        Predictor([])

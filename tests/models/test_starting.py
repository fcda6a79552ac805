"""A training starts from a trunk, a part of one, or what has learnt already."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.bundle import load
from models.calibrating import DevMissing
from models.compress.pruning import PruningRefused
from models.compress.structured import prune_structured
from models.encoder import TrunkRefused
from models.fitting import Fitting
from models.heads import HeadOptions
from models.recipe import Recipe, TaskData
from models.starting import begin, fingerprint
from models.training import fit, identity

Data = dict[str, TaskData]
OPTIONS = HeadOptions(dropout=0.0)


def test_a_trunk_is_cut_to_evenly_spread_layers_with_the_highest_among_them(tiny_trunk: Path) -> None:
    whole = begin(str(tiny_trunk), ("ner",), OPTIONS, word_shapes=False).network
    cut = begin(f"layers:1@{tiny_trunk}", ("ner",), OPTIONS, word_shapes=False).network
    assert (len(whole.trunk.layers()), len(cut.trunk.layers())) == (2, 1)
    top, only = (network.trunk.layers()[-1].state_dict() for network in (whole, cut))
    assert all(torch.equal(top[name], only[name]) for name in top)


def test_a_bundle_goes_on_with_its_own_heads_and_remembers_what_it_learnt(
    tiny_bundle: Path, unseen_data: Data, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    part = {"ner": TaskData(unseen_data["ner"].train[:2], unseen_data["ner"].dev)}
    recipe = dataclasses.replace(tiny_recipe, epochs=1, learning_rate=1e-9)
    again = load(fit(trunk=str(tiny_bundle), data=part, recipe=recipe, output=tmp_path / "again"))
    assert again.metrics["ner"]["micro_f1"] == 1.0
    assert again.heads == ("ner",)
    assert load(tiny_bundle).learnt() <= again.learnt()


@pytest.mark.parametrize("part", ["layers:1@", "bilstm@", "layers:1@layers:2@"])
def test_a_part_of_a_bundle_remembers_what_the_bundle_learnt(part: str, tiny_bundle: Path) -> None:
    start = begin(f"{part}{tiny_bundle}", ("ner",), OPTIONS, word_shapes=True)
    assert start.learnt == load(tiny_bundle).learnt() != frozenset()


def test_dropout_is_the_recipes_when_a_bundle_goes_on(tiny_bundle: Path) -> None:
    network = begin(str(tiny_bundle), ("ner",), HeadOptions(dropout=0.3), word_shapes=True).network
    rates = {module.p for module in network.modules() if isinstance(module, torch.nn.Dropout)}
    assert rates == {0.3}


@pytest.mark.parametrize(("name", "match"), [("layers:3", "1 to 2"), ("layers:0", "1 to 2"), ("bilstm:2", "no trunk")])
def test_what_cannot_be_started_from_is_refused(name: str, match: str, tiny_trunk: Path) -> None:
    with pytest.raises(TrunkRefused, match=match):
        begin(f"{name}@{tiny_trunk}", ("ner",), OPTIONS, word_shapes=False)


def test_dev_texts_that_were_learnt_before_choose_nothing(
    tiny_bundle: Path,
    tiny_data: Data,
    unseen_data: Data,
    tiny_recipe: Recipe,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of ten dev texts three are new; the figures are those of the three, and with none a training is refused."""
    recipe = dataclasses.replace(tiny_recipe, epochs=1, learning_rate=1e-9)
    known, new = tiny_data["ner"].dev, unseen_data["ner"].dev

    def start(dev: list[object]) -> Fitting:
        return Fitting.start(
            trunk=str(tiny_bundle), data={"ner": TaskData(known[:2], dev)}, recipe=recipe, output=tmp_path / "again",
            rank=0, world=1, wrap=identity, allow_hub=False,
        )  # fmt: skip

    fitting = start([*known[:7], *new[7:]])
    assert fitting.data["ner"].dev == tuple(new[7:])
    assert fitting.evaluation("ner").n == 3
    assert "7 of 10 dev examples were learnt before" in caplog.text
    with pytest.raises(DevMissing, match="all 10 dev examples for ner"):
        start(list(known))


@pytest.mark.parametrize("part", ["", "layers:1@"])
@pytest.mark.parametrize(
    ("options", "word_shapes", "match"),
    [
        (OPTIONS, False, "word_shapes False, .* has learnt with True"),
        (HeadOptions(dropout=0.0, pooling="cls"), True, "pooling 'cls', .* has learnt with 'mean'"),
    ],
)
def test_a_recipe_that_reads_otherwise_than_the_bundle_has_learnt_to_is_refused(
    options: HeadOptions, word_shapes: bool, match: str, part: str, tiny_bundle: Path
) -> None:
    with pytest.raises(TrunkRefused, match=match):
        begin(f"{part}{tiny_bundle}", ("sentiment",), options, word_shapes=word_shapes)


def test_layers_of_a_bundle_take_its_word_shapes_and_new_heads(tiny_bundle: Path) -> None:
    whole = load(tiny_bundle).network()
    part = begin(f"layers:1@{tiny_bundle}", ("ner",), OPTIONS, word_shapes=True).network
    assert part.trunk.shapes is not None
    assert whole.trunk.shapes is not None
    assert torch.equal(part.trunk.shapes.weight, whole.trunk.shapes.weight)
    assert part.trunk.shapes.weight.any()
    ours, theirs = part.head("ner").state_dict(), whole.head("ner").state_dict()
    assert any(not torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_learnt_prefix_is_neither_gone_on_with_nor_pruned(
    tiny_trunk: Path, unseen_data: Data, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(tiny_recipe, epochs=1, tuning="prefix")
    data = {"sentiment": unseen_data["sentiment"]}
    bundle = fit(trunk=str(tiny_trunk), data=data, recipe=recipe, output=tmp_path / "prefix")
    for name in (str(bundle), f"layers:1@{bundle}"):
        with pytest.raises(TrunkRefused, match="learnt prefix"):
            begin(name, ("sentiment",), OPTIONS, word_shapes=True)
    with pytest.raises(PruningRefused, match="learnt prefix"):
        prune_structured(bundle, tmp_path / "pruned", {}, {"sentiment": list(unseen_data["sentiment"].dev)}, share=0.3)


def test_a_directory_stands_for_the_weights_that_lie_there_now(tiny_trunk: Path, tmp_path: Path) -> None:
    trunk = tmp_path / "trunk"
    shutil.copytree(tiny_trunk, trunk)
    names = [str(trunk), f"layers:1@{trunk}", f"bilstm@{trunk}", "minilm"]
    before = [fingerprint(name) for name in names]
    assert before == [fingerprint(name) for name in names]
    weights = next(trunk.glob("*.safetensors"))
    save_file({name: tensor + 1 for name, tensor in load_file(weights).items()}, weights, metadata={"format": "pt"})
    assert [a == b for a, b in zip(before, map(fingerprint, names), strict=True)] == [False, False, False, True]

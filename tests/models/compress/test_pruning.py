"""Weights left out stay left out, and heads and neurons left out make the matrices smaller."""

import dataclasses
from pathlib import Path

import pytest
import torch

from models.bundle import load
from models.calibrating import DevMissing
from models.compress.magnitude import prune_magnitude, sparsity
from models.compress.pruning import PruningRefused
from models.compress.report import compare
from models.compress.structured import kept, prune_structured
from models.encoder import Encoder, load_trunk
from models.heads import HeadOptions
from models.narrow import bert_layers
from models.network import Network, Trunk
from models.recipe import Recipe, RecipeRefused, TaskData
from models.training import fit
from models.tuning import prepare

Data = dict[str, TaskData]


@pytest.fixture(scope="module")
def dev(unseen_data: Data) -> dict[str, list[object]]:
    return {task: list(parts.dev) for task, parts in unseen_data.items()}


def test_the_zeros_stay_while_the_rest_learns_again(
    tiny_bundle: Path, unseen_data: Data, tiny_recipe: Recipe, dev: dict[str, list[object]], tmp_path: Path
) -> None:
    pruned = prune_magnitude(tiny_bundle, tmp_path / "pruned", dev, share=0.5)
    recipe = dataclasses.replace(tiny_recipe, epochs=8, weight_decay=0.1)
    again = fit(trunk=str(pruned), data=unseen_data, recipe=recipe, output=tmp_path / "again")
    networks = [load(path).network().trunk.encoder for path in (tiny_bundle, pruned, again)]
    shares = [sparsity(network) for network in networks]
    assert shares == pytest.approx([0.0, 0.5, 0.5], abs=1e-3)
    before, after = (dict(network.named_parameters()) for network in networks[1:])
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert moved
    assert all(not after[name][before[name] == 0].any() for name in before if before[name].ndim == 2)
    assert min(load(again).metrics[task][name] for task, name in (("ner", "micro_f1"), ("sentiment", "macro_f1"))) > 0.9


@pytest.mark.parametrize("tuning", ["lora", "adalora", "ia3"])
def test_a_tuning_that_would_fill_the_zeros_is_refused(tuning: str, tiny_trunk: Path, tiny_recipe: Recipe) -> None:
    encoder = Encoder.from_directory(tiny_trunk)
    network = Network(Trunk(load_trunk(tiny_trunk), word_shapes=False), ("ner",), HeadOptions(dropout=0.0))
    network.trunk.encoder.config.sparsity = 0.5  # type: ignore[union-attr]
    with pytest.raises(RecipeRefused, match=rf"{tuning}.*sparsity 0.5.*allowed for it: full, bitfit"):
        prepare(network, encoder, dataclasses.replace(tiny_recipe, tuning=tuning))


def test_heads_and_neurons_go_and_the_file_gets_smaller(
    tiny_bundle: Path, unseen_data: Data, tiny_recipe: Recipe, dev: dict[str, list[object]], tmp_path: Path
) -> None:
    train = {task: parts.train for task, parts in unseen_data.items()}
    pruned = prune_structured(tiny_bundle, tmp_path / "pruned", train, dev, share=0.4)
    recipe = dataclasses.replace(tiny_recipe, epochs=10)
    again = fit(trunk=str(pruned), data=unseen_data, recipe=recipe, output=tmp_path / "again")
    layers = bert_layers(load(again).network().trunk.encoder)
    assert sum(layer.output.dense.in_features for layer in layers) == 128 - round(0.4 * 128)
    assert sum(layer.attention.self.num_attention_heads for layer in layers) == 4 - round(0.4 * 4)
    report = compare(tiny_bundle, again, dev)
    assert report.after.parameters < report.before.parameters
    assert report.after.bytes < report.before.bytes
    assert report.f1_change["ner"] > -0.1
    assert "times as fast" in report.sentence()
    assert report.after.tokens_per_second > 0


def test_what_matters_least_is_cut_wherever_it_is() -> None:
    importances = [torch.tensor([3.0, 0.1, 4.0]), torch.tensor([0.2, 5.0, 0.1])]
    assert kept(importances, share=0.5, least=1) == [[0, 2], [1]]
    assert kept(importances, share=0.99, least=1) == [[2], [1]]


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_a_share_out_of_range_is_refused(
    share: float, tiny_bundle: Path, dev: dict[str, list[object]], tmp_path: Path
) -> None:
    with pytest.raises(PruningRefused, match="above 0 and below 1"):
        prune_magnitude(tiny_bundle, tmp_path / "pruned", dev, share=share)


def test_a_task_without_dev_examples_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(DevMissing, match="no dev examples for sentiment"):
        prune_magnitude(tiny_bundle, tmp_path / "pruned", {"ner": load(tiny_bundle).manifest.files and [1]}, share=0.5)

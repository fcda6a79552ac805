"""Each layer learns at the rate that its height gives it."""

import dataclasses
from pathlib import Path

import pytest

from models.items import head_options
from models.optimiser import make_optimiser
from models.recipe import Recipe, RecipeRefused, TaskData
from models.starting import begin

Data = dict[str, TaskData]


def rates(trunk: Path, data: Data, recipe: Recipe) -> dict[str, tuple[float, float]]:
    """Rate and weight decay of each parameter by name."""
    network = begin(str(trunk), tuple(data), head_options(data, recipe), word_shapes=True).network
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in make_optimiser(network, recipe).param_groups
        for parameter in group["params"]
    }


def test_rates_fall_from_layer_to_layer(tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe) -> None:
    recipe = dataclasses.replace(
        tiny_recipe, learning_rate=1.0, layer_decay=0.5, head_rate_factor=3.0, shape_rate_factor=5.0
    )
    found = rates(tiny_trunk, tiny_data, recipe)
    layer = "trunk.encoder.encoder.layer.{}.output.dense.weight"
    assert found[layer.format(1)] == (1.0, 0.01)
    assert found[layer.format(0)] == (0.5, 0.01)
    assert found["trunk.encoder.encoder.layer.0.output.dense.bias"] == (0.5, 0.0)
    assert found["trunk.encoder.embeddings.word_embeddings.weight"] == (0.25, 0.01)
    assert found["trunk.encoder.embeddings.LayerNorm.weight"] == (0.25, 0.0)
    assert found["heads.ner.linear.weight"] == (3.0, 0.01)
    assert found["trunk.shapes.weight"] == (5.0, 0.0)


def test_without_decay_the_trunk_learns_at_one_rate(tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe) -> None:
    found = rates(tiny_trunk, tiny_data, dataclasses.replace(tiny_recipe, learning_rate=1.0))
    assert {rate for name, (rate, _) in found.items() if name.startswith("trunk.encoder.")} == {1.0}


@pytest.mark.parametrize(
    "wrong",
    [
        {"layer_decay": 0.0},
        {"layer_decay": 1.1},
        {"batch_tokens": -1},
        {"checkpoint_steps": -1},
        {"averaging": "median"},
        {"ema_decay": 1.0},
        {"r_drop": -1.0},
        {"negative_share": 1.5},
        {"augment": {"translate": 0.1}},
        {"augment": {"swap": 1.1}},
    ],
)
def test_an_impossible_lever_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(RecipeRefused, match="allowed is"):
        Recipe(**wrong)  # type: ignore[arg-type]

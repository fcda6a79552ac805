"""The faster dropout drops as torch's does, and attention spelt out says what fused attention says."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from models.bundle import load
from models.dropout import Dropout, masked
from models.fitting import Fitting
from models.stepping import loss_of
from models.training import Recipe, TaskData, identity

Data = dict[str, TaskData]


def start(trunk: Path, data: Data, recipe: Recipe, output: Path) -> Fitting:
    return Fitting.start(
        trunk=str(trunk), data=data, recipe=recipe, output=output, rank=0, world=1, wrap=identity, allow_hub=False
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_so_many_are_dropped_and_the_rest_makes_up_for_them(share: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    found = masked(torch.ones(1000, 1003, dtype=dtype), share)
    assert (found == 0).double().mean().item() == pytest.approx(share, abs=2e-3)
    assert found.max().item() == pytest.approx(1 / (1 - share), rel=5e-3)
    assert set(found.unique().tolist()) == {0.0, found.max().item()}
    columns = (found == 0).double().mean(dim=0)  # no place is favoured
    assert columns.min() > share - 0.08
    assert columns.max() < share + 0.08


def test_the_generator_decides_and_evaluation_drops_nothing() -> None:
    layer, values = Dropout(0.3), torch.randn(7, 5)
    torch.manual_seed(3)
    first = layer(values)
    torch.manual_seed(3)
    assert torch.equal(layer(values), first)
    assert not torch.equal(layer(values), first)
    assert layer.eval()(values) is values


def test_the_gradient_passes_where_values_do() -> None:
    values = torch.randn(50, requires_grad=True)
    torch.manual_seed(1)
    kept = masked(values, 0.4)
    kept.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, torch.where(kept == 0, 0.0, 1 / 0.6))


@pytest.mark.parametrize("quick", [False, True])
def test_attention_spelt_out_says_what_fused_attention_says(
    quick: bool, tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    """Under dropout too, from the same draws, as long as they are torch's."""
    recipe = dataclasses.replace(tiny_recipe, dropout=0.0 if quick else 0.1, quick_dropout=quick)
    fitting = start(tiny_trunk, tiny_data, recipe, tmp_path / "b")
    fitting.network.train()

    def losses() -> list[float]:
        torch.manual_seed(2)
        return [loss_of(fitting, task, fitting.items[task][:5]).item() for task in tiny_data]

    spelt_out = losses()
    encoder = fitting.network.trunk.encoder
    encoder.set_attn_implementation("sdpa")  # type: ignore[operator]
    assert losses() == pytest.approx(spelt_out, abs=1e-5)


def test_ten_examples_are_learnt_by_heart_and_the_bundle_knows_nothing_of_it(
    tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(tiny_recipe, dropout=0.1, quick_dropout=True, epochs=40)
    fitting = start(tiny_trunk, tiny_data, recipe, tmp_path / "b")
    assert {type(one) for one in fitting.network.heads["ner"].modules() if isinstance(one, nn.Dropout)} == {Dropout}
    while not fitting.finished:
        fitting.epoch()
    fitting.save()
    network = load(tmp_path / "b").network()
    assert not any(isinstance(one, Dropout) for one in network.modules())
    assert fitting.best == 1.0
    assert "spelt_out" not in (tmp_path / "b" / "trunk" / "config.json").read_text()
    assert "eager" not in (tmp_path / "b" / "trunk" / "config.json").read_text()

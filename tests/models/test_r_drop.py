"""R-Drop against a hand computation, for heads of every shape."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from models.fitting import Fitting
from models.r_drop import divergence
from models.stepping import loss_of
from models.training import Recipe, RecipeRefused, TaskData, identity

Data = dict[str, TaskData]


def start(trunk: Path, data: Data, recipe: Recipe, output: Path) -> Fitting:
    return Fitting.start(
        trunk=str(trunk), data=data, recipe=recipe, output=output, rank=0, world=1, wrap=identity, allow_hub=False
    )


def kl(p: np.ndarray, q: np.ndarray) -> float:
    return float((p * np.log(p / q)).sum())


def test_divergence_is_half_of_both_ways_together() -> None:
    p, q = np.array([0.7, 0.2, 0.1]), np.array([0.5, 0.25, 0.25])
    logits = torch.tensor(np.log([p, q]), dtype=torch.float32)
    found = divergence(logits, torch.tensor([True]), groups=(3,))
    assert found.item() == pytest.approx((kl(p, q) + kl(q, p)) / 2, abs=1e-6)


def test_sigmoids_diverge_each_for_itself() -> None:
    p, q = np.array([0.9, 0.3]), np.array([0.6, 0.5])
    logits = torch.tensor(np.log([p / (1 - p), q / (1 - q)]), dtype=torch.float32)
    each = [np.array([[x, 1 - x], [y, 1 - y]]) for x, y in zip(p, q, strict=True)]
    expected = sum((kl(a, b) + kl(b, a)) / 2 for a, b in each)
    assert divergence(logits, torch.tensor([True]), groups=(1, 1)).item() == pytest.approx(expected, abs=1e-6)


def test_rows_without_a_target_are_not_counted() -> None:
    logits = torch.randn(4, 5, 6)
    counted = torch.zeros(2, 5, dtype=torch.bool)
    counted[0, 1] = counted[1, 3] = True
    one = divergence(logits[:, 1:2], counted[:, 1:2], groups=(3, 3))
    other = divergence(logits[:, 3:4], counted[:, 3:4], groups=(3, 3))
    assert divergence(logits, counted, groups=(3, 3)).item() == pytest.approx((one.item() + other.item()) / 2)
    assert divergence(logits, torch.zeros_like(counted), groups=(3, 3)).item() == 0.0


@pytest.mark.parametrize("task", ["sentiment", "ner"])
def test_the_loss_is_that_of_both_passes_and_their_divergence(
    task: str, tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(tiny_recipe, dropout=0.1, r_drop=3.0)
    fitting = start(tiny_trunk, {task: tiny_data[task]}, recipe, tmp_path / "b")
    items = fitting.items[task][:3]
    fitting.network.train()

    def loss(weight: float) -> torch.Tensor:
        torch.manual_seed(5)
        fitting.recipe = dataclasses.replace(recipe, r_drop=weight)
        return loss_of(fitting, task, items)

    small, large = loss(1e-9).item(), loss(3.0).item()
    assert large > small
    assert loss(6.0).item() - small == pytest.approx(2 * (large - small), rel=1e-4)
    fitting.network.eval()  # without dropout both passes are one, and the loss is the plain one
    assert loss(3.0).item() == pytest.approx(loss(0.0).item(), rel=1e-5)


def test_ten_examples_are_learnt_by_heart(
    tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(tiny_recipe, dropout=0.1, r_drop=1.0, epochs=40)
    fitting = start(tiny_trunk, tiny_data, recipe, tmp_path / "b")
    while not fitting.finished:
        fitting.epoch()
    assert fitting.best == 1.0


def test_without_dropout_there_is_nothing_to_agree_on() -> None:
    with pytest.raises(RecipeRefused, match="dropout > 0"):
        Recipe(r_drop=1.0, dropout=0.0)

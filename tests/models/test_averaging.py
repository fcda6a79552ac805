"""Averaged weights, held against a hand computation, and what is measured and saved."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import nn

from models.averaging import Averaged
from models.bundle import load
from models.evaluation import evaluate
from models.fitting import Fitting
from models.training import Recipe, TaskData, fit, identity

Data = dict[str, TaskData]


def walk(kind: str, values: list[float], *, decay: float = 0.9) -> tuple[Averaged, nn.Linear]:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, values[0])
    averaged = Averaged(network, kind=kind, ema_decay=decay)
    for step, value in enumerate(values[1:], start=1):
        nn.init.constant_(network.weight, value)
        averaged.update(step=step, total=len(values) - 1)
    return averaged, network


def test_ema_is_the_recurrence_with_its_warm_start() -> None:
    values = [float(number * number) for number in range(40)]
    mean = values[0]
    for number, value in enumerate(values[1:]):
        decay = min(0.5, (1 + number) / (10 + number))
        mean = decay * mean + (1 - decay) * value
    averaged, _ = walk("ema", values, decay=0.5)
    assert averaged.weights["weight"].item() == pytest.approx(mean)


def test_swa_is_the_plain_mean_of_the_last_quarter() -> None:
    values = [float(number * number) for number in range(41)]  # 40 steps; the mean takes in 31 to 40
    averaged, _ = walk("swa", values)
    assert averaged.count == 10
    assert averaged.weights["weight"].item() == pytest.approx(sum(values[31:]) / 10)


def test_the_ends_of_epochs_are_averaged_from_the_one_that_is_named() -> None:
    network = nn.Linear(1, 1, bias=False)
    averaged = Averaged(network, kind="epochs", ema_decay=0.9)
    for epoch in range(1, 6):
        nn.init.constant_(network.weight, float(epoch * epoch))
        averaged.update(step=epoch, total=5)
        averaged.end_epoch(epoch=epoch, first=3)
    assert averaged.weights["weight"].item() == pytest.approx((9 + 16 + 25) / 3)


def test_none_averages_nothing() -> None:
    averaged, network = walk("none", [1.0, 2.0, 3.0])
    with averaged.applied():
        assert network.weight.item() == 3.0
    assert averaged.weights == {}


def test_the_mean_stands_in_the_network_for_a_while_only() -> None:
    averaged, network = walk("swa", [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    with averaged.applied():
        assert network.weight.item() == pytest.approx(7.5)
    assert network.weight.item() == 8.0
    assert averaged.weights["weight"].item() == pytest.approx(7.5)


def test_what_does_not_learn_is_not_averaged() -> None:
    network = nn.Linear(1, 1)
    network.bias.requires_grad_(requires_grad=False)
    assert list(Averaged(network, kind="ema", ema_decay=0.9).weights) == ["weight"]


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_the_average_is_measured_and_saved_and_the_training_goes_on_beside_it(
    kind: str, tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(tiny_recipe, averaging=kind, epochs=20)
    data = {"sentiment": tiny_data["sentiment"]}
    fitting = Fitting.start(
        trunk=str(tiny_trunk),
        data=data,
        recipe=recipe,
        output=tmp_path / "bundle",
        rank=0,
        world=1,
        wrap=identity,
        allow_hub=False,
    )
    while not fitting.finished:
        before = {name: value.clone() for name, value in fitting.network.state_dict().items()}
        fitting.epoch()
    assert any(not torch.equal(before[name], value) for name, value in fitting.network.state_dict().items())
    assert fitting.averaged.count == {"ema": 40, "swa": 10}[kind]
    with fitting.averaged.applied():
        mean = {name: value.clone() for name, value in fitting.network.state_dict().items()}
    if fitting.best_epoch == 20:
        assert all(torch.equal(mean[name], value) for name, value in fitting.best_weights.items())
    fitting.save()
    assert load(tmp_path / "bundle").metrics["sentiment"]["macro_f1"] == pytest.approx(fitting.best)


def test_ten_examples_are_learnt_by_heart_by_the_average(
    tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(tiny_recipe, averaging="ema", epochs=40)
    output = fit(trunk=str(tiny_trunk), data={"ner": tiny_data["ner"]}, recipe=recipe, output=tmp_path / "bundle")
    assert evaluate(output, "ner", tiny_data["ner"].train, allow_overlap=True).f1 == 1.0

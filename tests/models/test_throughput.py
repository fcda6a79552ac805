"""Tokens a second and model FLOPs utilisation are of the tokens that are learnt from, whatever was computed besides."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from models import throughput
from models.bundle import load
from models.fitting import Fitting
from models.recipe import Recipe, TaskData
from models.rows import learn_rows
from models.schedule import epoch_steps, share
from models.throughput import Cost, Throughput, matrix_peak
from models.training import Progress, fit, identity

HIDDEN, INNER, LAYERS = 32, 64, 2  # of the tiny trunk


def test_the_cost_is_that_of_the_published_formula(tiny_bundle: Path) -> None:
    network = load(tiny_bundle).network().train()
    network.requires_grad_(requires_grad=True)
    trunk = LAYERS * (4 * HIDDEN * HIDDEN + 2 * HIDDEN * INNER)
    heads = sum(one.numel() for one in network.heads.parameters() if one.ndim > 1)
    cost = Cost.of(network)
    assert cost == Cost(6 * (trunk + heads), 12 * LAYERS * HIDDEN)
    assert cost.flops([3, 5]) == cost.per_token * 8 + cost.per_pair * (9 + 25)
    assert Cost.of(network, passes=2).flops([3, 5]) == 2 * cost.flops([3, 5])
    learn_rows(network.trunk.encoder, [np.asarray([5, 6])])
    assert Cost.of(network) == cost
    network.trunk.requires_grad_(requires_grad=False)
    assert Cost.of(network).per_token == 2 * trunk + 6 * heads


def test_throughputs_add_up_and_say_nothing_of_no_step() -> None:
    one = Throughput(tokens=100, flops=1e9, seconds=2.0, possible=4e9)
    both = one + Throughput(tokens=50, flops=1e9, seconds=1.0, possible=4e9)
    assert both.figures() == {"tokens_per_second": 50.0, "flops_utilisation": 0.25}
    assert Throughput().figures() == {}


def test_the_peak_is_measured_once() -> None:
    given = ("cpu", torch.float32, torch.get_num_threads())
    assert 1e9 < matrix_peak(*given) == matrix_peak(*given)


def test_slow_arithmetic_is_measured_as_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a product of the first side takes long already, no larger one is tried."""
    clock, sides = [0.0], list[int]()

    def seconds(given: torch.Tensor, _weight: torch.Tensor, products: int) -> float:
        sides.append(len(given))
        clock[0] += products * 2 * len(given) ** 3 / 4e8
        return products * 2 * len(given) ** 3 / 4e8

    monkeypatch.setattr(throughput, "_seconds", seconds)
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: clock[0])
    assert matrix_peak.__wrapped__("cpu", torch.bfloat16, 1) == pytest.approx(4e8)
    assert set(sides) == {192}
    assert clock[0] < 0.6


@pytest.mark.parametrize("checkpoint_steps", [0, 1])
def test_every_epoch_tells_its_real_tokens(
    checkpoint_steps: int, tiny_trunk: Path, tiny_data: dict[str, TaskData], tiny_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(tiny_recipe, epochs=2, checkpoint_steps=checkpoint_steps)
    seen: list[Progress] = []
    fit(
        trunk=str(tiny_trunk),
        data=tiny_data,
        recipe=recipe,
        output=tmp_path / "b",
        on_epoch=lambda progress, _: seen.append(progress),
    )
    fitting = Fitting.start(
        trunk=str(tiny_trunk),
        data=tiny_data,
        recipe=recipe,
        output=tmp_path / "c",
        rank=0,
        world=1,
        wrap=identity,
        allow_hub=False,
    )
    tokens = sum(item.length for some in fitting.items.values() for item in some)
    assert [progress.throughput.tokens for progress in seen] == [tokens, tokens]
    for progress in seen:
        figures = progress.throughput.figures()
        assert figures["tokens_per_second"] > 0
        assert 0 < figures["flops_utilisation"] < 1


@pytest.mark.parametrize("batch_tokens", [0, 1024])
@pytest.mark.parametrize("world", [2, 3, 4])
def test_ranks_learn_from_nearly_as_many_tokens_in_every_step(world: int, batch_tokens: int) -> None:
    """Lengths as of financial sentences: a mean of 28 tokens, and a long tail."""
    lengths = np.random.default_rng(0).lognormal(3.2, 0.5, 3_000).round().astype(int).clip(4, 256).tolist()
    steps = epoch_steps({"sentiment": lengths}, batch_size=32, batch_tokens=batch_tokens, seed=0, epoch=0)
    tokens = np.asarray(
        [
            [
                sum(
                    lengths[index] for part in share(step.items, rank=rank, world=world, accumulate=2) for index in part
                )
                for rank in range(world)
            ]
            for step in steps
        ]
    )
    assert (
        tokens.max(axis=1).sum() / tokens.mean(axis=1).sum()
    ) < 1.08  # a step of some 35 examples is not shared by four more evenly

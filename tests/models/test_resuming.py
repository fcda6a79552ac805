"""A training that stops within an epoch and is gone on with takes the steps that one never stopped takes, to the bit."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.bundle import load
from models.checkpoint import CheckpointRefused, reached, standing
from models.schedule import epoch_steps
from models.training import Progress, Recipe, TaskData, fit

Data = dict[str, TaskData]

EVERYTHING: dict[str, Any] = {
    "layer_decay": 0.9,
    "r_drop": 0.5,
    "averaging": "ema",
    "augment": {"insert": 0.3, "swap": 0.3, "delete": 0.3, "entity": 0.3},
    "negative_share": 0.7,
    "auxiliary_epochs": 1,
    "batch_tokens": 40,
    "quick_dropout": True,
}


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("levers", [{}, {"averaging": "swa"}, EVERYTHING], ids=["plain", "swa", "everything"])
def test_a_training_resumed_within_an_epoch_ends_where_an_undisturbed_one_does(
    levers: dict[str, Any], tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(tiny_recipe, epochs=3, dropout=0.1, checkpoint_steps=3, accumulate=2, **levers)
    data = {task: dataclasses.replace(parts, auxiliary=parts.train[:3]) for task, parts in tiny_data.items()}
    epochs: list[Progress] = []
    within: list[Progress] = []

    def keep(progress: Progress, checkpoint: Path | None) -> None:
        within.append(progress)
        assert checkpoint is not None
        shutil.copytree(checkpoint, tmp_path / f"kept{progress.step}")

    given_in: dict[str, Any] = {"trunk": str(tiny_trunk), "data": data, "recipe": recipe}
    whole = fit(
        **given_in,
        output=tmp_path / "whole",
        on_epoch=lambda progress, _: epochs.append(progress),
        on_checkpoint=keep,
    )
    digest = load(whole).digest
    assert {one.epoch_step % 3 for one in within} == {0}
    assert {one.epoch for one in within} == {0, 1, 2}
    for one in within:
        again: list[Progress] = []
        resumed = fit(
            **given_in,
            output=tmp_path / "resumed",
            on_epoch=lambda progress, _, again=again: again.append(progress),  # type: ignore[misc]
            resume_from=tmp_path / f"kept{one.step}",
        )
        assert load(resumed).digest == digest
        assert again == epochs[one.epoch :]
    assert not list(tmp_path.glob(".*"))


def test_checkpoints_within_an_epoch_do_not_depend_on_what_is_done_with_them(
    tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(tiny_recipe, epochs=2, dropout=0.1, checkpoint_steps=1)
    digests = {
        load(
            fit(
                trunk=str(tiny_trunk),
                data=tiny_data,
                recipe=recipe,
                output=tmp_path / str(draws),
                on_checkpoint=lambda *_, draws=draws: torch.rand(draws),  # type: ignore[misc]
            )
        ).digest
        for draws in (0, 5)
    }
    assert len(digests) == 1


def test_a_checkpoint_that_was_being_replaced_is_found(
    tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    kept: list[Path] = []

    def keep(progress: Progress, checkpoint: Path | None) -> None:
        assert checkpoint is not None
        assert standing(checkpoint) == checkpoint
        assert reached(checkpoint) == (progress.epoch, progress.step)
        kept.append(checkpoint)
        checkpoint.rename(checkpoint.with_name(checkpoint.name + ".old"))  # killed before the new one took its place
        assert standing(checkpoint) == checkpoint.with_name(checkpoint.name + ".old")

    recipe = dataclasses.replace(tiny_recipe, epochs=2)
    fit(trunk=str(tiny_trunk), data=tiny_data, recipe=recipe, output=tmp_path / "bundle", on_epoch=keep)
    assert standing(kept[0]) is None
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    assert reached(None) == (0, 0)
    with pytest.raises(CheckpointRefused):
        reached(kept[0])


@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=300),
    budget=st.integers(1, 400),
    epoch=st.integers(0, 3),
    share=st.floats(0.1, 1.0),
)
def test_a_budget_of_tokens_bounds_every_step_and_leaves_nobody_out(
    lengths: list[int], budget: int, epoch: int, share: float
) -> None:
    some = list(range(len(lengths)))[: max(1, round(share * len(lengths)))]
    steps = epoch_steps({"a": lengths}, batch_size=1, batch_tokens=budget, seed=1, epoch=epoch, taken={"a": some})
    assert sorted(index for step in steps for index in step.items) == some
    for step in steps:
        longest = max(lengths[index] for index in step.items)
        assert len(step.items) == 1 or longest * len(step.items) <= budget


def test_batches_by_tokens_are_nearly_full_and_hardly_padded() -> None:
    lengths = [5 + (index * 7919) % 60 for index in range(4000)]
    steps = epoch_steps({"a": lengths}, batch_size=1, batch_tokens=1000, seed=0, epoch=0)
    real = [sum(lengths[index] for index in step.items) for step in steps]
    padded = [max(lengths[index] for index in step.items) * len(step.items) for step in steps]
    assert sum(real) / sum(padded) > 0.95
    assert sum(padded) / (1000 * len(steps)) > 0.93

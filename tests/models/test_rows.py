"""Learning some rows of the embedding table is learning the table, as long as the others have no gradient."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from models.fitting import Fitting
from models.rows import LearntRows, learn_rows
from models.training import Recipe, TaskData, identity

Data = dict[str, TaskData]


def table() -> nn.Embedding:
    torch.manual_seed(0)
    return nn.Embedding(10, 4, padding_idx=0)


def test_values_and_gradients_are_those_of_the_table() -> None:
    whole = table()
    rows = LearntRows(table(), np.array([0, 2, 3, 7]))
    ids = torch.tensor([[2, 3, 3, 0], [7, 2, 0, 0]])
    weights = torch.randn(2, 4, 4)
    assert torch.equal(rows(ids), whole(ids))
    (rows(ids) * weights).sum().backward()
    (whole(ids) * weights).sum().backward()
    assert rows.rows.grad is not None
    assert whole.weight.grad is not None
    assert torch.equal(rows.rows.grad, whole.weight.grad[[0, 2, 3, 7]])


def test_a_row_that_does_not_learn_gives_its_value_and_no_gradient() -> None:
    rows, whole = LearntRows(table(), np.array([2, 3])), table()
    ids = torch.tensor([2, 9])
    assert torch.equal(rows(ids), whole(ids))
    rows(ids)[1].sum().backward()
    assert rows.rows.grad is not None
    assert not rows.rows.grad.any()


def test_what_was_learnt_is_seen_in_use_saved_and_loaded() -> None:
    rows = LearntRows(table(), np.array([2, 3]))
    with torch.no_grad():
        rows.rows.fill_(5.0)
    state = rows.state_dict()
    assert list(state) == ["weight"]
    assert torch.equal(state["weight"][[2, 3]], torch.full((2, 4), 5.0))
    assert torch.equal(rows.eval()(torch.tensor([3, 4])), torch.stack([torch.full((4,), 5.0), table().weight[4]]))
    fresh = LearntRows(table(), np.array([2, 3]))
    fresh.load_state_dict({"weight": state["weight"].clone()})
    assert torch.equal(fresh.rows, rows.rows)
    with pytest.raises(RuntimeError, match="Missing key"):
        fresh.load_state_dict({})


def test_the_table_keeps_up_with_every_change_of_the_rows() -> None:
    rows = LearntRows(table(), np.array([2])).eval()
    for value in (1.0, 2.0):
        rows.rows.data = torch.full((1, 4), value)
        with torch.inference_mode():
            assert rows(torch.tensor([2])).unique().tolist() == [value]


def test_a_training_learns_what_it_learns_with_the_whole_table(
    tiny_trunk: Path, tiny_data: Data, tiny_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = dataclasses.replace(tiny_recipe, weight_decay=0.0, epochs=3, learning_rate=1e-3)
    weights = []
    for whole in (False, True):
        if whole:
            monkeypatch.setattr("models.fitting.learn_rows", lambda *_: None)
        fitting = Fitting.start(
            trunk=str(tiny_trunk),
            data=tiny_data,
            recipe=recipe,
            output=tmp_path / str(whole),
            rank=0,
            world=1,
            wrap=identity,
            allow_hub=False,
        )
        inputs = fitting.network.trunk.encoder.get_input_embeddings()  # type: ignore[operator]
        assert isinstance(inputs, LearntRows) is not whole
        while not fitting.finished:
            fitting.epoch()
        fitting.save()
        weights.append(load_file(tmp_path / str(whole) / "trunk" / "model.safetensors"))
    some, all_rows = weights
    assert set(some) == set(all_rows)
    for name, value in some.items():
        assert torch.allclose(value, all_rows[name], atol=1e-5), name


def test_frozen_and_tied_tables_are_left_alone() -> None:
    class Foreign(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.out = table(), nn.Linear(4, 10)

        def get_input_embeddings(self) -> nn.Module:
            return self.inner

        def set_input_embeddings(self, new: nn.Module) -> None:
            self.inner = new  # type: ignore[assignment]

    used = [np.array([1, 2])]
    frozen, tied, plain = Foreign(), Foreign(), Foreign()
    frozen.inner.weight.requires_grad_(requires_grad=False)
    tied.out.weight = tied.inner.weight
    for one in (frozen, tied, plain):
        learn_rows(one, used)
    assert [type(one.inner) for one in (frozen, tied, plain)] == [nn.Embedding, nn.Embedding, LearntRows]

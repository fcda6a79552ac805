"""Ranks that average their gradients learn what one process learns."""

import gc
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from data_contracts.labelled import SentimentExample
from models.recipe import Recipe, TaskData
from models.training import fit
from tasks.cluster.trainer import joined

RECIPE = Recipe(
    epochs=2,
    batch_tokens=64,
    dropout=0.0,
    precision="float32",
    max_length=64,
    overlap=16,
    learning_rate=1e-3,
    patience=0,
)


def rank_of_two(rank: int, meet: Path, trunk: str, data: dict[str, TaskData], recipe: Recipe, output: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{meet}", rank=rank, world_size=2)
    fit(trunk=trunk, data=data, recipe=recipe, output=output / str(rank), rank=rank, world=2, wrap=joined)
    gc.collect()  # a wrapped network outlives no group: see docs/log.md, 2026-11-29
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_whose_shares_differ_end_where_one_does(
    tmp_path: Path, tiny_trunk: Path, sentiment_examples: list[SentimentExample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    data = {"sentiment": TaskData(sentiment_examples, sentiment_examples)}
    alone = fit(trunk=str(tiny_trunk), data=data, recipe=RECIPE, output=tmp_path / "alone")
    torch.multiprocessing.spawn(
        rank_of_two, args=(tmp_path / "meet", str(tiny_trunk), data, RECIPE, tmp_path), nprocs=2
    )
    assert not (tmp_path / "1").exists()
    for name in ("heads.safetensors", "trunk/model.safetensors"):
        one, two = load_file(alone / name), load_file(tmp_path / "0" / name)
        for key, value in one.items():
            torch.testing.assert_close(two[key], value, atol=2e-4, rtol=1e-3)

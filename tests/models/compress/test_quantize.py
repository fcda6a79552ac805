"""Weights of eight bits: a smaller file, nearly the same answers, no pickle, and no look at neighbours."""

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import models.int8
from models.bundle import load
from models.calibrating import DevMissing
from models.compress.quantize import QuantizationRefused, quantize
from models.int8 import Int8Embedding, Int8Linear
from models.recipe import Recipe, TaskData
from models.scoring import Scorer
from models.training import fit

Data = dict[str, TaskData]
TEXTS = ["profit rises sharply", "Oslo and Acme", "the bank said on monday " * 5, "U.S. shares falls"]


@pytest.fixture(scope="module")
def small(tiny_bundle: Path, unseen_data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    dev = {task: parts.dev for task, parts in unseen_data.items()}
    return quantize(tiny_bundle, tmp_path_factory.mktemp("int8") / "bundle", dev)


def _scores(bundle: Path, texts: list[str]) -> list[list[float]]:
    scorer = Scorer(load(bundle), token_budget=2048, max_windows=None)
    return [one.probabilities["sentiment"].tolist() for one in scorer.score(texts)]


def test_its_answers_are_nearly_those_of_the_original(small: Path, tiny_bundle: Path) -> None:
    for ours, theirs in zip(_scores(small, TEXTS), _scores(tiny_bundle, TEXTS), strict=True):
        assert ours == pytest.approx(theirs, abs=0.05)
    assert load(small).metrics["ner"]["micro_f1"] >= 0.95


def test_its_files_are_safetensors_of_eight_bits_and_far_smaller(small: Path, tiny_bundle: Path) -> None:
    weights = load_file(small / "trunk" / "model.safetensors")
    assert weights["encoder.layer.0.attention.self.query.weight"].dtype == torch.int8
    assert weights["embeddings.word_embeddings.weight"].dtype == torch.int8
    sizes = [(path / "trunk" / "model.safetensors").stat().st_size for path in (small, tiny_bundle)]
    assert sizes[0] < 0.55 * sizes[1]  # a tiny trunk is half norms, positions and headers
    assert {file.suffix for file in small.rglob("*") if file.is_file()} == {".json", ".safetensors", ".txt"}


def test_a_score_does_not_depend_on_its_neighbours(small: Path) -> None:
    alone = [_scores(small, [text])[0] for text in TEXTS]
    for one, other in zip(_scores(small, TEXTS), alone, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_without_integer_instructions_the_answers_are_nearly_the_same(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = _scores(small, TEXTS)
    monkeypatch.setattr(models.int8, "in_integers", lambda device: False)
    for one, other in zip(_scores(small, TEXTS), fast, strict=True):
        assert one == pytest.approx(other, abs=0.05)


def test_a_linear_layer_is_reproduced_within_the_width_of_a_step() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        linear, inputs = nn.Linear(64, 32), torch.randn(3, 5, 64)
    found = Int8Linear(linear)(inputs)
    assert found.shape == (3, 5, 32)
    assert (found - linear(inputs)).abs().max() < 0.03
    table = nn.Embedding(7, 64)
    ids = torch.tensor([[0, 6]])
    assert (Int8Embedding(table)(ids) - table(ids)).abs().max() <= table.weight.abs().max() / 127


def test_a_bilstm_is_quantised_in_its_embeddings(
    tiny_trunk: Path, unseen_data: Data, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(tiny_recipe, epochs=1)
    data = {"sentiment": unseen_data["sentiment"]}
    bundle = fit(trunk=f"bilstm@{tiny_trunk}", data=data, recipe=recipe, output=tmp_path / "b")
    small = quantize(bundle, tmp_path / "small", {"sentiment": data["sentiment"].dev})
    for ours, theirs in zip(_scores(small, TEXTS), _scores(bundle, TEXTS), strict=True):
        assert ours == pytest.approx(theirs, abs=0.05)


def test_what_the_original_has_learnt_neither_calibrates_nor_measures(
    tiny_bundle: Path, unseen_data: Data, small: Path, tmp_path: Path
) -> None:
    both = {task: [*parts.train, *parts.dev] for task, parts in unseen_data.items()}
    again = load(quantize(tiny_bundle, tmp_path / "again", both))
    assert again.manifest.temperatures == load(small).manifest.temperatures
    assert again.metrics == load(small).metrics
    with pytest.raises(DevMissing, match="all 10 dev examples for ner"):
        quantize(tiny_bundle, tmp_path / "none", {task: list(parts.train) for task, parts in unseen_data.items()})


def test_what_is_quantised_is_not_quantised_again(small: Path, tmp_path: Path) -> None:
    with pytest.raises(QuantizationRefused, match="quantised already"):
        quantize(small, tmp_path / "again", {})

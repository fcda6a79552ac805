"""What a chain and label features add to a word's own logits, in training and in use."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from data_contracts.labelled import NerExample
from models.encoder import Encoder
from models.fitting import Fitting
from models.heads import IGNORED
from models.tagging import Tagger, runs
from models.training import Recipe, TaskData, identity

TAGS = ("O", "B", "I")
# An uncased trunk reads both halves alike: only what is seen of the letters themselves can tell them apart.
CASED = [
    NerExample(tokens=(name, "said"), tags=(tag, "O"))
    for word in ("acme", "bolt", "zeta", "bank", "river")
    for name, tag in ((word.title(), "B-ORG"), (word, "O"))
]


def _trained(trunk: Path, recipe: Recipe, output: Path, *, epochs: int = 40) -> float:
    recipe = dataclasses.replace(recipe, word_shapes=False, epochs=epochs)
    fitting = Fitting.start(
        trunk=str(trunk),
        data={"ner": TaskData(CASED, CASED)},
        recipe=recipe,
        output=output,
        rank=0,
        world=1,
        wrap=identity,
        allow_hub=False,
    )
    for _ in range(epochs):
        fitting.epoch()
    return fitting.evaluation("ner").f1


@pytest.mark.parametrize("name", ["shape", "affix"])
@pytest.mark.parametrize("crf", [False, True])
def test_a_feature_of_letters_tells_names_that_the_trunk_cannot(
    name: str, *, crf: bool, tiny_trunk: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    with_it = dataclasses.replace(tiny_recipe, crf=crf, label_features=(name,))
    assert _trained(tiny_trunk, with_it, tmp_path, epochs=12) == 1.0


def test_without_it_the_trunk_cannot(tiny_trunk: Path, tiny_recipe: Recipe, tmp_path: Path) -> None:
    assert _trained(tiny_trunk, tiny_recipe, tmp_path, epochs=12) < 0.8


@pytest.mark.parametrize("crf", [False, True])
def test_the_loss_reads_what_decoding_reads(*, crf: bool, tiny_encoder: Encoder) -> None:
    tagger = Tagger(TAGS, crf=crf, label_features=("shape", "company_form"), ignored=IGNORED)
    with torch.no_grad():
        for parameter in tagger.parameters():
            parameter.copy_(torch.randn(parameter.shape) / 10)
    (encoded,) = tiny_encoder.encode(["Acme Holdings plc said"])
    tags = np.asarray([1, 2, 2, 0])
    logits = np.random.default_rng(0).normal(size=(4, 3))
    targets = torch.full((1, encoded.tokens, 1 + tagger.numbers(encoded).shape[1]), IGNORED)
    spread = torch.zeros(1, encoded.tokens, 3)
    targets[0, encoded.first] = torch.from_numpy(tagger.targets(tags, encoded))
    spread[0, encoded.first] = torch.from_numpy(logits).float()
    loss = float(tagger.loss(spread, targets, smoothing=0.0).detach())
    emissions = tagger.emissions(encoded, logits)
    if tagger.crf is None:
        expected = -np.log(tagger.probabilities(emissions)[np.arange(4), tags]).mean()
    else:
        given, whole = torch.from_numpy(emissions).float()[None], torch.ones(1, 4, dtype=torch.bool)
        expected = -float(tagger.crf.log_likelihood(given, torch.from_numpy(tags)[None], whole).detach()) / 4
    assert loss == pytest.approx(expected, rel=1e-4)
    assert np.abs(emissions - logits).max() > 0.1


def test_a_temperature_flattens_a_chains_marginals_and_changes_no_tag() -> None:
    tagger = Tagger(TAGS, crf=True, label_features=(), ignored=IGNORED)
    emissions = np.random.default_rng(1).normal(size=(6, 3)) * 3
    one, two = tagger.probabilities(emissions), tagger.probabilities(emissions, 2.0)
    np.testing.assert_allclose(one.sum(axis=1), 1.0)
    np.testing.assert_allclose(two, np.sqrt(one) / np.sqrt(one).sum(axis=1, keepdims=True), atol=1e-12)


def test_runs_end_at_a_beginning_a_gap_and_a_line_break(tiny_encoder: Encoder) -> None:
    (encoded,) = tiny_encoder.encode(["Acme Bolt said Zeta\nOslo River"])
    assert runs(np.asarray([1, 2, 0, 1, 2, 2]), TAGS, encoded.breaks).tolist() == [[0, 1], [3, 3], [4, 5]]
    assert runs(np.asarray([1, 1, 0, 0, 0, 1]), TAGS, encoded.breaks).tolist() == [[0, 0], [1, 1], [5, 5]]
    assert runs(np.zeros(6, dtype=np.int64), TAGS, encoded.breaks).tolist() == []

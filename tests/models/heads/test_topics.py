"""Any number of topics a text, learnt from the data's own set."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from data_contracts.labelled import TopicsExample
from models.bundle import load
from models.encoder import Encoder
from models.evaluation import Judged
from models.heads import HeadOptions
from models.heads.topics import TopicsHead
from models.recipe import RecipeRefused
from models.scoring import Scorer
from models.training import Recipe, TaskData, fit

LABELS = ("banks", "earnings", "markets")


@pytest.fixture
def head() -> TopicsHead:
    return TopicsHead(8, HeadOptions(labels={"topics": LABELS}))


def test_topics_are_learnt_by_heart_and_kept_in_the_bundle(
    topics: list[TopicsExample], tiny_trunk: Path, tiny_recipe: Recipe, tmp_path: Path, judged: Callable[..., Judged]
) -> None:
    recipe = dataclasses.replace(tiny_recipe, epochs=60)
    output = fit(trunk=str(tiny_trunk), data={"topics": TaskData(topics, topics)}, recipe=recipe, output=tmp_path / "b")
    bundle = load(output)
    assert bundle.labels["topics"] == ("banks", "earnings", "markets", "places")
    found = judged(output, "topics", topics).evaluate()
    assert (found.f1, found.accuracy, found.average) == (1.0, 1.0, "micro")
    assert bundle.metrics["topics"]["macro_f1"] == bundle.metrics["topics"]["micro_f1"] == 1.0
    [score] = Scorer(bundle, token_budget=512, max_windows=None).score(["shares of the bank falls"])
    assert (score.probabilities["topics"] >= 0.5).tolist() == [True, False, True, False]


def test_examples_without_any_topic_are_no_training_set(
    topics: list[TopicsExample], tiny_trunk: Path, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    none = [dataclasses.replace(example, topics=()) for example in topics]
    data = {"topics": TaskData(none, topics)}
    with pytest.raises(RecipeRefused, match="no training example of topics has a label"):
        fit(trunk=str(tiny_trunk), data=data, recipe=tiny_recipe, output=tmp_path / "b")


def test_each_topic_is_a_yes_or_no_of_its_own(head: TopicsHead, tiny_encoder: Encoder) -> None:
    example = TopicsExample(text="profit", topics=("earnings", "weather"))
    (encoded,) = tiny_encoder.encode([example.text])
    logits = np.asarray([[2.0, 1.0, -40.0]])
    answers = head.answers(example, encoded, logits, 2.0)
    assert answers.gold == ("none", "earnings", "none", "weather")
    assert answers.predicted == ("banks", "earnings", "none", "none")
    assert answers.confidence == pytest.approx((1 / (1 + np.exp(-1.0)), 1 / (1 + np.exp(-0.5)), 1.0, 1.0))
    scores = head.scores([answers])
    assert (scores.precision, scores.recall, scores.accuracy) == (0.5, 0.5, 0.5)
    assert {one.label: one.f1 for one in scores.labels} == {
        "banks": 0.0,
        "earnings": 1.0,
        "markets": 0.0,
        "weather": 0.0,
    }
    assert scores.more["macro_f1"] == 0.25


def test_the_loss_is_that_of_sigmoids(head: TopicsHead) -> None:
    logits, targets = torch.tensor([[0.0, 2.0, -1.0]]), torch.tensor([[[1, 1, 0]]])
    expected = -(np.log(0.5) + np.log(1 / (1 + np.exp(-2.0))) + np.log(1 - 1 / (1 + np.exp(1.0)))) / 3
    assert float(head.loss(logits, targets)) == pytest.approx(expected)
    assert float(head.loss(logits, targets, smoothing=0.2)) > expected


def test_no_topics_and_no_answers_give_no_figures(head: TopicsHead, tiny_encoder: Encoder) -> None:
    example = TopicsExample(text="profit", topics=())
    (encoded,) = tiny_encoder.encode([example.text])
    scores = head.scores([head.answers(example, encoded, np.full((1, 3), -5.0))])
    assert (scores.f1, scores.precision, scores.accuracy) == (0.0, 0.0, 1.0)
    rows, gold = head.calibration(example, encoded, np.asarray([[1.0, 2.0, 3.0]]))
    assert (rows.tolist(), gold.tolist()) == ([[0.0, 1.0], [0.0, 2.0], [0.0, 3.0]], [0, 0, 0])

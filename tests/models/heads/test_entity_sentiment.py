"""Spans and what is said of them: found by the head, or given."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from data_contracts.labelled import EntitySentimentExample, EntitySpan
from models.bundle import load
from models.encoder import Encoder
from models.evaluation import Judged
from models.heads import IGNORED, HeadOptions
from models.heads.entity_sentiment import EntitySentimentHead
from models.scoring import Scorer
from models.training import Recipe, TaskData, fit

NESTED = EntitySentimentExample(
    text="Bank of Oslo and \u200d Bolt.",
    entities=(
        EntitySpan(start=8, end=12, label="negative"),
        EntitySpan(start=0, end=12, label="positive"),
        EntitySpan(start=19, end=23, label="neutral"),
        EntitySpan(start=17, end=18, label="negative"),
    ),
)


@pytest.fixture
def head() -> EntitySentimentHead:
    return EntitySentimentHead(8, HeadOptions())


@pytest.mark.parametrize(("crf", "label_features"), [(False, ()), (True, ("shape",))])
def test_spans_and_their_sentiment_are_learnt_by_heart(
    *,
    crf: bool,
    label_features: tuple[str, ...],
    opinions: list[EntitySentimentExample],
    tiny_trunk: Path,
    tiny_recipe: Recipe,
    tmp_path: Path,
    judged: Callable[..., Judged],
) -> None:
    recipe = dataclasses.replace(tiny_recipe, epochs=60, crf=crf, label_features=label_features)
    data = {"entity_sentiment": TaskData(opinions, opinions)}
    output = fit(trunk=str(tiny_trunk), data=data, recipe=recipe, output=tmp_path / "b")
    said = judged(output, "entity_sentiment", opinions)
    together, given = said.evaluate(), said.evaluate(given=True)
    assert (together.f1, together.average) == (1.0, "micro")
    assert (given.f1, given.accuracy, given.average) == (1.0, 1.0, "macro")
    text = "Acme falls and Bolt rises"
    [score] = Scorer(load(output), token_budget=512, max_windows=None).score([text])
    assert [(text[one.start : one.end], one.sentiment) for one in score.opine(None)] == [
        ("Acme", "negative"),
        ("Bolt", "positive"),
    ]


def test_the_longest_of_overlapping_spans_teaches(head: EntitySentimentHead, tiny_encoder: Encoder) -> None:
    (encoded,) = tiny_encoder.encode([NESTED.text])
    targets = head.targets(NESTED, encoded)
    assert targets[:, 0].tolist() == [1, 2, 2, 0, 1, 0]
    assert targets[:, 1].tolist() == [2, 2, 2, IGNORED, 1, IGNORED]


def test_given_spans_are_each_answered_from_their_own_words(head: EntitySentimentHead, tiny_encoder: Encoder) -> None:
    (encoded,) = tiny_encoder.encode([NESTED.text])
    logits = np.zeros((6, 6))
    logits[:, 3:] = np.random.default_rng(0).normal(size=(6, 3))
    found = head.label_spans(encoded, logits, [(span.start, span.end) for span in NESTED.entities], 2.0)
    for row, words in zip(found, ([2], [0, 1, 2], [4], range(6)), strict=True):  # the last holds no word: all of them
        mean = np.exp(logits[list(words), 3:].mean(axis=0) / 2.0)
        np.testing.assert_allclose(row, mean / mean.sum())
    answers = head.answers(NESTED, encoded, logits, given=True)
    assert answers.gold == ("negative", "positive", "neutral", "negative")
    assert head.label_spans(encoded, np.zeros((0, 6)), [(0, 4)]).tolist() == [[1 / 3] * 3]


def test_tags_and_labels_together_are_the_answer(head: EntitySentimentHead, tiny_encoder: Encoder) -> None:
    (encoded,) = tiny_encoder.encode([NESTED.text])
    logits = np.zeros((6, 6))
    for word, (tag, sentiment) in enumerate([(1, 2), (2, 2), (2, 2), (0, 0), (1, 0), (0, 0)]):
        logits[word, tag], logits[word, 3 + sentiment] = 9.0, 9.0
    answers = head.answers(NESTED, encoded, logits)
    assert answers.gold == ("B-positive", "I-positive", "I-positive", "O", "B-neutral", "O")
    assert answers.predicted == ("B-positive", "I-positive", "I-positive", "O", "B-negative", "O")
    assert all(value > 0.99 for value in answers.confidence)
    scores = head.scores([answers])
    assert (scores.precision, scores.recall, scores.f1) == (0.5, 0.5, 0.5)


def test_an_opinion_has_exact_offsets_and_the_weight_of_its_sentences(
    head: EntitySentimentHead, tiny_encoder: Encoder
) -> None:
    text = "Acme rises\nThe bank said. Bolt falls. ACME said."
    (encoded,) = tiny_encoder.encode([text])
    spans = [(0, 4), (26, 30), (38, 42)]
    found = head.opinions(encoded, np.zeros((len(encoded.first), 6)), spans=spans)
    assert [text[one.start : one.end] for one in found] == ["Acme", "Bolt", "ACME"]
    total = 1 + 1 / 2 + 1 / 3 + 1 / 4
    assert [one.relevance for one in found] == pytest.approx(
        [(1 + 1 / 4) / total, (1 / 3) / total, (1 + 1 / 4) / total]
    )
    assert [one.p_negative + one.p_neutral + one.p_positive for one in found] == pytest.approx([1.0] * 3)


def test_the_loss_counts_each_span_once_whatever_its_length(head: EntitySentimentHead) -> None:
    logits = torch.zeros(2, 5, 6)
    logits[0, 1:4, 3] = torch.tensor([3.0, 6.0, 9.0])  # one span of three words, right about negative
    logits[1, 1, 5] = 6.0  # one of one word, wrong about neutral
    targets = torch.full((2, 5, 2), IGNORED)
    targets[0, 1:4] = torch.tensor([[1, 0], [2, 0], [2, 0]])
    targets[1, 1] = torch.tensor([1, 1])
    tags = np.log(3.0)
    sentiments = np.mean([np.log(np.exp(6.0) + 2) - 6.0, np.log(np.exp(6.0) + 2)])
    assert float(head.loss(logits, targets)) == pytest.approx(tags + sentiments, rel=1e-5)
    targets[..., 1] = IGNORED
    assert float(head.loss(logits, targets)) == pytest.approx(tags, rel=1e-5)

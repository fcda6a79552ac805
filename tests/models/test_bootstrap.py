"""Intervals: as wide as they should be, the same for the same seed, quick, and of the figures that the metrics give."""

import time

import numpy as np
import pytest

from models.bootstrap import intervals
from models.heads import Answers
from models.metrics import expected_calibration_error, tag_scores, text_scores
from models.tally import tally_entities, tally_labels

LABELS = ("negative", "neutral", "positive")
TAGS = ("O", "O", "O", "B-PER", "I-PER", "B-ORG", "I-ORG", "I-LOC")


def labelled(count: int, seed: int = 0) -> list[Answers]:
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        gold = LABELS[random.integers(3)]
        said = gold if random.random() < 0.8 else LABELS[random.integers(3)]
        found.append(Answers(gold=(gold,), predicted=(said,), confidence=(float(random.random()),)))
    return found


def tagged(count: int) -> list[Answers]:
    random = np.random.default_rng(1)
    found = []
    for _ in range(count):
        gold = [TAGS[number] for number in random.integers(len(TAGS), size=12)]
        said = [tag if random.random() < 0.8 else TAGS[random.integers(len(TAGS))] for tag in gold]
        found.append(Answers(gold=tuple(gold), predicted=tuple(said), confidence=tuple(random.random(12).tolist())))
    return found


def test_the_interval_of_a_share_is_that_of_the_normal_approximation() -> None:
    right = (np.arange(1000) < 900).astype(float)[:, None]
    (found,) = intervals(right, lambda sums: sums / 1000)
    width = 1.96 * np.sqrt(0.9 * 0.1 / 1000)
    assert (found.low, found.high) == pytest.approx((0.9 - width, 0.9 + width), abs=0.003)


def test_nineteen_of_twenty_intervals_cover_the_truth() -> None:
    random = np.random.default_rng(5)
    covered = 0
    for seed in range(200):
        (found,) = intervals((random.random(200) < 0.8).astype(float)[:, None], lambda sums: sums / 200, seed=seed)
        covered += found.low <= 0.8 <= found.high
    assert 178 <= covered <= 199


def test_the_error_of_calibration_lies_in_its_interval_though_every_drawing_inflates_it() -> None:
    for seed in range(10):
        tally = tally_labels(labelled(150, seed), LABELS)
        figure = tally.figures(tally.counts.sum(axis=0, keepdims=True))[0, 2]
        assert tally.intervals()["ece"].low < figure < tally.intervals()["ece"].high


def test_the_same_seed_gives_the_same_interval() -> None:
    tally = tally_labels(labelled(50), LABELS)
    assert tally.intervals() == tally.intervals()
    assert tally.intervals(seed=1) != tally.intervals()
    assert tally_labels([], LABELS).intervals() == {}


def test_the_tally_of_labels_gives_the_figures_of_the_metrics() -> None:
    answers = labelled(300)
    expected = text_scores([a.gold[0] for a in answers], [a.predicted[0] for a in answers], LABELS)
    tally = tally_labels(answers, LABELS)
    found = tally.figures(tally.counts.sum(axis=0, keepdims=True))[0]
    confidence = np.asarray([a.confidence[0] for a in answers])
    ece = expected_calibration_error(confidence, np.asarray([a.gold == a.predicted for a in answers]))
    assert found == pytest.approx([expected.accuracy, expected.f1, ece, *(one.f1 for one in expected.labels)])


def test_the_tally_of_entities_gives_the_figures_of_seqeval() -> None:
    answers = tagged(80)
    expected = tag_scores([a.gold for a in answers], [a.predicted for a in answers])
    tally = tally_entities(answers)
    found = tally.figures(tally.counts.sum(axis=0, keepdims=True))[0]
    assert tally.labels == tuple(one.label for one in expected.labels)
    assert found[[0, 1]] == pytest.approx([expected.accuracy, expected.f1])
    assert found[3:] == pytest.approx([one.f1 for one in expected.labels])


def test_a_thousand_resamples_of_thousands_of_examples_take_seconds_at_most() -> None:
    tally = tally_labels(labelled(5000), LABELS)
    start = time.process_time()  # whatever else the machine does
    tally.intervals()
    assert time.process_time() - start < 5

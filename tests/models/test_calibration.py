"""Temperatures, and the error they are to lessen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.calibration import fit_temperature, negative_log_likelihood, softmax
from models.metrics import expected_calibration_error, tag_scores, text_scores


def _sample(seed: int, scale: float, rows: int = 400) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    honest = chance.normal(size=(rows, 3))
    gold = np.asarray([chance.choice(3, p=row) for row in softmax(honest)])
    return honest * scale, gold


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_temperature_undoes_a_known_overstatement(scale: float) -> None:
    logits, gold = _sample(1, scale, rows=4000)
    assert fit_temperature(logits, gold) == pytest.approx(scale, rel=0.1)


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), scale=st.floats(0.1, 8.0))
def test_calibration_never_harms_the_set_it_was_fitted_on(seed: int, scale: float) -> None:
    logits, gold = _sample(seed, scale, rows=120)

    def error(temperature: float) -> float:
        probabilities = softmax(logits, temperature)
        return expected_calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == gold)

    temperature = fit_temperature(logits, gold)
    assert error(temperature) <= error(1.0)
    assert negative_log_likelihood(logits, gold, temperature) <= negative_log_likelihood(logits, gold, 1.0) + 1e-9


def test_no_rows_leave_probabilities_as_they_are() -> None:
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, dtype=int)) == 1.0


def test_calibration_error_is_the_weighted_gap_between_confidence_and_truth() -> None:
    confidence = np.asarray([0.9, 0.9, 0.9, 0.9, 0.5, 0.5])
    correct = np.asarray([True, True, True, False, True, False])
    assert expected_calibration_error(confidence, correct) == pytest.approx(4 / 6 * 0.15 + 0.0)
    assert expected_calibration_error(np.asarray([]), np.asarray([], dtype=bool)) == 0.0


def test_macro_f1_counts_every_label_the_same() -> None:
    scores = text_scores(["a", "a", "a", "b"], ["a", "a", "a", "a"], ["a", "b"])
    assert scores.accuracy == 0.75
    assert scores.f1 == pytest.approx((6 / 7 + 0) / 2)


def test_an_entity_counts_only_when_its_borders_and_type_are_right() -> None:
    gold = [["B-ORG", "I-ORG", "O", "B-LOC"]]
    scores = tag_scores(gold, [["B-ORG", "O", "O", "B-LOC"]])
    assert (scores.precision, scores.recall, scores.f1) == (0.5, 0.5, 0.5)
    assert {label.label: label.f1 for label in scores.labels} == {"LOC": 1.0, "ORG": 0.0}
    assert tag_scores([["O"]], [["O"]]).f1 == 0.0

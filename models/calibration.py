"""Temperature scaling: one number a head that makes its probabilities mean what they say.

Guo et al. 2017, "On Calibration of Modern Neural Networks": logits are divided by the temperature that gives the held-out examples the
least negative log-likelihood. No answer changes, only how sure it is. Where that temperature would make the expected calibration error of
those examples worse than no scaling, 1 is kept. Vector and matrix scaling are left out: a dev part of some hundred examples does not
carry them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from models.metrics import expected_calibration_error

_RANGE = (math.log(0.05), math.log(20.0))
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities (rows, labels) of logits (rows, labels) divided by a temperature > 0."""
    scaled = logits.astype(np.float64) / temperature
    exponent = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float64] = exponent / exponent.sum(axis=-1, keepdims=True)
    return probabilities


def negative_log_likelihood(logits: NDArray[np.floating], gold: NDArray[np.integer], temperature: float) -> float:
    """Mean of -log p(gold) in nats, for logits (rows, labels) and gold (rows,)."""
    probabilities = softmax(logits, temperature)[np.arange(len(gold)), gold]
    return float(-np.log(np.maximum(probabilities, 1e-12)).mean())


def fit_temperature(logits: NDArray[np.floating], gold: NDArray[np.integer]) -> float:
    """The temperature in [0.05, 20] for logits (rows, labels) and gold (rows,); 1 for no rows or where it would not help."""
    if not len(gold):
        return 1.0
    temperature = math.exp(_golden_section(logits, gold))
    before = _ece(logits, gold, 1.0)
    return temperature if _ece(logits, gold, temperature) <= before else 1.0


def _golden_section(logits: NDArray[np.floating], gold: NDArray[np.integer]) -> float:
    low, high = _RANGE
    while high - low > 1e-4:
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if negative_log_likelihood(logits, gold, math.exp(left)) <= negative_log_likelihood(
            logits, gold, math.exp(right)
        ):
            high = right
        else:
            low = left
    return (low + high) / 2.0


def _ece(logits: NDArray[np.floating], gold: NDArray[np.integer], temperature: float) -> float:
    probabilities = softmax(logits, temperature)
    return expected_calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == gold)

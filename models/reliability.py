"""How sure a model says it is against how often it is right: the bins behind the expected calibration error and the reliability diagram.

In prose: answers are sorted by their confidence into 15 bins of equal width over (0, 1]; each bin has the number of its answers, the mean of
the confidences stated and the share that is right. A calibrated model has the last two equal in every bin (DeGroot and Fienberg 1983; Guo et
al. 2017). An answer of confidence 0 stands in the lowest bin. Not covered: bins of equal counts, and the other classes' probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class ReliabilityBin:
    """One bin (low, high] of confidence: how many answers, their mean confidence and the share that is right; both 0 for none."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def bin_of(confidence: NDArray[np.floating]) -> NDArray[np.int64]:
    """The bin, from 0, of each confidence (answers,) in [0, 1]."""
    numbers: NDArray[np.int64] = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return numbers


def reliability(confidence: NDArray[np.floating], correct: NDArray[np.bool_]) -> tuple[ReliabilityBin, ...]:
    """Every bin, the lowest first, of answers with confidence (answers,) and whether each is right (answers,)."""
    number = bin_of(confidence)
    count = np.bincount(number, minlength=BINS)
    stated = np.bincount(number, weights=confidence, minlength=BINS) / np.maximum(count, 1)
    right = np.bincount(number, weights=correct.astype(float), minlength=BINS) / np.maximum(count, 1)
    return tuple(
        ReliabilityBin(
            low=place / BINS,
            high=(place + 1) / BINS,
            count=int(count[place]),
            confidence=float(stated[place]),
            accuracy=float(right[place]),
        )
        for place in range(BINS)
    )


def calibration_error(bins: tuple[ReliabilityBin, ...]) -> float:
    """The expected calibration error in [0, 1] of some bins; 0 for no answers."""
    total = sum(one.count for one in bins)
    return sum(one.count * abs(one.accuracy - one.confidence) for one in bins) / total if total else 0.0

"""How far a figure might have come out otherwise: bootstrap intervals of figures that are computed from sums over examples.

Efron 1979, "Bootstrap methods: another look at the jackknife", the percentile interval: examples are drawn with replacement, as many as there
are, a thousand times; each drawing gives the figure anew, and the interval holds the middle 95% of what it gave. Whole examples are drawn,
never single words, since the words of a sentence stand and fall together. The interval is moved by the bootstrap's own estimate of bias (mean of
the drawings less the figure; Efron and Tibshirani 1993, chapter 10), which is next to nothing for accuracy and F1 but not for the calibration
error: drawing with repeats widens the gaps of small bins, so that every drawing's error is larger than the figure. It is kept in [0, 1].

Every figure is computed from the sums of per-example counts, so a drawing is a row of weights and all of them are a few matrix products. The
same seed gives the same interval. Does not cover: the spread over seeds of a training, and the bias-corrected interval (BCa).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1_000
SHARE = 0.95
_CELLS = 4_000_000  # drawn examples in memory at once


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """The middle 95% of what the resamples gave less their bias, in [0, 1]."""

    low: float
    high: float


def intervals(
    counts: NDArray[np.float64],
    figures: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    *,
    resamples: int = RESAMPLES,
    share: float = SHARE,
    seed: int = 0,
) -> tuple[Interval, ...]:
    """One interval a figure.

    Args:
        counts: (examples, counts) what each example adds to the sums; one example at least.
        figures: sums (resamples, counts) -> figures (resamples, figures), each in [0, 1].
        resamples: how many drawings.
        share: of the drawings that the interval holds, in (0, 1).
        seed: of the drawings.
    """
    random = np.random.default_rng(seed)
    examples = len(counts)
    at_once = max(1, min(resamples, _CELLS // examples))
    found = []
    for begin in range(0, resamples, at_once):
        rows = min(at_once, resamples - begin)
        drawn = random.integers(examples, size=(rows, examples)) + np.arange(rows)[:, None] * examples
        weights = np.bincount(drawn.ravel(), minlength=rows * examples).reshape(rows, examples)
        found.append(figures(weights.astype(np.float64) @ counts))
    tail = (1.0 - share) / 2.0
    drawings = np.concatenate(found)
    bias = drawings.mean(axis=0) - figures(counts.sum(axis=0, keepdims=True))[0]
    low, high = np.clip(np.quantile(drawings, [tail, 1.0 - tail], axis=0) - bias, 0.0, 1.0)
    return tuple(Interval(low=float(a), high=float(b)) for a, b in zip(low, high, strict=True))

"""How unusual a count of tonight is, given the counts of earlier nights: a robust z-score that works from the first earlier night on.

In prose: let x_1 .. x_n be the counts of the earlier nights, m their median, and MAD the median of |x_i - m|. The scale is the larger of
1.4826 * MAD, which estimates the standard deviation of normal data and is not moved by one earlier surge, and sqrt(m + 1), about the
standard deviation that a Poisson count with mean m has anyway. The floor keeps a thin or flat history (MAD = 0) from making every count a
surge. The z-score of a count x is (x - m) / scale.

References: Iglewicz and Hoaglin 1993, "How to detect and handle outliers" (the modified z-score); Leys et al. 2013, "Detecting outliers: do
not use standard deviation around the mean, use absolute deviation around the median". Not covered: seasons (a weekend is compared with
working days) and a feed that grew as a whole, in which every count rises.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

MAD_TO_DEVIATION = 1.4826


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What is usual: median and scale of the counts of earlier nights, in counts."""

    median: float
    scale: float

    @classmethod
    def of(cls, counts: Sequence[float]) -> Baseline:
        """The baseline of one count per earlier night; at least one night."""
        median = statistics.median(counts)
        deviation = statistics.median(abs(count - median) for count in counts)
        return cls(median=median, scale=max(MAD_TO_DEVIATION * deviation, math.sqrt(median + 1)))

    def z(self, count: float) -> float:
        """How many scales `count` lies above the median."""
        return (count - self.median) / self.scale

    def count_at(self, z: float) -> float:
        """The count whose z-score is `z`."""
        return self.median + z * self.scale

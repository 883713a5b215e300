"""The noise between the seeds of a grid, pooled over the cells near its best, and intervals on a metric's own scale.

Pure. The variance of log losses is pooled (of other metrics as they are): seeds scatter a loss by factors.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from thalweg.runner.cells.student import t95

NEAR = 0.3
"""Cells this close to the best in log loss lend their seeds' variance to the estimate of the noise."""


@dataclass(frozen=True)
class Noise:
    """Standard deviation of one seed's score, and the degrees of freedom it was estimated with."""

    deviation: float
    freedom: int

    def margin(self, n: int, other: int) -> float:
        """Difference of the mean scores of n and `other` seeds that scatter alone explains, at 95%."""
        return t95(self.freedom) * self.deviation * math.sqrt(1 / n + 1 / other)


def pooled(replicates: Iterable[Sequence[float]]) -> Noise | None:
    """Pool the variance of cells, each given by its seeds' scores; None where none has two."""
    several = [scores for scores in replicates if len(scores) > 1]
    freedom = sum(len(scores) - 1 for scores in several)
    if not freedom:
        return None
    return Noise(math.hypot(*(stdev(each) * math.sqrt((len(each) - 1) / freedom) for each in several)), freedom)


def mean_of(values: Sequence[float]) -> float:
    """Return the mean of some numbers, of such whose sum is beyond all floats as well."""
    try:
        return fmean(values)
    except OverflowError:
        return math.fsum(value / len(values) for value in values)


def interval(values: Sequence[float], metric: str) -> tuple[float, float] | None:
    """Return the 95% t-interval of a mean over seeds, on the scale of what it is; None for a single value.

    | metric                      | scale          | so it never holds       |
    |-----------------------------|----------------|-------------------------|
    | positive: losses, bits      | log            | a loss of 0 or less     |
    | shares: accuracy and others | logit          | less than 0, or above 1 |
    | r2                          | log of 1 - r2  | more than 1             |
    | anything else               | as it is       |                         |

    Around the mean as it is shown, by its standard error there (the delta method).
    """
    if len(values) < 2:
        return None
    mean, half = mean_of(values), t95(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    leaf = metric.rpartition("/")[2]
    if half == 0 or not math.isfinite(half):
        return (mean, mean) if half == 0 else None
    if leaf.endswith(("loss", "bits_per_character")) and min(values) > 0:
        return mean * math.exp(-half / mean), min(mean * math.exp(half / mean), sys.float_info.max)
    if leaf in ("accuracy", "calibration_error") and min(values) >= 0 and max(values) <= 1:
        if not 0 < mean < 1:  # by rounding
            return max(0.0, mean - half), min(mean + half, 1.0)
        odds, step = math.log(mean / (1 - mean)), half / (mean * (1 - mean))
        return _share(odds - step), _share(odds + step)
    if leaf == "r2" and max(values) <= 1:
        rest = 1 - mean
        if not rest:
            return mean - half, mean
        return 1 - rest * math.exp(half / rest), 1 - rest * math.exp(-half / rest)
    return mean - half, mean + half


def _share(odds: float) -> float:
    return 1 / (1 + math.exp(-odds)) if odds > 0 else math.exp(odds) / (1 + math.exp(odds))

"""Learning-rate schedules as closed forms of the step, in float64 numpy. It knows no torch and no rate.

A schedule emits a multiplier m of the peak rate. Gradual warmup: Goyal et al. (2017, arXiv:1706.02677).
Cosine: Loshchilov & Hutter (2017, arXiv:1608.03983), without restarts. T is the step axis, K the trial axis.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def warmup_cosine(step: ArrayLike, total: ArrayLike, warmup: ArrayLike, floor: ArrayLike) -> np.ndarray:
    """Return the multiplier: (t+1)/W for t < W, then floor + (1−floor)·½(1+cos π(t−W)/(T−W)), then floor.

    step: t, 0-based; total: T; warmup: W, 0 ≤ W ≤ T; floor: the value from t = T on, in [0, 1]. The arguments
    broadcast, e.g. `[T, 1]` steps with `[K]` warmups give `[T, K]` float64. Raises ValueError out of range.
    """
    t, T, W, low = (np.asarray(value, np.float64) for value in (step, total, warmup, floor))
    _check(T, W, low)
    rise = (t + 1) / np.maximum(W, 1)
    share = np.clip((t - W) / np.maximum(T - W, 1), 0, 1)
    fall = low + (1 - low) * 0.5 * (1 + np.cos(np.pi * share))
    return np.where(t < W, rise, np.where(t < T, fall, low))


def _check(total: np.ndarray, warmup: np.ndarray, floor: np.ndarray) -> None:
    total, warmup = np.broadcast_arrays(total, warmup)
    bad = ~((warmup >= 0) & (warmup <= total))
    if bad.any():
        raise ValueError(
            f"warmup is {warmup[bad][0]:g} of {total[bad][0]:g} steps; it should be between 0 and all of them"
        )
    if not ((floor >= 0) & (floor <= 1)).all():
        raise ValueError(f"floor is {floor[~((floor >= 0) & (floor <= 1))][0]:g}; it should be between 0 and 1")

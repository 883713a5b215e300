"""Where each row of a grid has its least loss, and the slope of the line through these places. Arrays only.

B draws of the noise, R rows, C columns. Every function takes a leading draw axis, so that a thousand tables made
with other noise are analysed as one.
"""

from __future__ import annotations

import numpy as np

from thalweg.runner.analysis.results import Bools, Floats, Ints

DECADE = 1.0
"""Half-width, in log10 wd, of the window that a parabola is fitted in."""
ROUNDING = 1e-6


def vertices(score_BRC: Floats, x_RC: Floats, usable_RC: Bools) -> tuple[Ints, Floats]:
    """Column of the least score and abscissa of the parabola's vertex: ([B,R], [B,R]).

    The parabola is fitted by least squares to the usable cells within a decade of the least one, its neighbours
    always among them. The vertex moves at most to the neighbouring cell; without curvature it stays.
    """
    score_BRC = np.where(usable_RC, score_BRC, np.inf)
    at_BR = score_BRC.argmin(2)
    here = at_BR[..., None]
    least_BR1 = np.take_along_axis(score_BRC, here, 2)
    x_BRC = np.broadcast_to(x_RC, score_BRC.shape)
    x0_BR1 = np.take_along_axis(x_BRC, here, 2)
    rank_RC = np.cumsum(usable_RC, 1)
    step_BRC: Ints = rank_RC - np.take_along_axis(np.broadcast_to(rank_RC, score_BRC.shape), here, 2)
    away_BRC = np.where(usable_RC, x_RC - x0_BR1, np.nan)
    window = usable_RC & ((np.abs(away_BRC) <= DECADE + ROUNDING) | (np.abs(step_BRC) <= 1))
    d = np.where(window, away_BRC, 0.0)
    y = np.where(window, score_BRC, least_BR1) - np.where(np.isfinite(least_BR1), least_BR1, 0.0)
    y = np.where(window, y, 0.0)
    move_BR = _vertex(d, y, window)
    left = np.where(usable_RC & (step_BRC == -1), away_BRC, 0.0).min(2)
    right = np.where(usable_RC & (step_BRC == 1), away_BRC, 0.0).max(2)
    return at_BR, x0_BR1[..., 0] + np.clip(move_BR, left, right)


def _vertex(d: Floats, y: Floats, window: Bools) -> Floats:
    """Abscissa of the least value of the parabola through points (d, y) by least squares; 0 if it has none."""
    n = window.sum(2)
    d2, dy = d * d, d * y
    s1, s2, s3, s4 = d.sum(2), d2.sum(2), (d2 * d).sum(2), (d2 * d2).sum(2)
    t0, t1, t2 = y.sum(2), dy.sum(2), (d * dy).sum(2)
    m11, m12, m22 = n * s2 - s1 * s1, n * s3 - s1 * s2, n * s4 - s2 * s2
    r1, r2 = n * t1 - s1 * t0, n * t2 - s2 * t0
    determinant = m11 * m22 - m12 * m12
    linear, curvature = r1 * m22 - r2 * m12, r2 * m11 - r1 * m12  # both times the determinant, which is >= 0
    bent = (n >= 3) & (determinant > 1e-12) & (curvature > 0)
    return np.where(bent, -linear / np.where(bent, 2 * curvature, 1.0), 0.0)


def theil_sen(x_R: Floats, y_BR: Floats, kept_BR: Bools) -> tuple[Floats, Floats]:
    """Median slope of y against x over all pairs of kept rows, and the median intercept: ([B], [B]).

    NaN where fewer than two rows are kept.
    """
    first, second = np.triu_indices(len(x_R), 1)
    pair_BP = (y_BR[:, second] - y_BR[:, first]) / (x_R[second] - x_R[first])
    slope_B = _median(np.where(kept_BR[:, first] & kept_BR[:, second], pair_BP, np.nan))
    return slope_B, _median(np.where(kept_BR, y_BR - slope_B[:, None] * x_R, np.nan))


def _median(values_BN: Floats) -> Floats:
    """Median along the last axis of what is not NaN; NaN where all is."""
    if not values_BN.shape[1]:
        return np.full(len(values_BN), np.nan)
    ordered = np.sort(values_BN, 1)  # NaN last
    count = np.isfinite(ordered).sum(1)
    middle = np.stack([np.maximum(count - 1, 0) // 2, np.minimum(count // 2, ordered.shape[1] - 1)], 1)
    low, high = np.take_along_axis(ordered, middle, 1).T
    centre: Floats = np.where(count > 0, (low + high) / 2, np.nan)
    return centre

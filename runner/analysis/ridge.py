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


def vertices(score_BRC: Floats, x_RC: Floats, usable_RC: Bools, skew: float = 0.0) -> tuple[Ints, Floats]:
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
    move_BR = move_BR * (1 - np.clip(1.5 * skew * move_BR, -0.5, 0.5))
    left = np.where(usable_RC & (step_BRC == -1), away_BRC, 0.0).min(2)
    right = np.where(usable_RC & (step_BRC == 1), away_BRC, 0.0).max(2)
    return at_BR, x0_BR1[..., 0] + np.clip(move_BR, left, right)


def skewness(score_RC: Floats, x_RC: Floats, usable_RC: Bools) -> float:
    """Third coefficient over second of the rows' valleys around their least cells, pooled over rows; 0 if not known."""
    second = third = 0.0
    for score, x, usable in zip(score_RC, x_RC, usable_RC, strict=True):
        y, at = score[usable], x[usable]
        least = int(y.argmin()) if len(y) else 0
        near = slice(max(least - 2, 0), least + 3)
        if 0 < least < len(y) - 1 and len(y[near]) > 3:
            b, a, *_ = np.polyfit(at[near] - at[least], y[near], 3)
            second, third = second + float(a), third + float(b)
    return third / second if second > 0 else 0.0


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


def theil_sen(x_R: Floats, y_BR: Floats, weight_BR: Floats) -> Floats:
    """Median slope of y against x over all pairs of rows, [B]; a pair weighs by both rows and by their distance in x.

    Continuous in y and in the weights. NaN where fewer than two rows weigh anything.
    """
    first, second = np.triu_indices(len(x_R), 1)
    apart = x_R[second] - x_R[first]
    pair_BP = (y_BR[:, second] - y_BR[:, first]) / apart
    return _median(pair_BP, weight_BR[:, first] * weight_BR[:, second] * apart)


def _median(value_BN: Floats, weight_BN: Floats) -> Floats:
    """Median along the last axis, interpolated between the middles of the weights; of equal ones the usual median."""
    if not value_BN.shape[1]:
        return np.full(len(value_BN), np.nan)
    order = np.where(weight_BN > 0, value_BN, np.inf).argsort(1)
    value_BN, weight_BN = (np.take_along_axis(each, order, 1) for each in (value_BN, weight_BN))
    total_B1 = weight_BN.sum(1, keepdims=True)
    middle_BN = np.where(weight_BN > 0, weight_BN.cumsum(1) - weight_BN / 2, np.inf)
    after_B1 = np.clip((middle_BN < total_B1 / 2).sum(1, keepdims=True), 1, value_BN.shape[1] - 1)
    low, high = (np.take_along_axis(value_BN, after_B1 - shift, 1) for shift in (1, 0))
    here, there = (np.take_along_axis(middle_BN, after_B1 - shift, 1) for shift in (1, 0))
    with np.errstate(invalid="ignore"):
        part = np.where(np.isfinite(there), (total_B1 / 2 - here) / np.where(there > here, there - here, 1.0), 0.0)
    found: Floats = low + np.clip(part, 0.0, 1.0) * np.where(part > 0, high - low, 0.0)
    return np.where(total_B1[:, 0] > 0, found[:, 0], np.nan)

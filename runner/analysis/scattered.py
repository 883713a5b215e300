"""The slope of the best weight decay where trials lie at random and no two share a rate: a local quadratic surface.

log loss = cubic in x + b·y + d·x·y + c·y², with x = log10 lr and y = log10 wd, by least squares over trials within a
decade of its own ridge y = -(b + d·x) / 2c, found by iteration. Its slope is -d / 2c. Stretches of the rate take the
place of rows: one whose ridge is an edge, lies beside diverged trials or far above the best is left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from thalweg.runner.analysis.answers import LESS, MORE, Finding, RowFit, Side
from thalweg.runner.analysis.results import Bools, Floats, Grid, Results
from thalweg.runner.analysis.rows import FAR, Drop

STRETCHES, FEWEST_STRETCHES = 8, 4
FEWEST = 20
"""Trials that the seven coefficients are fitted to at least."""
REACH = 1.0
"""Half-width of the strip along the ridge, in log10 wd."""
BESIDE = 0.4
"""Diverged trials this close to the ridge, in log10 wd, make it a bound."""
BENT = 3.0
"""The curvature across the ridge must be this many standard errors above 0."""
ROUNDS = 30
METHOD = "no rows: local quadratic surface in log lr and log wd along its own ridge; 95% interval from its residuals"


def without_rows(folded: Grid) -> bool:
    """Whether most rates stand alone, as in a random search."""
    cells = np.isfinite(folded.x_RC).sum()
    return bool(cells < 2 * len(folded.lr_R) and cells >= FEWEST)


@dataclass(frozen=True)
class _Trials:
    x: Floats
    y: Floats
    score: Floats  # NaN where not healthy
    log: bool


@dataclass(frozen=True)
class _Ridge:
    """y = at + slope·x, with the least score at each x, and the coefficients' covariance."""

    at: float
    slope: float
    base: Floats  # polynomial in x of the score on the ridge, highest power first
    curvature: float
    coefficients: Floats
    covariance: Floats

    def away(self, trials: _Trials) -> Floats:
        """Distance from the ridge, in log10 wd."""
        distance: Floats = trials.y - self.at - self.slope * trials.x
        return distance

    @property
    def bent(self) -> bool:
        """Whether there is a valley at all."""
        return self.curvature > BENT * math.sqrt(max(float(self.covariance[6, 6]), 0.0))


def ridge(results: Results) -> tuple[Finding, tuple[RowFit, ...]]:
    """Return the slope, and a row a stretch of the rate. Trials without decay are left out."""
    assert results.wd is not None
    some = results.wd > 0
    trials = _Trials(
        np.log10(results.lr[some]), np.log10(results.wd[some]), results.score[some], results.scale == "log"
    )
    edges = np.linspace(trials.x.min(), trials.x.max(), STRETCHES + 1)
    stretch = np.clip(np.searchsorted(edges, trials.x, "right") - 1, 0, STRETCHES - 1)
    found, used = _settle(trials)
    drops = [(Drop.FLAT, 0)] * STRETCHES
    if found is not None and found.bent:
        drops = [_judge(trials, found, stretch == each, edges[each : each + 2]) for each in range(STRETCHES)]
        kept = used & np.isin(stretch, [each for each, (drop, _) in enumerate(drops) if not drop])
        found = _fit(trials, kept) if kept.sum() >= FEWEST else None
    rows = tuple(_row(results, trials, found, stretch == n, edges[n : n + 2], *drops[n]) for n in range(STRETCHES))
    return _finding(found, sum(row.kept for row in rows), results), rows


def _fit(trials: _Trials, used: Bools) -> _Ridge | None:
    x, y, score = trials.x[used], trials.y[used], trials.score[used]
    X = np.stack([np.ones_like(x), x, x**2, x**3, y, x * y, y**2], 1)
    inverse = np.linalg.pinv(X.T @ X)
    beta = inverse @ X.T @ score
    rest = score - X @ beta
    freedom = len(x) - X.shape[1]
    if freedom < 1 or beta[6] <= 0:
        return None
    covariance = inverse * float(rest @ rest) / freedom
    b, d, c = beta[4:]
    on_ridge = np.array([beta[3], beta[2] - d * d / (4 * c), beta[1] - b * d / (2 * c), beta[0] - b * b / (4 * c)])
    return _Ridge(float(-b / (2 * c)), float(-d / (2 * c)), on_ridge, float(c), beta, covariance)


def _settle(trials: _Trials) -> tuple[_Ridge | None, Bools]:
    """Fit, keep the trials along the ridge and near its least loss, and again until nothing changes."""
    healthy = np.isfinite(trials.score)
    used = healthy & (trials.score <= np.nanmedian(trials.score))
    found = None
    for _ in range(ROUNDS):
        if used.sum() < FEWEST:
            return None, used
        found = _fit(trials, used)
        if found is None:
            return None, used
        on_ridge = np.polyval(found.base, trials.x)
        low = on_ridge[used].min()
        near = healthy & (np.abs(found.away(trials)) <= REACH) & (on_ridge <= low + 2 * FAR)
        if (near == used).all():
            break
        used = near
    return found, used


def _judge(trials: _Trials, found: _Ridge, inside: Bools, edges: Floats) -> tuple[Drop, int]:
    """Why a stretch does not count, and on which side of the ridge the truth may lie."""
    healthy, away = np.isfinite(trials.score), found.away(trials)
    if not (inside & healthy).any():
        return Drop.EMPTY, 0
    centre = float(edges.mean())
    best = min(float(np.polyval(found.base, x)) for x in trials.x[healthy])
    if trials.log and float(np.polyval(found.base, centre)) > best + FAR:
        return Drop.FAR, 0
    y = found.at + found.slope * edges
    for side, beyond in ((1, y.max() + BESIDE > trials.y.max()), (-1, y.min() - BESIDE < trials.y.min())):
        if beyond:
            return Drop.EDGE, side
    broken = inside & ~healthy & (np.abs(away) <= BESIDE)
    if broken.any():
        return Drop.DIVERGED, 1 if away[broken].mean() > 0 else -1
    near = inside & healthy & (np.abs(away) <= REACH)
    return (Drop.KEPT, 0) if (near & (away > 0)).any() and (near & (away < 0)).any() else (Drop.ABSENT, 0)


def _row(
    results: Results, trials: _Trials, found: _Ridge | None, inside: Bools, edges: Floats, drop: Drop, side: int
) -> RowFit:
    lr = 10 ** float(edges.mean())
    scores = trials.score[inside & np.isfinite(trials.score)]
    if not len(scores):
        return RowFit(lr, None, reason=Drop.EMPTY.phrase)
    wd = 10 ** (found.at + found.slope * float(edges.mean())) if found else None
    said: Side = MORE if side > 0 else LESS if side < 0 else ""
    loss = results.unscored(float(scores.min()))
    return RowFit(lr, wd, None, None, loss, not drop and found is not None, (drop or Drop.KEPT).phrase, said)


def _finding(found: _Ridge | None, stretches: int, results: Results) -> Finding:
    estimate = low = high = None
    if found is not None and found.bent and stretches >= FEWEST_STRETCHES:
        estimate = found.slope
        d, c = found.coefficients[5], found.coefficients[6]
        gradient = np.array([-1 / (2 * c), d / (2 * c * c)])
        half = 1.96 * math.sqrt(float(gradient @ found.covariance[5:, 5:] @ gradient))
        low, high = estimate - half, estimate + half
    return Finding(
        name="slope", estimate=estimate, low=low, high=high, n=stretches, counted="stretches of lr", method=METHOD
    )

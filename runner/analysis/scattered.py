"""The slope of the best weight decay where trials lie at random and no two share a rate: a valley along its own ridge.

log loss = cubic in x + c·z² + c'·z³, with x = log10 lr and z = log10 wd - (at + slope·x) the distance from the ridge,
by weighted least squares. A trial weighs by its distance from the ridge, by how far the loss on the ridge lies above
the least one there, and by how far the ridge lies from where trials end or diverge; all of it without a step, found by
iteration. Stretches of the rate take the place of rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from thalweg.runner.analysis.answers import LESS, MORE, Finding, RowFit, Side
from thalweg.runner.analysis.results import Bools, Floats, Grid, Results
from thalweg.runner.analysis.rows import Drop
from thalweg.runner.cells.nearness import effective, near, reach
from thalweg.runner.cells.student import t95

STRETCHES, FEWEST_STRETCHES = 8, 2
FEWEST = 16
"""Trials, by their effective number, that the eight coefficients are fitted to at least."""
WANTED = 60.0
"""Effective number of trials for which the weights reach up to greater losses."""
REACH = 1.25
"""Distance from the ridge, in log10 wd, at which a trial counts for nothing."""
BESIDE = 0.4
"""Trials that diverged, or the last ones, this close to the ridge (log10 wd) make it a bound."""
BENT = 3.0
"""The curvature across the ridge must be this many standard errors above 0."""
ROUNDS, ROUNDS_DRAWN, STILL = 30, 3, 1e-6
DRAWS, CALM = 100, 4.0
"""Draws of the trials' weights, and how much less these vary than Rubin's do: so that each draw still has a valley."""
SHORT = 1.15
"""Linear weights fall this much short of the spread that other trials would give (200 tables of each kind)."""
FLOOR = 0.01
"""Half-width that is left of any interval, added in quadrature: ends are printed with two decimals."""
METHOD = (
    f"no rows: a valley along its own ridge, by least squares; 95% interval of {DRAWS} draws of the trials' weights"
)


def without_rows(folded: Grid) -> bool:
    """Whether most rates stand alone, as in a random search."""
    cells = np.isfinite(folded.x_RC).sum()
    return bool(cells < 2 * len(folded.lr_R) and cells >= 20)


@dataclass(frozen=True)
class _Trials:
    """Settings N, each once, with the mean score of its seeds: NaN where one is not healthy.

    x: log10 lr less `middle`, so that powers of it can be told apart.
    """

    middle: float
    x: Floats
    y: Floats
    score: Floats
    log: bool

    @property
    def healthy(self) -> Bools:
        known: Bools = np.isfinite(self.score)
        return known


@dataclass(frozen=True)
class _Ridge:
    """Ridges y = at + slope·x of B weightings of the trials: curvature across, and the least score at each x."""

    at_B: Floats
    slope_B: Floats
    curvature_B: Floats
    base_B4: Floats  # polynomials in x, lowest power first

    def away(self, trials: _Trials) -> Floats:
        """Distance from the ridge, in log10 wd, [B,N]."""
        distance: Floats = trials.y - self.at_B[:, None] - self.slope_B[:, None] * trials.x
        return distance

    def base(self, x: Floats) -> Floats:
        """The score on the ridge, [B,N]."""
        score: Floats = self.base_B4 @ _powers(x).T
        return score


def ridge(results: Results) -> tuple[Finding, tuple[RowFit, ...]]:
    """Return the slope, and a row a stretch of the rate. Trials without decay are left out."""
    trials = _folded(results)
    found = _find(trials)
    drawn = _drawn(trials, found) if found else None
    curvature = float(found.curvature_B[0]) if found else 0.0
    if found and (drawn is None or curvature <= BENT * _spread(drawn.curvature_B, curvature)):
        found = None
    edges = np.linspace(trials.x.min(), trials.x.max(), STRETCHES + 1)
    rows = tuple(_row(results, trials, found, edges[n : n + 2]) for n in range(STRETCHES))
    return _finding(trials, found, drawn, sum(row.kept for row in rows)), rows


def _folded(results: Results) -> _Trials:
    assert results.wd is not None
    some = results.wd > 0
    points, number = np.unique(np.stack([results.lr, results.wd])[:, some], axis=1, return_inverse=True)
    score = np.bincount(number.ravel(), results.score[some]) / np.bincount(number.ravel())  # NaN if one seed's is
    x = np.log10(points[0])
    middle = float(x.max() + x.min()) / 2
    return _Trials(middle, x - middle, np.log10(points[1]), score, results.scale == "log")


def _find(trials: _Trials) -> _Ridge | None:
    """The ridge, from a quadratic surface through half of the trials, the better ones; where that fails, others."""
    for share in (0.5, 0.75, 0.35, 1.0):
        used = trials.healthy & (trials.score <= np.nanquantile(trials.score, share))
        if used.sum() < FEWEST:
            continue
        x, y = trials.x[used], trials.y[used]
        X = np.concatenate([_powers(x), np.stack([y, x * y, y * y], 1)], 1)
        *base, b, d, c = np.linalg.lstsq(X, trials.score[used], rcond=None)[0]
        if c <= 0:
            continue
        at, slope = -b / (2 * c), -d / (2 * c)
        on_ridge = np.array(base) - c * np.array([at * at, 2 * at * slope, slope * slope, 0.0])
        found = _Ridge(np.array([at]), np.array([slope]), np.array([c]), on_ridge[None])
        if settled := _settled(trials, found, np.ones((1, len(trials.x))), ROUNDS):
            return settled
    return None


def _settled(trials: _Trials, found: _Ridge | None, share_BN: Floats, rounds: int) -> _Ridge | None:
    """Weigh the trials and move the ridge, so many times or until it stays."""
    for _ in range(rounds):
        if found is None:
            return None
        weight_BN = share_BN * _weights(trials, found)
        if len(weight_BN) == 1 and effective(weight_BN) < FEWEST:
            return None
        moved = _fit(trials, found, weight_BN)
        still = moved is not None and np.abs(moved.slope_B - found.slope_B).max() < STILL
        found = moved
        if still:
            break
    return found


def _weights(trials: _Trials, found: _Ridge) -> Floats:
    """What each trial counts for, [B,N]."""
    away_BN, healthy = found.away(trials), trials.healthy
    across_BN = np.where(healthy, np.maximum(1 - (away_BN / REACH) ** 2, 0.0), 0.0)
    across_BN = across_BN * _open(trials, trials.y - away_BN, trials.x)
    if not trials.log:
        return across_BN
    base_BN = found.base(trials.x)
    above_BN = base_BN - np.where(across_BN > 0, base_BN, np.inf).min(1, keepdims=True)
    return across_BN * near(above_BN, reach(above_BN[0], across_BN[0], WANTED))


def _open(trials: _Trials, ridge_BN: Floats, x_N: Floats) -> Floats:
    """How far the ridge is from where trials end or diverge: 0 within half of BESIDE, 1 beyond all of it."""
    room_BN = np.minimum(trials.y.max() - ridge_BN, ridge_BN - trials.y.min())
    broken = ~trials.healthy
    if broken.any():
        beside_NM = np.abs(x_N[:, None] - trials.x[broken]) <= np.ptp(trials.x) / STRETCHES / 2
        gap_BNM = np.abs(ridge_BN[:, :, None] - trials.y[broken])
        room_BN = np.minimum(room_BN, np.where(beside_NM, gap_BNM, np.inf).min(2))
    part: Floats = np.clip(2 * room_BN / BESIDE - 1, 0.0, 1.0)
    return part


def _fit(trials: _Trials, found: _Ridge, weight_BN: Floats) -> _Ridge | None:
    """A step of Gauss and Newton: the score in coordinates of the ridge that was found, and the ridge moved by it."""
    used = trials.healthy & (weight_BN > 0).any(0)
    z_BN, weight_BN = found.away(trials)[:, used], weight_BN[:, used]
    x = trials.x[used]
    base_BN4 = np.broadcast_to(_powers(x), (len(z_BN), len(x), 4))
    X = np.concatenate([base_BN4, np.stack([z_BN, x * z_BN, z_BN**2, z_BN**3], 2)], 2)
    weighted = X * weight_BN[..., None]
    normal = weighted.transpose(0, 2, 1) @ X
    normal += np.maximum(1e-12 * normal.trace(axis1=1, axis2=2), 1e-30)[:, None, None] * np.eye(normal.shape[-1])
    beta = np.linalg.solve(normal, (weighted.transpose(0, 2, 1) @ trials.score[used])[..., None])[..., 0]
    curvature = beta[:, 6]
    if (curvature[:1] <= 0).any():
        return None
    safe = np.where(curvature > 0, curvature, np.nan)
    return _Ridge(
        np.nan_to_num(found.at_B - np.clip(beta[:, 4] / (2 * safe), -1, 1), nan=float(found.at_B[0])),
        np.nan_to_num(found.slope_B - np.clip(beta[:, 5] / (2 * safe), -1, 1), nan=float(found.slope_B[0])),
        curvature,
        beta[:, :4],
    )


def _drawn(trials: _Trials, found: _Ridge) -> _Ridge | None:
    """The ridge of the same trials with random weights, the selection made anew in each (Rubin 1981)."""
    share_BN = np.random.default_rng(0).gamma(CALM, 1 / CALM, (DRAWS, len(trials.x)))
    many = _Ridge(
        *(np.repeat(each, DRAWS, 0) for each in (found.at_B, found.slope_B, found.curvature_B, found.base_B4))
    )
    return _settled(trials, many, share_BN, ROUNDS_DRAWN)


def _spread(value_B: Floats, estimate: float) -> float:
    """Standard error: the distance from the estimate that 68% of the draws keep."""
    return math.sqrt(CALM) * float(np.quantile(np.abs(value_B - estimate), 0.683))


def _powers(x: Floats) -> Floats:
    return np.stack([np.ones_like(x), x, x**2, x**3], 1)


def _judge(trials: _Trials, found: _Ridge, edges: Floats) -> tuple[Drop, int]:
    """Why a stretch does not count, and on which side of the ridge the truth may lie."""
    inside = (trials.x >= edges[0]) & (trials.x <= edges[1])
    away, weight = found.away(trials)[0], _weights(trials, found)[0]
    if (weight[inside] > 0).any():
        return Drop.KEPT, 0
    centre = edges.mean()
    at = float(found.at_B[0] + found.slope_B[0] * centre)
    if at + BESIDE > trials.y.max() or at - BESIDE < trials.y.min():
        return Drop.EDGE, 1 if at > trials.y.mean() else -1
    broken = inside & ~trials.healthy & (np.abs(away) <= BESIDE)
    if broken.any():
        return Drop.DIVERGED, 1 if away[broken].mean() > 0 else -1
    return (Drop.FAR, 0) if (np.abs(away[inside & trials.healthy]) < REACH).any() else (Drop.ABSENT, 0)


def _row(results: Results, trials: _Trials, found: _Ridge | None, edges: Floats) -> RowFit:
    centre = float(edges.mean())
    lr = 10 ** (centre + trials.middle)
    scores = trials.score[(trials.x >= edges[0]) & (trials.x <= edges[1]) & trials.healthy]
    if not len(scores):
        return RowFit(lr, None, reason=Drop.EMPTY.phrase)
    loss = results.unscored(float(scores.min()))
    if found is None:
        return RowFit(lr, None, None, None, loss, reason=Drop.FLAT.phrase)
    drop, beyond = _judge(trials, found, edges)
    side: Side = MORE if beyond > 0 else LESS if beyond < 0 else ""
    wd = 10 ** float(found.at_B[0] + found.slope_B[0] * centre)
    return RowFit(lr, wd, None, None, loss, not drop, drop.phrase, side, float(not drop))


def _finding(trials: _Trials, found: _Ridge | None, drawn: _Ridge | None, stretches: int) -> Finding:
    estimate = low = high = None
    if found is not None and drawn is not None and stretches >= FEWEST_STRETCHES:
        n = effective(_weights(trials, found)[0])
        estimate = float(found.slope_B[0])
        half = SHORT * t95(n - 8) * n / (n - 8) * _spread(drawn.slope_B, estimate)
        low, high = estimate - math.hypot(half, FLOOR), estimate + math.hypot(half, FLOOR)
    return Finding(
        name="slope", estimate=estimate, low=low, high=high, n=stretches, counted="stretches of lr", method=METHOD
    )

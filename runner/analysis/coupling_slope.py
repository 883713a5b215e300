"""The slope of log wd*(lr) against log lr, wd*(lr) being the best weight decay at a fixed rate, with its interval.

A row of one learning rate is kept only where its best cell is an estimate and not a bound; the slope is Theil and
Sen's over the rows kept; the interval comes from tables redrawn with the noise between seeds. docs/analysis.md has
the method, its reasons, and how often its intervals cover.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from thalweg.runner.analysis import scattered, sentences
from thalweg.runner.analysis.answers import LESS, MORE, Coupling, Edge, Expected, Finding, Place, RowFit, Side
from thalweg.runner.analysis.noise import noise, roughness
from thalweg.runner.analysis.results import Bools, Floats, Grid, Ints, Results, grid, place
from thalweg.runner.analysis.ridge import skewness, theil_sen, vertices
from thalweg.runner.analysis.rows import Drop, Judged, Weighed, judge, weigh
from thalweg.runner.cells.nearness import effective
from thalweg.runner.cells.noise import Noise
from thalweg.runner.cells.student import t95
from thalweg.runner.show.numbers import count

FEWEST_ROWS = 4
FLOOR = 0.01
"""Half-width that is left of any interval, added in quadrature: ends are printed with two decimals."""
DRAWS = 400
BAGGED = 0.8
"""The median over draws spreads .75 to .85 as far as one draw does (300 tables each of eight kinds)."""
UNREPLICATED = 0.9
"""Share of the rows' scatter that the median over draws keeps where one seed tells nothing of the noise."""
NAME, UNIT = "slope of best wd against lr", "d log wd / d log lr"
METHOD = "parabola in log wd for each lr, weighted Theil-Sen over rows"
REPLICATED = (
    f"median and 95% interval of {DRAWS} tables redrawn with the noise pooled over seeds, with what rows scatter beyond"
)
SCATTER = "95% interval by Student's t of the rows about the line"
ONE_SEED_NEAR = "the cells near the best have one seed: the interval knows how rows scatter about a line alone"
ONE_SEED = "one seed: the interval knows how rows scatter about a line, but not the noise between seeds"


def coupling(
    results: Results, *, panel: str = "", expect: Expected | None = None, turns: Bools | None = None
) -> Coupling:
    """Estimate how the best weight decay moves with the rate. `results` needs wd; the order of trials is irrelevant.

    turns [n]: where decay alone turns a weight's sign in a step at the peak rate; else where lr·wd ≥ 1.
    """
    assert results.wd is not None
    turns = results.lr * results.wd >= 1 if turns is None else turns
    flips = len(np.unique(np.stack([results.lr, results.wd])[:, turns], axis=1).T)
    folded = grid(results)
    if scattered.without_rows(folded):
        slope, rows = scattered.ridge(results)
        return _answer(results, folded, slope, rows, flips, panel, expect)
    log = results.scale == "log"
    spread = noise(folded, log)
    assumed = spread or roughness(folded)
    judged = judge(folded, assumed, log)
    fit = _fit(folded, assumed or Noise(0.0, 1))
    weighed = weigh(folded, judged, fit.at_BR, fit.least_BR, log)
    slope = _slope(folded, fit, weighed, replicated=spread is not None)
    return _answer(results, folded, slope, _rows(results, folded, judged, fit, weighed), flips, panel, expect)


@dataclass(frozen=True)
class _Fit:
    """Best column, its score, and vertex (log10 wd) of each row: of the table itself first, then of those redrawn."""

    at_BR: Ints
    least_BR: Floats
    vertex_BR: Floats


def _fit(folded: Grid, spread: Noise) -> _Fit:
    usable = folded.usable_RC
    score_BRC = np.concatenate([folded.mean_RC[None], _drawn(folded, spread)])
    skew = skewness(folded.mean_RC, folded.x_RC, usable)
    at, vertex = vertices(score_BRC, folded.x_RC, usable, skew)
    least = np.take_along_axis(np.where(usable, score_BRC, np.inf), at[..., None], 2)[..., 0]
    return _Fit(at, least, vertex)


def _drawn(folded: Grid, spread: Noise) -> Floats:
    """Tables redrawn around the cell means, [B,R,C], the uncertainty of the noise itself included."""
    random = np.random.default_rng(0)
    scale_B = spread.deviation * np.sqrt(spread.freedom / random.chisquare(spread.freedom, DRAWS))
    usable = folded.usable_RC  # a cell that cannot be used draws nothing, so that it changes no other's interval
    shaken = np.zeros((DRAWS, *usable.shape))
    noise_BN = random.standard_normal((DRAWS, int(usable.sum()))) / np.sqrt(folded.count_RC[usable])
    shaken[:, usable] = folded.mean_RC[usable] + noise_BN * scale_B[:, None]
    return shaken


def _slope(folded: Grid, fit: _Fit, weighed: Weighed, *, replicated: bool) -> Finding:
    kept, x = weighed.kept_R, np.log10(folded.lr_R)
    estimate = low = high = None
    if kept.sum() >= FEWEST_ROWS:
        slope_B = theil_sen(x, fit.vertex_BR[1:], weighed.weight_BR)
        low, estimate, high = (float(q) for q in np.nanquantile(slope_B, (0.025, 0.5, 0.975)))
        noise_R = fit.vertex_BR[1:].var(0) if replicated else np.zeros(len(x))
        beyond = math.hypot(_scatter(x, fit.vertex_BR[0], weighed.weight_R, noise_R, estimate), FLOOR)
        beyond *= 1.0 if replicated else UNREPLICATED
        low, high = (BAGGED * (end - estimate) if replicated else 0.0 for end in (low, high))
        low, high = estimate - math.hypot(low, beyond), estimate + math.hypot(high, beyond)
    return Finding(
        name=NAME,
        estimate=estimate,
        low=low,
        high=high,
        n=int(kept.sum()),
        unit=UNIT,
        method=f"{METHOD}; {REPLICATED if replicated else SCATTER}",
        caveats=() if replicated else (ONE_SEED if folded.count_RC.max(initial=0) < 2 else ONE_SEED_NEAR,),
    )


def _scatter(x_R: Floats, y_R: Floats, weight_R: Floats, noise_R: Floats, slope: float) -> float:
    """Half-width of the slope's 95% interval by the scatter of rows about the line, beyond what noise explains.

    noise_R: variances of y that are accounted for elsewhere.
    """
    share_R = weight_R / weight_R.sum()
    rest_R = y_R - slope * x_R
    freedom = max(effective(weight_R) - 2, 1.0)
    rest = float(share_R @ (rest_R - share_R @ rest_R) ** 2)
    beyond = max(rest * (1 + 2 / freedom) - float(share_R @ noise_R), 0.0)
    spread = float(share_R @ (x_R - share_R @ x_R) ** 2) * (freedom + 2)
    return t95(freedom) * math.sqrt(beyond / spread)


def _rows(results: Results, folded: Grid, judged: Judged, fit: _Fit, weighed: Weighed) -> tuple[RowFit, ...]:
    made, one_seed = [], folded.count_RC.max(initial=0) < 2
    for row, lr in enumerate(folded.lr_R):
        reason, at = Drop(weighed.reason_R[row]), int(fit.at_BR[0, row])
        if reason == Drop.EMPTY:
            made.append(RowFit(float(lr), None, reason=reason.phrase))
            continue
        low = high = None
        if reason == Drop.KEPT and not one_seed:
            low, high = (10 ** float(q) for q in np.quantile(fit.vertex_BR[1:, row], (0.025, 0.975)))
        bound = reason in (Drop.EDGE, Drop.DIVERGED, Drop.ABSENT)
        wd = fit.vertex_BR[0, row] if reason == Drop.KEPT else folded.x_RC[row, at]
        score = min(float(folded.mean_RC[row, at]), float(folded.none_R[row]))
        side: Side = "" if not bound else MORE if judged.side_RC[row, fit.at_BR[:, row]].sum() > 0 else LESS
        if bound and folded.none_R[row] < folded.mean_RC[row, at]:
            wd, side = np.nanmin(folded.x_RC[row]), LESS
        counts, loss = float(weighed.weight_R[row]), results.unscored(score)
        made.append(RowFit(float(lr), 10 ** float(wd), low, high, loss, not reason, reason.phrase, side, counts))
    return tuple(made)


def _answer(
    results: Results,
    folded: Grid,
    slope: Finding,
    rows: tuple[RowFit, ...],
    flips: int,
    panel: str,
    expect: Expected | None,
) -> Coupling:
    best = place(results)
    edge = _edges(folded, rows, best)
    if results.stopped:  # whatever lies beside those that are left was tried, and is no bound
        rows, edge = tuple(replace(row, side="") for row in rows), ()
        caveat = f"{count(results.stopped, 'trial')} stopped early by early losses: this is of those that were left"
        slope = replace(slope, caveats=(*slope.caveats, caveat))
    said = sentences.say(slope, rows, edge, expect, FEWEST_ROWS, flips)
    return Coupling(
        panel=panel,
        slope=slope,
        rows=rows,
        label=said.label,
        verdict=said.verdict,
        undetermined=said.undetermined,
        consistent=said.consistent,
        excluded=said.excluded,
        diverged=int((~results.healthy).sum()),
        flips=flips,
        edge=edge,
        best=best,
        expect=expect,
    )


def _edges(folded: Grid, rows: Sequence[RowFit], best: Place | None) -> tuple[Edge, ...]:
    """The ends that the optimum sits on: of decay by rows whose best lies there, of the rate by the best cell."""
    made: list[Edge] = []
    column_RC = folded.x_RC - (folded.exponent or 0.0) * np.log10(folded.lr_R)[:, None]
    below, above = (sum(row.reason == Drop.EDGE.phrase and row.side == side for row in rows) for side in (LESS, MORE))
    if below:
        made.append(Edge("wd", "below", below, sentences.axis(folded.exponent), 10 ** float(np.nanmin(column_RC))))
    if above:
        made.append(Edge("wd", "above", above, sentences.axis(folded.exponent), 10 ** float(np.nanmax(column_RC))))
    if best and len(folded.lr_R) > 1 and best.lr in (folded.lr_R[0], folded.lr_R[-1]):
        made.append(Edge("lr", "below" if best.lr == folded.lr_R[0] else "above", 1, "lr", best.lr))
    return tuple(made)

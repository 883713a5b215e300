"""The slope of log wd*(lr) against log lr, wd*(lr) being the best weight decay at a fixed rate, with its interval.

A row of one learning rate is kept only where its best cell is an estimate and not a bound; the slope is Theil and
Sen's over the rows kept; the interval comes from tables redrawn with the noise between seeds. docs/analysis.md has
the method, its reasons, and how often its intervals cover.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.runner.analysis import scattered, sentences
from thalweg.runner.analysis.answers import LESS, MORE, Coupling, Edge, Expected, Finding, Place, RowFit, Side
from thalweg.runner.analysis.noise import noise, roughness
from thalweg.runner.analysis.results import Bools, Floats, Grid, Ints, Results, grid, place
from thalweg.runner.analysis.ridge import theil_sen, vertices
from thalweg.runner.analysis.rows import Drop, Judged, judge, reasons
from thalweg.runner.cells.noise import Noise
from thalweg.runner.cells.student import t95

FEWEST_ROWS = 4
FLOOR = 0.015
"""Half-width that is left without any noise: the grid's steps move the slope by about .013. Added in quadrature."""
DRAWS = 1000
BAGGED = 0.8
"""The median over draws spreads .75 to .85 as far as one draw does (300 tables each of eight kinds)."""
NAME, UNIT = "slope of best wd against lr", "d log wd / d log lr"
METHOD = "parabola in log wd for each lr, Theil-Sen over rows"
REPLICATED = f"median and 95% interval of {DRAWS} tables redrawn with the noise pooled over seeds"
SCATTER = "95% interval by Student's t of the rows about the line"
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
    spread = noise(folded)
    log = results.scale == "log"
    judged = judge(folded, spread or roughness(folded), log)
    fit = _fit(folded, judged, folded.mean_RC[None], log)
    drawn = _draw(folded, judged, spread, log) if spread else None
    slope = _slope(folded, fit, drawn)
    return _answer(results, folded, slope, _rows(results, folded, judged, fit, drawn), flips, panel, expect)


@dataclass(frozen=True)
class _Fit:
    """Best column, vertex (log10 wd), score and reason of each row, and the slope of the rows kept, for B tables."""

    at_BR: Ints
    vertex_BR: Floats
    reason_BR: Ints
    slope_B: Floats

    @property
    def kept_BR(self) -> Bools:  # noqa: N802 - its shape
        kept: Bools = self.reason_BR == Drop.KEPT
        return kept


def _fit(folded: Grid, judged: Judged, score_BRC: Floats, log: bool) -> _Fit:
    at, vertex = vertices(score_BRC, folded.x_RC, folded.usable_RC)
    least = np.take_along_axis(np.where(folded.usable_RC, score_BRC, np.inf), at[..., None], 2)[..., 0]
    reason = reasons(folded, judged, at, least, log)
    slope = theil_sen(np.log10(folded.lr_R), vertex, reason == Drop.KEPT)[0]
    return _Fit(at, vertex, reason, slope)


def _draw(folded: Grid, judged: Judged, spread: Noise, log: bool) -> _Fit:
    """Fit tables redrawn around the cell means, the uncertainty of the noise itself included."""
    random = np.random.default_rng(0)
    scale_B = spread.deviation * np.sqrt(spread.freedom / random.chisquare(spread.freedom, DRAWS))
    usable = folded.usable_RC  # a cell that cannot be used draws nothing, so that it changes no other's interval
    shaken = np.zeros((DRAWS, *usable.shape))
    noise_BN = random.standard_normal((DRAWS, int(usable.sum()))) / np.sqrt(folded.count_RC[usable])
    shaken[:, usable] = folded.mean_RC[usable] + noise_BN * scale_B[:, None]
    return _fit(folded, judged, shaken, log)


def _slope(folded: Grid, fit: _Fit, drawn: _Fit | None) -> Finding:
    kept, x = fit.kept_BR[0], np.log10(folded.lr_R)
    estimate = low = high = None
    if kept.sum() >= FEWEST_ROWS and drawn is not None:
        slope_B = theil_sen(x, drawn.vertex_BR, np.broadcast_to(kept, drawn.vertex_BR.shape))[0]
        low, estimate, high = (float(q) for q in np.quantile(slope_B, (0.025, 0.5, 0.975)))
        low, high = (estimate + BAGGED * (end - estimate) for end in (low, high))
    elif kept.sum() >= FEWEST_ROWS:
        estimate = float(fit.slope_B[0])
        half = _scatter(x[kept], fit.vertex_BR[0, kept], estimate)
        low, high = estimate - half, estimate + half
    return Finding(
        name=NAME,
        estimate=estimate,
        low=None if estimate is None or low is None else estimate - math.hypot(estimate - low, FLOOR),
        high=None if estimate is None or high is None else estimate + math.hypot(high - estimate, FLOOR),
        n=int(kept.sum()),
        unit=UNIT,
        method=f"{METHOD}; {SCATTER if drawn is None else REPLICATED}",
        caveats=(ONE_SEED,) if drawn is None else (),
    )


def _scatter(x: Floats, y: Floats, slope: float) -> float:
    """Half-width of the slope's 95% interval, had the rows independent normal errors about the line."""
    rest = y - slope * x
    centred = x - x.mean()
    variance = float(((rest - rest.mean()) ** 2).sum()) / (len(x) - 2)
    return t95(len(x) - 2) * math.sqrt(variance / float((centred**2).sum()))


def _rows(results: Results, folded: Grid, judged: Judged, fit: _Fit, drawn: _Fit | None) -> tuple[RowFit, ...]:
    made = []
    for row, lr in enumerate(folded.lr_R):
        reason, at = Drop(fit.reason_BR[0, row]), int(fit.at_BR[0, row])
        if reason == Drop.EMPTY:
            made.append(RowFit(float(lr), None, reason=reason.phrase))
            continue
        low = high = None
        if drawn is not None and reason == Drop.KEPT:
            low, high = (10 ** float(q) for q in np.quantile(drawn.vertex_BR[:, row], (0.025, 0.975)))
        bound = reason in (Drop.EDGE, Drop.DIVERGED, Drop.ABSENT)
        wd = fit.vertex_BR[0, row] if reason == Drop.KEPT else folded.x_RC[row, at]
        score = min(float(folded.mean_RC[row, at]), float(folded.none_R[row]))
        side: Side = "" if not bound else MORE if judged.side_RC[row, at] > 0 else LESS
        if bound and folded.none_R[row] < folded.mean_RC[row, at]:
            wd, side = np.nanmin(folded.x_RC[row]), LESS
        made.append(
            RowFit(float(lr), 10 ** float(wd), low, high, results.unscored(score), not reason, reason.phrase, side)
        )
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

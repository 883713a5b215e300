"""How much the choice of the rate matters: Wortsman et al. 2023 (arXiv:2309.14322), against one common reference.

LR sensitivity is the mean over the rates of min(loss, loss at initialisation), less the best loss. The best is that
of all curves together: against each curve's own, training better would look like being more sensitive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

import numpy as np

from thalweg.runner.analysis.answers import Curve, Finding, Sensitivity
from thalweg.runner.analysis.results import Bools, Floats, Results, place
from thalweg.runner.base.errors import UsageError
from thalweg.runner.cells.student import t95
from thalweg.runner.show.numbers import count, figure

UNIT = "loss"
METHOD = (
    "mean over learning rates of min(loss, loss at initialisation) - best loss of all curves; 95% interval by"
    " Student's t"
)
SAME_GRID = "curves over different learning rates cannot be compared"


def sensitivity(results: Results, curve: Sequence[str], *, panel: str = "") -> Sensitivity:
    """Return the LR sensitivity of each curve, in order of appearance. `curve` [n] names the curve of each trial.

    Raises UsageError where a trial diverged and neither its loss at initialisation nor the number of classes is known.
    """
    names, of = np.array(curve, dtype=object), list(dict.fromkeys(curve))
    best = {name: place(results.take(names == name)) for name in of}
    known = [found.loss for found in best.values() if found]
    reference = min(known, default=None)
    curves = tuple(
        Curve(name, cost(results, names == name, reference, f"LR sensitivity, {name}"), best[name]) for name in of
    )
    label, verdict, undetermined = _said(curves, reference, len({_span(results, names == name) for name in of}) > 1)
    return Sensitivity(
        panel=panel,
        curves=curves,
        reference=reference,
        label=label,
        verdict=verdict,
        undetermined=undetermined,
        diverged=int((~results.healthy).sum()),
        best=place(results),
    )


def cost(results: Results, which: Bools, reference: float | None, name: str) -> Finding:
    """LR sensitivity of the trials of a mask against a reference loss."""
    taken = results.take(which)
    capped = _capped(taken)
    cells = _counted(taken, capped)
    of_rate = [fmean(cell.values()) for cell in cells]
    if reference is not None:  # a best cell with a seed above its loss at initialisation is capped as all others are
        reference = min(reference, *of_rate)
    n = min(map(len, cells))
    means = [fmean(cell[seed] for cell in cells) for seed in cells[0]] if n > 1 and _is_whole(cells) else []
    half = t95(n - 1) * stdev(means) / math.sqrt(n) if means else None
    estimate = None if reference is None else fmean(of_rate) - reference
    ends: tuple[float | None, float | None] = (None, None)
    if half is not None and estimate is not None:  # no rate costs less than the best does
        ends = max(estimate - half, min(estimate, 0.0)), estimate + half
    seeds = len(np.unique(taken.seed))
    caveats = _caveats(seeds, len(means))
    return Finding(
        name=name,
        estimate=estimate,
        low=ends[0],
        high=ends[1],
        n=n,
        counted="seeds",
        unit=UNIT,
        method=METHOD,
        caveats=caveats,
    )


def _counted(taken: Results, capped: Floats) -> list[dict[int, float]]:
    """Each learning rate's losses by seed, of the seeds that have them all; of all seeds where fewer than two have.

    A seed of some learning rates alone, as more seeds for the best ones are, would say little or much for where it is.
    """
    cells = [
        {int(seed): float(capped[at & (taken.seed == seed)].mean()) for seed in np.unique(taken.seed[at])}
        for at in (taken.lr == rate for rate in np.unique(taken.lr))
    ]
    whole = sorted(set(cells[0]).intersection(*cells))
    return [{seed: cell[seed] for seed in whole} for cell in cells] if len(whole) > 1 else cells


def _is_whole(cells: Sequence[dict[int, float]]) -> bool:
    return all(cell.keys() == cells[0].keys() for cell in cells)


def _caveats(seeds: int, means: int) -> tuple[str, ...]:
    if seeds == 1:
        return ("one seed: no interval",)
    if not means:
        return ("fewer than two seeds were trained at every learning rate: no interval",)
    if means == seeds:
        return ()
    return (f"{count(seeds - means, 'seed')} more, not trained at every learning rate, left out",)


def at_start(results: Results) -> Floats:
    """Loss before the first step of each trial: its own, its seed's if it is not known, else that of a guess."""
    start = np.full(len(results.loss), math.nan) if results.initial is None else results.initial.copy()
    for seed in np.unique(results.seed):
        of_seed = results.seed == seed
        known = start[of_seed & np.isfinite(start)]
        start[of_seed & ~np.isfinite(start)] = known.mean() if known.size else results.chance or math.nan
    return start


def _capped(results: Results) -> Floats:
    start = at_start(results)
    if (~results.healthy & np.isnan(start)).any():
        raise UsageError(
            "trials diverged, and their loss at initialisation is not known",
            "give its column with --initial COL, or the number of classes with --classes N",
        )
    return np.where(results.healthy, np.fmin(results.loss, start), start)


def _span(results: Results, which: Bools) -> tuple[float, ...]:
    return tuple(np.unique(results.lr[which]))


def _said(curves: Sequence[Curve], reference: float | None, mixed: bool) -> tuple[str, str, bool]:
    if reference is None:
        return "not identified: no usable trial", "Not identified: no usable trial.", True
    ranked = sorted(curves, key=lambda each: each.sensitivity.estimate or 0.0)
    least, most = ranked[0], ranked[-1]
    ends = f"{least.name} {_text(least.sensitivity)}"
    against = f" Against the best loss of all, {figure(reference)}."
    if len(ranked) == 1:
        return (
            _text(least.sensitivity),
            f"A learning rate other than the best costs {_on_average(least.sensitivity)}.",
            False,
        )
    apart = _apart(least.sensitivity, most.sensitivity)
    label = f"least: {least.name}" if apart else "no difference beyond the noise"
    verdict = (
        f"{count(len(ranked), 'curve')}: a learning rate other than the best costs least with {ends}, and most with "
        f"{most.name} {_text(most.sensitivity)}{'' if apart else '; their intervals overlap'}.{against}"
    )
    return label, f"{verdict} Caution: {SAME_GRID}." if mixed else verdict, not apart


def _apart(one: Finding, other: Finding) -> bool:
    return one.high is not None and other.low is not None and one.high < other.low


def _on_average(found: Finding) -> str:
    if found.estimate is None:
        return "not known"
    ends = "" if found.low is None or found.high is None else f" (95% {figure(found.low)} to {figure(found.high)})"
    return f"{figure(found.estimate)} on average{ends}"


def _text(found: Finding) -> str:
    if found.estimate is None:
        return "not known"
    if found.low is None or found.high is None:
        return f"({figure(found.estimate)})"
    return f"({figure(found.estimate)}, 95% {figure(found.low)} to {figure(found.high)})"

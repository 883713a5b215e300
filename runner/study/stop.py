"""A rule that stops trials early, and whom it stops. Pure: knows no store, no clock and no order of arrival.

Cells of one contest are compared at rungs, fixed numbers of steps, and only once each of them has reached the rung. So
who stops is a function of the declared set and of what its trials measured there, whoever trained them, and when.

| rule    | at each rung goes on                                                                                |
|---------|-----------------------------------------------------------------------------------------------------|
| median  | who is no worse than the median of the whole contest, those that stopped before with their last value |
| halving | the best 1/eta of those that reached it, one at least; Jamieson & Talwalkar 2016, arXiv:1502.07943  |

Whoever is as good as the last to go on goes on too. A cell is its replicates together, judged by their mean: were
replicates stopped one by one, the mean over those left would be of the lucky ones. Where one diverged or failed, the
cell is worst of all and stops; one without a value, measured at other steps before, is left out and goes on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Literal

Cell = tuple[str, ...]
"""The ids of a cell's trials."""
Reached = Mapping[str, Mapping[int, float]]
"""Trial id -> step -> value there, lower is better: inf of one that diverged or failed, nan where it never will be
known; a step that is not there may still be reached."""


@dataclass(frozen=True)
class Stop:
    """When trials stop early. rungs: shares of a trial's steps, ascending. eta: of halving, one in how many goes on."""

    rule: Literal["median", "halving"]
    rungs: tuple[float, ...]
    eta: float = 2.0

    def steps(self, steps: int) -> tuple[int, ...]:
        """The rungs of trials that take so many steps."""
        return tuple(round(share * steps) for share in self.rungs)

    @property
    def said(self) -> str:
        """The rule in a few words."""
        at = ", ".join(f"{share:.4g}%" for share in (100 * rung for rung in self.rungs))
        return f"halving by {self.eta:g} at {at}" if self.rule == "halving" else f"median at {at}"


@dataclass(frozen=True)
class Contest:
    """Cells that are compared with each other, of trials that all take `steps`."""

    steps: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Pruned:
    """Where a trial stopped: the number of the rung, from 1, and the steps it had taken."""

    rung: int
    step: int


@dataclass(frozen=True)
class Standing:
    """How a contest stands. until: trials that are to reach a rung next; to the end where it is None. waiting: those
    that are there already, until all are. pruned: those that stopped."""

    until: Mapping[str, int | None] = field(default_factory=dict)
    waiting: frozenset[str] = frozenset()
    pruned: Mapping[str, Pruned] = field(default_factory=dict)


def standing(stop: Stop, contest: Contest, reached: Reached) -> Standing:
    """Return how a contest stands by what its trials have measured."""
    going, last = list(contest.cells), dict[Cell, float]()
    pruned: dict[str, Pruned] = {}
    for rung, step in enumerate(stop.steps(contest.steps), 1):
        known = {cell: [reached.get(trial, {}).get(step) for trial in cell] for cell in going}
        missing = {t for cell, values in known.items() for t, v in zip(cell, values, strict=True) if v is None}
        if missing:
            there = {trial for cell in going for trial in cell} - missing
            return Standing(dict.fromkeys(missing, step), frozenset(there), pruned)
        values = {cell: _mean([v for v in each if v is not None]) for cell, each in known.items()}
        kept = _kept(stop, values, last)
        for cell in going:
            if cell not in kept:
                last[cell] = values[cell]
                pruned |= dict.fromkeys(cell, Pruned(rung, step))
        going = [cell for cell in going if cell in kept]
    return Standing({trial: None for cell in going for trial in cell}, pruned=pruned)


def _mean(values: Sequence[float]) -> float:
    if any(map(math.isnan, values)):
        return math.nan
    return fmean(values) if all(map(math.isfinite, values)) else math.inf


def _kept(stop: Stop, values: Mapping[Cell, float], stopped: Mapping[Cell, float]) -> set[Cell]:
    """Who of those that reached a rung goes on."""
    compared = sorted(value for value in values.values() if not math.isnan(value))
    if not compared:
        return set(values)
    if stop.rule == "median":
        bar = median([*compared, *stopped.values()])
    else:
        bar = compared[max(1, math.ceil(len(compared) / stop.eta)) - 1]
    return {cell for cell, value in values.items() if math.isnan(value) or (value <= bar and value < math.inf)}


def together(standings: Sequence[Standing]) -> Standing:
    """How trials stand that are in several contests: they go as far as any lets them, and stop where all stop them."""
    until: dict[str, int | None] = {}
    pruned: dict[str, Pruned] = {}
    for each in standings:
        for trial, step in each.until.items():
            before = until.get(trial, 0)
            until[trial] = None if step is None or before is None else max(step, before)
        for trial, where in each.pruned.items():
            pruned[trial] = max(where, pruned.get(trial, where), key=lambda one: one.step)
    waiting = frozenset(trial for each in standings for trial in each.waiting if trial not in until)
    settled = {trial: where for trial, where in pruned.items() if trial not in until and trial not in waiting}
    return Standing(until, waiting, settled)

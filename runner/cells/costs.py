"""What a wrong value of one axis costs, with all other axes chosen anew for it. Pure; for grids of three axes and more.

At each value of the axis the best cell is chosen, and so is the best of all. How much the first is worse than the
second, on average over the values tried, is what the axis costs whoever sets it blindly. Chosen and judged on the same
seeds, noise alone would cost something; so cells are chosen on all seeds but one, and judged on that one, each in turn.
An axis that does nothing then costs 0 on average, whatever the noise. The interval is Student's t, widened since each
two of these choices share seeds (Nadeau & Bengio 2003). Shares of variance (fANOVA, and the random forests
of other tools) answer another question: how much the whole grid varies, its useless corners most of all.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import stdev
from typing import Literal

from thalweg.runner.base.canonical import Scalar
from thalweg.runner.cells.cells import Cell, Panel, ranked
from thalweg.runner.cells.noise import mean_of
from thalweg.runner.cells.student import t95
from thalweg.runner.show.numbers import figure, is_number
from thalweg.runner.study.study import SAMPLE, Block

FEW = 3
"""An axis with more values than this for each cell at them was drawn at random: its values are put in groups."""
GROUPS = 5
LARGEST = math.log(sys.float_info.max)


@dataclass(frozen=True)
class Cost:
    """The cost of one axis, on the scale of scores: a difference of logarithms for a loss.

    low, high: its 95% interval over the seeds; None with one seed, where noise counts as cost. values: how many values,
    or groups of values, are compared; `dead` ones have no usable cell and are no part of the mean. by_factors: scores
    are logarithms. direction: which end of the metric is best. along: axes that a zip moves with it.
    """

    key: str
    cost: float | None
    low: float | None
    high: float | None
    values: int
    dead: int
    seeds: int
    by_factors: bool
    direction: Literal["min", "max"]
    along: tuple[str, ...] = ()

    @property
    def told(self) -> bool:
        """Whether the seeds tell it from nothing."""
        return self.low is not None and self.low > 0

    def shown(self, score: float) -> float:
        """Return a cost as it is read: a factor of a loss, a difference of anything else."""
        return math.exp(min(score, LARGEST)) if self.by_factors else score

    @property
    def worse(self) -> str:
        """What it does to the metric: ×1.20 [1.10, 1.30], or 0.03 [0.01, 0.05] lower."""
        if self.cost is None:
            return "not known"
        ends = f" [{self._figure(self.low)}, {self._figure(self.high)}]" if self.low is not None else ""
        if self.by_factors:
            return f"×{self._figure(self.cost)}{ends}"
        return f"{self._figure(self.cost)}{ends} {'higher' if self.direction == 'min' else 'lower'}"

    def _figure(self, score: float | None) -> str:
        return figure(self.shown(score or 0.0), 3 if self.by_factors else 2)


@dataclass(frozen=True)
class Space:
    """The cells of panels that may be compared, and the axes that vary over them, three at least.

    along: axis -> those that a zip moves with it: which of them made a difference, nobody can say. They count once.
    """

    name: str
    cells: tuple[Cell, ...]
    axes: tuple[str, ...]
    along: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def best(self) -> Cell | None:
        """The cell that `ranked` puts first."""
        return next(iter(ranked(self.cells)), None)

    @property
    def costs(self) -> list[Cost]:
        """What each axis costs, the dearest first."""
        tied = {key for others in self.along.values() for key in others}
        own = [key for key in self.axes if key not in tied]
        found = [replace(cost_of(self.cells, key), along=self.along.get(key, ())) for key in own]
        return sorted(found, key=lambda each: (each.cost is None, -(each.cost or 0.0)))


def spaces(cut: Iterable[Panel], blocks: Iterable[Block] = ()) -> list[Space]:
    """Return the grids of three axes and more: panels of one block, on the same data, that differ in single keys."""
    zips = {block.name: [each.keys for each in block.bundles if each.name != SAMPLE] for block in blocks}
    together: dict[tuple[str, str, str], list[Panel]] = {}
    for panel in cut:
        together.setdefault((panel.block, panel.data, panel.apart), []).append(panel)
    found = []
    for (block, _, apart), members in together.items():
        cells = tuple(cell for panel in members for cell in panel.cells)
        axes = tuple(key for key in members[0].axes if len({repr(cell.axes.get(key)) for cell in cells}) > 1)
        along = _along(cells, axes, zips.get(block, ()))
        if len(axes) - sum(map(len, along.values())) > 2:
            found.append(Space(", ".join(filter(None, (block, apart))), cells, axes, along))
    return found


def _along(cells: Sequence[Cell], axes: Sequence[str], zips: Iterable[Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Of each zip whose axes always take their values together: the first of them, and the others."""
    found = {}
    for keys in zips:
        tied = [key for key in axes if key in keys]
        points = [[repr(cell.axes.get(key)) for key in tied] for cell in cells]
        if len(tied) > 1 and {len(set(each)) for each in zip(*points, strict=True)} == {len(set(map(tuple, points)))}:
            found[tied[0]] = tuple(tied[1:])
    return found


def cost_of(cells: Sequence[Cell], key: str) -> Cost:
    """Return what a value of `key` costs that is picked blindly among those tried."""
    at = groups(cells, key)
    usable = [cell for cell in cells if cell.usable]
    seeds = max((cell.n for cell in usable), default=0)
    whole = [here for each in at if (here := [cell for cell in each if cell.usable and cell.n == seeds])]
    found = [_cost(whole, seed) for seed in (range(seeds) if seeds > 1 else (None,))] if whole else []
    half = math.inf
    if len(found) > 1:
        half = t95(seeds - 1) * stdev(found) * (1 / seeds + 1 / (seeds - 1)) ** 0.5
    mean, known = mean_of(found) if found else None, math.isfinite(half)
    return Cost(
        key=key,
        cost=mean,
        low=mean - half if mean is not None and known else None,
        high=mean + half if mean is not None and known else None,
        values=len(at),
        dead=len(at) - len(whole),
        seeds=seeds,
        by_factors=cells[0].by_factors,
        direction=cells[0].direction,
    )


def _cost(at: Sequence[Sequence[Cell]], out: int | None) -> float:
    """Choose on the seeds but `out`, and judge on that one; with None, on all."""

    def chosen(cells: Iterable[Cell]) -> Cell:
        return min(cells, key=lambda cell: mean_of([score for seed, score in enumerate(cell.scores) if seed != out]))

    def judged(cell: Cell) -> float:
        return cell.score if out is None else cell.scores[out]

    best = [chosen(cells) for cells in at]
    return mean_of([judged(cell) for cell in best]) - judged(chosen(best))


def groups(cells: Sequence[Cell], key: str) -> list[list[Cell]]:
    """Return the cells at each value of an axis, in order; of a range that was drawn from, in fifths of its points."""
    at: dict[Scalar, list[Cell]] = {}
    for cell in cells:
        if key in cell.axes:
            at.setdefault(cell.axes[key], []).append(cell)
    values = ordered(at)
    if len(cells) > FEW * len(values) or len(values) <= 2 * GROUPS or not all(map(is_number, values)):
        return [at[value] for value in values]
    ends = [round(i * len(values) / GROUPS) for i in range(GROUPS + 1)]
    return [[cell for value in values[a:b] for cell in at[value]] for a, b in pairwise(ends)]


def ordered(values: Iterable[Scalar]) -> list[Scalar]:
    """Return the values of an axis: numbers ascending, others as they came."""
    found = list(dict.fromkeys(values))
    numbers = [value for value in found if is_number(value)]
    return [*sorted(numbers)] if len(numbers) == len(found) else found

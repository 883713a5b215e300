"""The table an analysis is given, one entry a trial, and the same folded to a grid. Knows no file and no store.

R rows (learning rates), C columns along a row, S seeds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from thalweg.runner.analysis.answers import Place
from thalweg.runner.cells.health import UNTRAINED, ceiling

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Scale = Literal["log", "linear", "negated"]

EXPONENTS = (0.0, -1.0, 1.0, -2.0, 2.0, -0.5, 0.5)
"""Directions of a grid that are recognised: columns of constant wd / lr^e."""
SAME_RATE, SAME_COLUMN = 1e-4, 0.02
"""Rates, and products of a column, that differ by no more than this (relative) are one point of a grid: a decay that
was computed as product / rate is often written down with three digits."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """Final results of trials that ended, one entry each. Trials that never ran are left out.

    lr [n], wd [n], warmup [n, steps]: settings; wd and warmup only where the question has them. loss [n]: the final
    metric; not finite where the trial diverged. seed [n]: which trials are replicates with common random numbers.
    initial [n]: loss before the first step. spike [n]: largest ratio of the loss to that of a control trial over the
    first half. chance: the loss of a guess; None where it is not known. scale: how the metric is compared, "log" for a
    loss, "negated" for what is best large. limit [n]: the loss from which a trial is not healthy, where it was judged
    elsewhere. rate_sum, decay_sum [n]: sums of the rate, and of rate times decay, over the steps. whole: every trial
    that diverged is here, so that an absent one did not. stopped: trials that a rule stopped early, so that where what
    is here ends, the grid does not. control: what spikes are measured against, or why nothing is.
    """

    lr: Floats
    loss: Floats
    seed: Ints
    wd: Floats | None = None
    warmup: Floats | None = None
    initial: Floats | None = None
    spike: Floats | None = None
    chance: float | None = None
    scale: Scale = "log"
    limit: Floats | None = None
    rate_sum: Floats | None = None
    decay_sum: Floats | None = None
    whole: bool = False
    stopped: int = 0
    control: str = ""

    @cached_property
    def ceiling(self) -> Floats:
        """The loss [n] from which a trial counts as diverged although it is finite; inf where there is none."""
        if self.limit is not None:
            return self.limit
        known = ceiling(self.loss.tolist(), self.chance) if self.scale == "log" else math.inf
        return np.full(len(self.loss), known)

    @cached_property
    def healthy(self) -> Bools:
        """Which trials ended with a usable metric."""
        known: Bools = np.isfinite(self.loss) & ~(self.loss >= self.ceiling)
        return known

    @cached_property
    def score(self) -> Floats:
        """The metric on the scale it is compared on, lower is better; NaN where it is not healthy."""
        value = np.where(self.healthy, self.loss, np.nan)
        if self.scale == "log":
            return np.log(np.maximum(value, 1e-300))
        return value if self.scale == "linear" else -value

    def unscored(self, score: float) -> float:
        """The metric that has this score."""
        return math.exp(score) if self.scale == "log" else score if self.scale == "linear" else -score

    def take(self, which: NDArray[Any]) -> Results:
        """The entries of a mask or of indices. What is healthy is still judged by the whole table's losses."""
        columns = ("wd", "warmup", "initial", "spike", "rate_sum", "decay_sum")
        taken: dict[str, Any] = {name: getattr(self, name) for name in columns if getattr(self, name) is not None}
        taken = {name: column[which] for name, column in taken.items()}
        least: dict[str, Any] = {"lr": self.lr[which], "loss": self.loss[which], "seed": self.seed[which]}
        return replace(self, **least, **taken, limit=self.ceiling[which])

    def is_guess(self, mean: Floats) -> Bools:
        """Which means of the metric are no better than a guess's, where that is known."""
        if self.chance is None or self.scale != "log":
            return np.zeros(mean.shape, bool)
        guess: Bools = mean >= UNTRAINED * self.chance
        return guess


@dataclass(frozen=True)
class Grid:
    """Results with a positive decay, folded: rows ascend in lr, columns in wd.

    x_RC: log10 wd, NaN where there is no cell. score_RCS: NaN where a seed is absent or diverged. mean_RC: over
    seeds, inf where the cell cannot be used. broken_RC: a seed diverged. guess_RC: no better than guessing. exponent:
    columns are constant wd / lr^e; None where rows have no columns in common. none_R: mean of the cell without decay,
    inf where there is none.
    """

    lr_R: Floats
    x_RC: Floats
    score_RCS: Floats
    mean_RC: Floats
    count_RC: Ints
    broken_RC: Bools
    guess_RC: Bools
    none_R: Floats
    exponent: float | None

    @property
    def usable_RC(self) -> Bools:  # noqa: N802 - its shape
        """Which cells can be compared."""
        usable: Bools = np.isfinite(self.mean_RC)
        return usable


def same_points(values: Floats, tolerance: float) -> tuple[Floats, Ints]:
    """Points of an axis that are written down with few digits: (ascending points, index of each value's point)."""
    different, back = np.unique(values, return_inverse=True)
    points: list[float] = []
    number = np.empty(len(different), np.int64)
    for place, value in enumerate(different):
        if not points or value > points[-1] * (1 + tolerance):
            points.append(float(value))
        number[place] = len(points) - 1
    return np.array(points), number[back]


def columns_of(lr: Floats, wd: Floats) -> tuple[float | None, Ints]:
    """The exponent e for which wd / lr^e takes the fewest values, and each trial's column; None if none fits.

    A rectangular grid has e = 0, one along lr·wd -1. Columns fit if at least half of their cells exist.
    """
    rows, row = same_points(lr, SAME_RATE)
    tried = [(e, same_points(wd / lr**e, SAME_COLUMN)[1]) for e in EXPONENTS]
    exponent, column = min(tried, key=lambda pair: pair[1].max())
    cells = len(np.unique(np.stack([row, column]), axis=1).T)
    return exponent if len(rows) * (column.max() + 1) <= 2 * cells else None, column


def grid(results: Results) -> Grid:
    """Fold results over seeds to rows of one learning rate."""
    assert results.wd is not None
    seeds, seed = np.unique(results.seed, return_inverse=True)
    lr_R, row = same_points(results.lr, SAME_RATE)
    some = results.wd > 0
    exponent, column = columns_of(results.lr[some], results.wd[some]) if some.any() else (None, np.zeros(0, np.int64))
    if exponent is None and some.any():
        column = _ranks(row[some], results.wd[some])
    width = int(column.max()) + 1 if column.size else 1
    shape = (len(lr_R), width, len(seeds))
    x, score, loss = np.full(shape[:2], np.nan), np.full(shape, np.nan), np.full(shape, np.nan)
    tried = np.zeros(shape, bool)
    place = (row[some], column, seed[some])
    x[place[:2]] = np.log10(results.wd[some])
    score[place], tried[place], loss[place] = results.score[some], True, results.loss[some]
    broken = (tried & np.isnan(score)).any(2)
    count = tried.sum(2)
    if not results.whole:
        broken |= _survivors(count, broken, np.isfinite(x))
    usable = (count > 0) & ~broken
    mean = np.full(shape[:2], np.inf)
    mean[usable] = np.nanmean(score[usable], axis=1) if usable.any() else np.inf
    guess = np.zeros(shape[:2], bool)
    guess[usable] = results.is_guess(np.nanmean(loss[usable], axis=1)) if usable.any() else False
    return Grid(lr_R, x, score, mean, count, broken, guess, _without(results, row, ~some, len(lr_R)), exponent)


def _ranks(row: Ints, wd: Floats) -> Ints:
    """Number each row's decays from the smallest: columns of rows that have none in common."""
    index = np.empty(len(row), np.int64)
    for each in np.unique(row):
        index[row == each] = same_points(wd[row == each], SAME_RATE)[1]
    return index


def _survivors(count: Ints, broken: Bools, there: Bools) -> Bools:
    """Cells that lack a seed and lie beside a diverged or absent cell of their row: what is absent has diverged."""
    gone = np.pad(broken | ~there, ((0, 0), (1, 1)), constant_values=False)
    beside: Bools = there & (count < count.max(initial=0)) & (gone[:, :-2] | gone[:, 2:])
    return beside


def _without(results: Results, row: Ints, none: Bools, rows: int) -> Floats:
    mean = np.full(rows, np.inf)
    for each in np.unique(row[none]):
        scores = results.score[none & (row == each)]
        if not np.isnan(scores).any():
            mean[each] = float(scores.mean())
    return mean


def place(results: Results) -> Place | None:
    """The cell to take, decay 0 included, as `runner.cells` ranks cells; None if none can be.

    That is the lowest mean (highest, of what is best large) of those whose trials are all healthy, that are better
    than a guess, and that have more than half of the seeds that the fullest of them has.
    """
    columns = {name: getattr(results, name) for name in ("lr", "wd", "warmup") if getattr(results, name) is not None}
    cells, cell = np.unique(np.stack(list(columns.values())), axis=1, return_inverse=True)
    cell = cell.reshape(-1)
    n = np.bincount(cell)
    mean = np.bincount(cell, np.where(results.healthy, results.loss, np.nan)) / n  # NaN where a seed diverged
    usable = ~np.isnan(mean) & ~results.is_guess(mean)
    if not usable.any():
        return None
    rank = np.where(usable & (2 * n > n[usable].max()), -mean if results.scale == "negated" else mean, np.inf)
    at = int(rank.argmin())
    found = dict(zip(columns, map(float, cells[:, at]), strict=True))
    return Place(**found, loss=float(mean[at]), n=int(n[at]))

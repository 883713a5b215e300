"""A ladder: cells that differ in one numeric axis alone, and what keeps its best from being known better.

Three things can: the grid ends there (edge), its step is coarse (step), or the seeds scatter (noise). Each asks for
other trials. Knows no study and no trial's configuration.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from itertools import pairwise
from typing import Literal

from thalweg.runner.base.canonical import Scalar
from thalweg.runner.cells.cells import Cell, ranked
from thalweg.runner.show.numbers import is_number

Side = Literal["below", "above"]
FEWEST_RUNGS = 3
"""An axis of fewer values compares them: it has no step to halve and no end to widen past."""
FINEST = 1.15
"""Neighbours on a logarithmic axis that are closer than this factor are not coarse: nothing is put between them."""
WORK = Context(prec=40)
SHORT = Context(prec=6)
"""A point without a short exact value is rounded to six digits, so that it can be typed and stays the same trial."""


@dataclass(frozen=True)
class Ladder:
    """Cells along `key`, ascending. On a logarithmic axis 0 is no rung: it stands aside."""

    key: str
    cells: tuple[Cell, ...]
    zero: Cell | None
    logarithmic: bool

    @property
    def best(self) -> Cell | None:
        """The rung to take; None if none is usable."""
        return next(iter(ranked(self.cells)), None)

    def at(self, cell: Cell) -> float:
        """Where a cell stands on the axis."""
        return number(cell, self.key)


@dataclass(frozen=True)
class Limits:
    """What keeps a ladder's best from being known better: at most one of edge, and step and noise side by side.

    edge: the side on which the grid ends at the best, unless all are as good. coarse: neighbours clearly worse, or
    unusable, with room between. tied: neighbours that the replicates cannot tell from the best.
    """

    best: Cell
    edge: Side | None
    coarse: tuple[Cell, ...]
    tied: tuple[Cell, ...]


def number(cell: Cell, key: str) -> float:
    """A cell's value of a numeric axis."""
    value = cell.axes[key]
    assert is_number(value)
    return float(value)


def ladders(cells: Iterable[Cell], key: str, axes: Sequence[str]) -> list[Ladder]:
    """Sort cells into ladders along `key`: those that agree in all other `axes`."""
    together: dict[str, list[Cell]] = {}
    for cell in cells:
        if is_number(cell.axes.get(key)):
            together.setdefault(repr([cell.axes.get(axis) for axis in axes if axis != key]), []).append(cell)
    logarithmic = is_logarithmic(number(cell, key) for members in together.values() for cell in members)
    return [ladder(key, members, logarithmic) for members in together.values()]


def ladder(key: str, cells: Sequence[Cell], logarithmic: bool) -> Ladder:
    """Return one ladder of cells."""
    ranked = sorted(cells, key=lambda cell: number(cell, key))
    zero = next((cell for cell in ranked if logarithmic and number(cell, key) == 0), None)
    return Ladder(key, tuple(cell for cell in ranked if cell is not zero), zero, logarithmic)


def is_logarithmic(values: Iterable[float]) -> bool:
    """Whether an axis steps by factors rather than by sums; 0 may stand beside factors."""
    distinct = sorted(set(values))
    positive = [value for value in distinct if value > 0]
    if len(positive) < 2 or distinct[0] < 0:
        return False
    factors = [math.log(b / a) for a, b in pairwise(positive)]
    sums = [b - a for a, b in pairwise(distinct)]
    return max(factors) / min(factors) < max(sums) / min(sums) or (len(sums) == 1 and positive[1] >= 1.5 * positive[0])


def limits(of: Ladder, margin: float | None) -> Limits | None:
    """Say what keeps the best of a ladder from being known better; None where it has no best.

    margin: the difference in score that the replicates can tell; None where they cannot tell any, so that every
    usable neighbour is tied.
    """
    best = of.best
    if best is None:
        return None
    at = of.cells.index(best)
    if len(of.cells) < FEWEST_RUNGS:
        return Limits(
            best, None, (), tuple(cell for cell in of.cells if cell is not best and _is_tied(cell, best, margin))
        )
    last = len(of.cells) - 1
    if at in (0, last) and margin is not None and all(_is_tied(cell, best, margin) for cell in of.cells):
        return Limits(best, None, (), (of.cells[1 if at == 0 else last - 1],))  # all are as good: noise put it there
    if at == last:
        return Limits(best, "above", (), ())
    if at == 0:
        none_as_good = of.zero is not None and of.zero.usable and of.zero.score <= best.score + (margin or 0.0)
        return Limits(best, None if none_as_good else "below", (), ())
    coarse, tied = [], []
    for beside in (of.cells[at - 1], of.cells[at + 1]):
        if _is_tied(beside, best, margin):
            tied.append(beside)
        elif _is_coarse(of, best, beside):
            coarse.append(beside)
    return Limits(best, None, tuple(coarse), tuple(tied))


def between(a: float, b: float, logarithmic: bool) -> float:
    """Return the point half way between two rungs, exact where that is short, else rounded to six digits.

    0.005 and 0.02 give 0.01; 1/64 and 1/16 give 1/32: a point that a finer range would have, to the bit.
    """
    low, high = Decimal(str(a)), Decimal(str(b))
    if not logarithmic:
        return float(WORK.divide(WORK.add(low, high), Decimal(2)))
    product = WORK.multiply(low, high)
    middle = WORK.sqrt(product)
    exact = WORK.multiply(middle, middle) == product and len(middle.normalize(WORK).as_tuple().digits) < 18
    return float(middle if exact else SHORT.plus(middle))


def beyond(of: Ladder, side: Side, count: int) -> list[float]:
    """Return the next points past an end, in the step that the ladder has there; none for a single rung."""
    values = [of.at(cell) for cell in of.cells]
    if len(values) < 2:
        return []
    return further(values[-2:] if side == "above" else values[1::-1], of.logarithmic, count)


def further(values: Sequence[float], logarithmic: bool, count: int) -> list[float]:
    """Return the next points of a sequence, in the step between its last two values."""
    inner, last = (Decimal(str(value)) for value in values)
    found = []
    for _ in range(count):
        step = WORK.divide(last, inner) if logarithmic else WORK.subtract(last, inner)
        inner, last = last, WORK.multiply(last, step) if logarithmic else WORK.add(last, step)
        found.append(float(last))
    return found


def typed(value: float, like: Scalar) -> Scalar:
    """Return a point in the type of its axis: integers stay integers, and above 0 where the point is."""
    return max(round(value), int(value > 0)) if isinstance(like, int) and not isinstance(like, bool) else value


def _is_tied(beside: Cell, best: Cell, margin: float | None) -> bool:
    return beside.usable and (margin is None or beside.score <= best.score + margin)


def _is_coarse(of: Ladder, best: Cell, beside: Cell) -> bool:
    if not (beside.usable or beside.diverged or beside.n):
        return False  # not trained yet
    low, high = sorted((of.at(best), of.at(beside)))
    if isinstance(best.axes[of.key], int):
        return high - low >= 2
    return high / low > FINEST if of.logarithmic and low > 0 else high > low

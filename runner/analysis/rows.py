"""Which rows of a grid say where the best decay lies, and why the others do not.

B draws of the noise, R rows, C columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from thalweg.runner.analysis.results import Bools, Floats, Grid, Ints
from thalweg.runner.cells.health import Health
from thalweg.runner.cells.noise import Noise

FEWEST_CELLS = 4
FAR = 0.15
"""A row whose least log loss is this much above the best row's (16%) says little about where the ridge is."""
FLAT = 0.005
"""A row whose log losses span less than this (half a percent), or than noise would, has no best decay."""
RANGE = 4.3
"""95% quantile of the range of eight normal means, in standard errors (Tukey's studentised range)."""


class Drop(IntEnum):
    """Why a row does not count. Where several reasons hold, the first one stands."""

    KEPT = 0
    EMPTY = 1
    GUESS = 2
    FEW = 3
    FLAT = 4
    FAR = 5
    EDGE = 6
    DIVERGED = 7
    ABSENT = 8

    @property
    def phrase(self) -> str:
        """The reason in words; empty for a row that is kept."""
        return _PHRASES[self]


_PHRASES = {
    Drop.KEPT: "",
    Drop.EMPTY: "no usable cell",
    Drop.GUESS: Health.GUESS.value,
    Drop.FEW: f"fewer than {FEWEST_CELLS} usable cells",
    Drop.FLAT: "flat: decay makes no difference",
    Drop.FAR: "above the best loss by 16% or more",
    Drop.EDGE: "on the grid's edge",
    Drop.DIVERGED: "beside a diverged cell",
    Drop.ABSENT: "beside a cell that is not there",
}


@dataclass(frozen=True)
class Judged:
    """What holds whatever the noise draws. Entries are numbers of Drop.

    row_R: why a whole row is dropped. cell_RC: why it is dropped if that cell is its best; side_RC: then the truth
    lies below (-1) or above (1) that cell.
    """

    row_R: Ints
    cell_RC: Ints
    side_RC: Ints


def judge(folded: Grid, noise: Noise | None, log: bool) -> Judged:
    """Judge rows and cells. log: scores are logarithms of losses."""
    usable, mean = folded.usable_RC, folded.mean_RC
    least = mean.min(1)
    span = np.where(usable, mean, -math.inf).max(1) - least
    error = noise.deviation / np.sqrt(np.maximum(folded.count_RC.max(1), 1)) if noise else 0.0
    row = np.where(span <= np.maximum(FLAT if log else 0.0, RANGE * error), Drop.FLAT, Drop.KEPT)
    row[usable.sum(1) < FEWEST_CELLS] = Drop.FEW
    row[(folded.guess_RC | ~usable).all(1)] = Drop.GUESS
    row[~usable.any(1)] = Drop.EMPTY
    return Judged(row, *_bounds(folded))


def reasons(folded: Grid, judged: Judged, at_BR: Ints, least_BR: Floats, log: bool) -> Ints:
    """Why each row is dropped, [B,R], given the column and the score of its best cell."""
    reason = judged.cell_RC[np.arange(len(folded.lr_R)), at_BR]
    reason = np.where(folded.none_R < least_BR, Drop.EDGE, reason)
    if log:
        lost = np.isin(judged.row_R, (Drop.EMPTY, Drop.GUESS))
        best_B = np.minimum(np.where(lost, np.inf, least_BR).min(1), folded.none_R.min())
        reason = np.where(least_BR > best_B[:, None] + FAR, Drop.FAR, reason)
    return np.where(judged.row_R != Drop.KEPT, judged.row_R, reason).astype(np.int64)


def _bounds(folded: Grid) -> tuple[Ints, Ints]:
    usable, there = folded.usable_RC, np.isfinite(folded.x_RC)
    end = Drop.EDGE if folded.exponent is None else Drop.ABSENT  # rows without common columns end where they end
    reason, side = np.zeros(usable.shape, np.int64), np.zeros(usable.shape, np.int64)
    for row, at in np.argwhere(usable):
        for step, beyond in ((1, slice(at + 1, None)), (-1, slice(None, at))):
            on_that_side = (part[row, beyond][::step] for part in (there, folded.broken_RC, usable))
            found = _beyond(end, *on_that_side)
            if found and not reason[row, at]:
                reason[row, at], side[row, at] = found, step
    return reason, side


def _beyond(end: Drop, there: Bools, broken: Bools, usable: Bools) -> Drop:
    """Why a cell with these cells on one of its sides, the nearest first, is a bound."""
    if not there.any():
        return end if len(there) else Drop.EDGE
    if broken[0]:
        return Drop.DIVERGED
    return Drop.KEPT if usable.any() else Drop.ABSENT

"""How much each row of a grid says about where the best decay lies, and why some say nothing.

No row passes a cut that noise decides: a row's share falls to nothing as its loss rises above the best, as its best
cell comes to lie beside a bound in half of the redrawn tables, and as its losses come to span no more than noise does.

B draws of the noise, R rows, C columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from thalweg.runner.analysis.results import Bools, Floats, Grid, Ints
from thalweg.runner.cells.health import Health
from thalweg.runner.cells.nearness import near, reach
from thalweg.runner.cells.noise import Noise

FEWEST_CELLS = 4
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
    Drop.FEW: f"fewer than {FEWEST_CELLS} usable weight decays above 0",
    Drop.FLAT: "flat: decay makes no difference",
    Drop.FAR: "far above the best loss",
    Drop.EDGE: "on the grid's edge",
    Drop.DIVERGED: "beside a diverged cell",
    Drop.ABSENT: "beside a cell that is not there",
}


@dataclass(frozen=True)
class Judged:
    """What holds whatever the noise draws. Entries are numbers of Drop.

    row_R: why a whole row is dropped. sure_R: how surely it is not flat, 0 to 1. cell_RC: why it is dropped if that
    cell is its best; side_RC: then the truth lies below (-1) or above (1) that cell.
    """

    row_R: Ints
    sure_R: Floats
    cell_RC: Ints
    side_RC: Ints


@dataclass(frozen=True)
class Weighed:
    """reason_R: why a row does not count. weight_R: what it counts for; weight_BR: the same in redrawn tables."""

    reason_R: Ints
    weight_R: Floats
    weight_BR: Floats

    @property
    def kept_R(self) -> Bools:  # noqa: N802 - its shape
        """Which rows count at all."""
        kept: Bools = self.reason_R == Drop.KEPT
        return kept


def judge(folded: Grid, noise: Noise | None, log: bool) -> Judged:
    """Judge rows and cells. log: scores are logarithms of losses."""
    usable, mean = folded.usable_RC, folded.mean_RC
    least = mean.min(1)
    span = np.where(usable, mean, -math.inf).max(1) - least
    error = noise.deviation / np.sqrt(np.maximum(folded.count_RC.max(1), 1)) if noise else 0.0
    limit = np.maximum(FLAT if log else 0.0, RANGE * error)
    row = np.where(span <= limit, Drop.FLAT, Drop.KEPT)
    row[usable.sum(1) < FEWEST_CELLS] = Drop.FEW
    row[(folded.guess_RC | ~usable).all(1)] = Drop.GUESS
    row[~usable.any(1)] = Drop.EMPTY
    sure = np.where(row == Drop.KEPT, np.clip(span / np.maximum(limit, 1e-300) - 1, 0, 1), 0.0)
    return Judged(row, sure, *_bounds(folded))


def weigh(folded: Grid, judged: Judged, at_BR: Ints, least_BR: Floats, log: bool) -> Weighed:
    """Weigh rows, given the column and the score of their best cells: of the table itself first, then of those redrawn.

    A row counts in so far as its best cell is no bound in more than half of the redrawn tables.
    """
    bound_BR = np.where(folded.none_R < least_BR, Drop.EDGE, judged.cell_RC[np.arange(len(folded.lr_R)), at_BR])
    share_R = judged.sure_R * np.clip(2 * (bound_BR[1:] == Drop.KEPT).mean(0) - 1, 0, 1)
    reason_R = np.where(judged.row_R != Drop.KEPT, judged.row_R, np.where(share_R > 0, Drop.KEPT, _usual(bound_BR)))
    if not log:
        return Weighed(reason_R, share_R, np.broadcast_to(share_R, least_BR[1:].shape))
    lost = np.isin(judged.row_R, (Drop.EMPTY, Drop.GUESS))
    best_B = np.minimum(np.where(lost, np.inf, least_BR).min(1), folded.none_R.min())
    above_BR = np.full(least_BR.shape, np.inf)
    np.subtract(least_BR, best_B[:, None], out=above_BR, where=np.isfinite(least_BR) & (share_R > 0))
    weight_BR = share_R * near(above_BR, reach(above_BR[0], share_R))
    return Weighed(np.where((share_R > 0) & (weight_BR[0] == 0), Drop.FAR, reason_R), weight_BR[0], weight_BR[1:])


def _usual(bound_BR: Ints) -> Ints:
    """Why a row's best cell is a bound: in the table itself, else in most of the redrawn ones."""
    counts = np.stack([(bound_BR == reason).sum(0) for reason in range(len(Drop))])
    counts[Drop.KEPT] = 0
    usual: Ints = np.where(bound_BR[0] != Drop.KEPT, bound_BR[0], counts.argmax(0))
    return usual


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

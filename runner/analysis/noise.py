"""The noise between seeds, pooled over a grid freed of what a seed does to a whole row, or as rows show it."""

from __future__ import annotations

import math

import numpy as np

from thalweg.runner.analysis.results import Floats, Grid
from thalweg.runner.cells.noise import NEAR, Noise

FEWEST = 4
"""Degrees of freedom below which a seed's shift of a whole row is left in the noise; half of the third differences
that are needed to know it without seeds."""


def noise(folded: Grid, log: bool) -> Noise | None:
    """Pool the variance between seeds over the cells near the best; None without replicates.

    log: scores are logarithms of losses. Others have a unit, in which no distance is near: all cells count, as they do
    for what is as good as the best.

    What a seed does to all cells of a row alike cannot move the row's best, and is removed: seeds share batches.
    """
    best = folded.mean_RC.min(initial=math.inf)
    near = folded.usable_RC & (folded.mean_RC <= best + (NEAR if log else math.inf)) & (folded.count_RC > 1)
    rest = np.where(near, folded.score_RCS.transpose(2, 0, 1) - np.where(near, folded.mean_RC, 0), np.nan)
    there = np.isfinite(rest)  # [S,R,C]
    seeds = there.any(2).sum(0)
    paired = int(np.where(seeds > 0, there.sum((0, 2)) - near.sum(1) - seeds + 1, 0).sum())
    if paired >= FEWEST:
        shift = np.where(there, rest, 0).sum(2) / np.maximum(there.sum(2), 1)
        return _pooled(np.where(there, rest - shift[:, :, None], 0), paired)
    freedom = int(there.sum() - near.sum())
    return _pooled(np.where(there, rest, 0), freedom) if freedom else None


def roughness(folded: Grid) -> Noise | None:
    """The noise of single trials as their rows' third differences show it; None where rows are too short.

    A parabola has none; of independent noise they have 20 times the variance. The median keeps cliffs out.
    """
    rows = [mean[usable] for mean, usable in zip(folded.mean_RC, folded.usable_RC, strict=True)]
    third = np.concatenate([np.zeros(0), *(np.diff(row, 3) for row in rows if len(row) > 3)])
    return (
        Noise(1.4826 * float(np.median(np.abs(third))) / math.sqrt(20), len(third))
        if len(third) >= 2 * FEWEST
        else None
    )


def _pooled(rest: Floats, freedom: int) -> Noise:
    return Noise(math.sqrt(float((rest**2).sum()) / freedom), freedom)

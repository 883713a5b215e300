"""The noise between seeds, pooled over a grid, and Student's t."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from runner.analysis.results import Floats, Grid

NEAR = 0.3
"""Cells this close to the best in log loss lend their seeds' variance to the estimate of the noise."""
FEWEST = 4
"""Degrees of freedom below which a seed's shift of a whole row is left in the noise."""


@dataclass(frozen=True)
class Noise:
    """Standard deviation of one seed's score, and the degrees of freedom it was estimated with."""

    deviation: float
    freedom: int


def noise(folded: Grid) -> Noise | None:
    """Pool the variance between seeds over the cells near the best; None without replicates.

    What a seed does to all cells of a row alike cannot move the row's best, and is removed: seeds share batches.
    """
    best = folded.mean_RC.min(initial=math.inf)
    near = folded.usable_RC & (folded.mean_RC <= best + NEAR) & (folded.count_RC > 1)
    rest = np.where(near, folded.score_RCS.transpose(2, 0, 1) - np.where(near, folded.mean_RC, 0), np.nan)
    there = np.isfinite(rest)  # [S,R,C]
    seeds = there.any(2).sum(0)
    paired = int(np.where(seeds > 0, there.sum((0, 2)) - near.sum(1) - seeds + 1, 0).sum())
    if paired >= FEWEST:
        shift = np.where(there, rest, 0).sum(2) / np.maximum(there.sum(2), 1)
        return _pooled(np.where(there, rest - shift[:, :, None], 0), paired)
    freedom = int(there.sum() - near.sum())
    return _pooled(np.where(there, rest, 0), freedom) if freedom else None


def _pooled(rest: Floats, freedom: int) -> Noise:
    return Noise(math.sqrt(float((rest**2).sum()) / freedom), freedom)


_T95 = (
    *(12.70620, 4.30265, 3.18245, 2.77645, 2.57058, 2.44691, 2.36462, 2.30600, 2.26216, 2.22814),
    *(2.20099, 2.17881, 2.16037, 2.14479, 2.13145, 2.11991, 2.10982, 2.10092, 2.09302, 2.08596),
)


def t95(freedom: int) -> float:
    """Two-sided 95% quantile of Student's t; beyond 20 degrees of freedom by Cornish-Fisher, to within 1e-4."""
    if freedom <= len(_T95):
        return _T95[freedom - 1]
    z, v = 1.959964, float(freedom)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / v + second / v**2 + third / v**3

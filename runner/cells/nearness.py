"""How much a row counts by how far its best lies above the best of all: no row passes a cut that noise decides. Pure.

The slope of a valley and the moves that make it surer both ask here which rows say where it runs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FAR = 0.15
"""Log loss above the best (16%) at which a row counts 1/e; more where few rows would be left."""
FURTHEST = 1.0
"""The most that it may be."""
WANTED = 6.0
"""Rows, by Kish's effective number, that should be left; three quarters of those there are, if these are fewer."""
LEAST = 0.05
"""What a row must count for at least, of one that is as good as the best: less is nothing."""


def near(above: Any, scale: float) -> Floats:
    """What a row counts for whose least log loss lies this much above the best: 1 falling to 0 at three times scale."""
    part: Floats = np.maximum((np.exp(-np.maximum(above, 0) / scale) - LEAST) / (1 - LEAST), 0.0)
    return part


def effective(weight: Floats) -> float:
    """How many equal weights are worth these (Kish 1965)."""
    squares = float((weight**2).sum())
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0


def reach(above: Floats, share: Floats, wanted: float | None = None) -> float:
    """Log loss above the best at which a share counts 1/e, such that so many are left: found by halving."""
    if wanted is None:
        wanted = min(WANTED, 0.75 * float((share > 0).sum()))
    low, high = FAR, FURTHEST
    if effective(share * near(above, low)) >= wanted:
        return low
    for _ in range(30):
        middle = math.sqrt(low * high)
        enough = effective(share * near(above, middle)) >= wanted
        low, high = (low, middle) if enough else (middle, high)
    return high

"""The shape in which every dataset reaches training: three splits of plain arrays. Knows no dataset and no torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float32]
"""[N, D], one row an example."""
Labels = NDArray[np.int64]
"""[N], classes counted from 0."""


@dataclass(frozen=True, eq=False)
class Split:
    """Examples and their labels. Both arrays are made read-only: a loaded dataset is shared by all who ask."""

    x: Features
    y: Labels

    def __post_init__(self) -> None:
        self.x.setflags(write=False)
        self.y.setflags(write=False)


@dataclass(frozen=True, eq=False)
class Splits:
    """train: to fit; validation: to choose by; test: to report once, for what was chosen. Labels < `classes`."""

    train: Split
    validation: Split
    test: Split
    classes: int

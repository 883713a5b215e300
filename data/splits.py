"""The shape in which every dataset reaches training: three splits of plain arrays. Knows no dataset and no torch.

N examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thalweg.data.fields import fields
from thalweg.data.rows import Rows
from thalweg.data.schema import Kind

Features = NDArray[np.float32]
"""[N, *features], one row an example."""
Labels = NDArray[np.int64]
"""[N], classes counted from 0."""


@dataclass(frozen=True, eq=False)
class Split:
    """Examples and their targets. Both arrays are made read-only: a loaded dataset is shared by all who ask.

    x: [N, *features], float32, or uint8 where they are pixels, or integers where they are tokens; or several such by
    name or place, [N, …], which may hold true and false too; `Rows` where they stay in files. y: classes int64 [N],
    values float32 [N, O], or the tokens after those of x, integers [N, context].
    """

    x: Any  # Inputs[NDArray | Rows]: who has one array knows it
    y: NDArray[Any]

    def __post_init__(self) -> None:
        for array in fields(self.x).values():
            if not isinstance(array, Rows):
                array.setflags(write=False)
        self.y.setflags(write=False)


def repeated(x: NDArray[Any], channels: int) -> NDArray[Any]:
    """Grey pictures, [N, 1, H, W], in so many channels that are alike."""
    return np.repeat(x, channels, axis=1)


@dataclass(frozen=True, eq=False)
class Pixels:
    """How uint8 pixels become features: (pixel − mean) / deviation, float32 arrays that broadcast with an example."""

    mean: Features
    deviation: Features


@dataclass(frozen=True, eq=False)
class Splits:
    """train: to fit; validation: to choose by; test: to report once, for what was chosen.

    kind says what the targets are; outputs is the number of classes, of values of an example, or of known tokens.
    A text's examples are its windows of `context` tokens, one after another. pixels: given if x is uint8. axes: the
    shape in which an example's values were given, where they lay along several.
    """

    train: Split
    validation: Split
    test: Split
    kind: Kind
    outputs: int
    pixels: Pixels | None = None
    axes: tuple[int, ...] = ()

    @property
    def features(self) -> tuple[int, ...]:
        """The shape of one example's x, which must be one array."""
        shape: tuple[int, ...] = self.train.x.shape[1:]
        return shape

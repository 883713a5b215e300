"""Features centred and divided by a standard deviation, that of the examples which train. Knows no dataset.

The sums are exactly rounded, so that no processor's order of summation shows. N examples, D features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thalweg.data.splits import Features

Numbers = NDArray[np.float64]

SMALL, LARGE = 1e-140, 1e140
"""Between them a number's square, and sums of 1e20 such squares, are as exact as the number."""


@dataclass(frozen=True)
class Scaled:
    """mended: that version 0.1.0 scaled some of it to other numbers, or to none."""

    x: Features
    mended: bool


def scaled(x: Numbers, fitted: int) -> Scaled:
    """Centre each feature and divide by one standard deviation, both of the first `fitted` examples."""
    flat, large = _lowered(x.reshape(len(x), -1))
    tame, odd = _tamed(flat - _means(flat, fitted), fitted)
    deviation = math.sqrt(math.fsum((tame[:fitted] ** 2).flat) / tame[:fitted].size)
    return Scaled(_narrow(tame, deviation).reshape(x.shape), large or odd)


def scaled_each(x: Numbers, fitted: int) -> Scaled:
    """Centre each feature and divide it by its own standard deviation over the first `fitted` examples.

    For columns of unlike units. One that never changes is only centred, at itself: the sum of so many tenths, divided
    by their number, need not be a tenth.
    """
    columns, mended = [], False
    for feature in x.T:
        column, large = _lowered(feature[:, None])
        mean = _means(column, fitted)[0]
        still = bool((column[:fitted] == column[0]).all())
        tame, odd = _tamed(column - (column[0] if still else mean), fitted)
        deviation = math.sqrt(math.fsum((tame[:fitted, 0] ** 2).flat) / fitted)
        columns.append(_narrow(tame, deviation))
        mended = mended or large or odd or (still and mean != column[0])
    return Scaled(np.column_stack(columns), bool(mended))


def _means(x: Numbers, fitted: int) -> Numbers:
    return np.array([math.fsum(feature) / fitted for feature in x[:fitted].T])


def _lowered(x: Numbers) -> tuple[Numbers, bool]:
    """x, by 2^-600 if its sums may be beyond 1.8e308; and whether so."""
    large = float(np.abs(x).max()) >= LARGE
    return (np.ldexp(x, -600) if large else x), large


def _tamed(x: Numbers, fitted: int) -> tuple[Numbers, bool]:
    """x with numbers near 1 where squares would be lost, by a power of two, so that no bit changes; and whether so."""
    largest = float(np.abs(x[:fitted]).max())
    if largest == 0 or SMALL < largest < LARGE:
        return x, False
    return np.ldexp(x, -math.frexp(largest)[1]), True


def _narrow(x: Numbers, deviation: float) -> Features:
    with np.errstate(over="ignore"):  # what is beyond float32 is infinite, which the caller refuses
        made: Features = (x / (deviation or 1.0)).astype(np.float32)
    return made

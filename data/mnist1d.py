"""MNIST-1D (Greydanus & Kobak 2024, arXiv 2011.14439), drawn anew on each first use. Knows nothing of splits.

Ten templates of 12 points are padded, stretched, scaled, rolled, covered with noise, sheared and sampled at 40
points. The numbers are those of the package mnist1d 0.0.2.post1 with its default arguments and seed 42. Written
anew for three reasons: the package seeds the global random generators, needs scipy and matplotlib, and transforms
one example at a time (0.7 s); here only the draws are made one by one and the arithmetic covers all examples.

The arithmetic is elementwise IEEE and exactly rounded sums, so it does not depend on the processor; what is left
to the platform is the C library's log inside the normal draws.

N examples, L points of a stretched signal.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from thalweg.data.splits import Labels

Floats = NDArray[np.float64]

SEED = 42
EXAMPLES = 5000
POINTS = 40
PADDING = (36, 60)
LENGTH = 12 + PADDING[1]
ROLLS = 48
SCALE = 0.4
SHEAR = 0.75
CORRELATED_NOISE = 0.25
INDEPENDENT_NOISE = 0.02
SMOOTHING = 2.0
NOT_PADDING = 1e-8
"""Added to a template so that none of its points is mistaken for padding, whose points are exactly 0."""

TEMPLATES = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)


def mnist1d() -> tuple[Floats, Labels]:
    """Return all signals, [5000, 40], mean 0 and standard deviation 1 overall, and their digits, [5000].

    The order is the package's: its training part first, then its test part. Takes about 0.1 s.
    """
    rng = np.random.RandomState(SEED)
    y_N = np.repeat(np.arange(len(TEMPLATES)), EXAMPLES // len(TEMPLATES)).astype(np.int64)
    x_NP = _signals(y_N, rng)
    order_N = rng.permutation(EXAMPLES)
    x_NP -= math.fsum(x_NP.flat) / x_NP.size
    x_NP /= math.sqrt(math.fsum((x_NP * x_NP).flat) / x_NP.size)
    return x_NP[order_N], y_N[order_N]


def _signals(y_N: Labels, rng: np.random.RandomState) -> Floats:
    """One transformed signal a label, [N, POINTS]."""
    uniform_N3, roll_N, normal_N2L = _draws(len(y_N), rng)
    padding_N = PADDING[0] + (uniform_N3[:, 0] * (PADDING[1] - PADDING[0] + 1)).astype(np.int64)
    x_NL = _stretched_templates()[y_N, padding_N - PADDING[0]]
    x_NL = x_NL * (1 + SCALE * (uniform_N3[:, 1:2] - 0.5))
    x_NL = np.take_along_axis(x_NL, (np.arange(LENGTH) - roll_N[:, None]) % LENGTH, axis=1)
    x_NL = np.where(x_NL != 0, x_NL, _smooth(CORRELATED_NOISE * normal_N2L[:, 0]))
    x_NL = x_NL + INDEPENDENT_NOISE * normal_N2L[:, 1]
    x_NL = x_NL - SHEAR * (uniform_N3[:, 2:] - 0.5) * np.linspace(-0.5, 0.5, LENGTH)
    return _resample(x_NL, POINTS)


def _draws(examples: int, rng: np.random.RandomState) -> tuple[Floats, NDArray[np.int64], Floats]:
    """Every random number, in the package's order: (padding, scale, shear), roll, (correlated, independent) noise."""
    uniform_N3 = np.empty((examples, 3))
    roll_N = np.empty(examples, np.int64)
    normal_N2L = np.empty((examples, 2, LENGTH))
    for n in range(examples):
        uniform_N3[n, :2] = rng.random_sample(2)
        roll_N[n] = rng.randint(ROLLS)
        normal_N2L[n] = rng.standard_normal((2, LENGTH))
        uniform_N3[n, 2] = rng.random_sample()
    return uniform_N3, roll_N, normal_N2L


def _stretched_templates() -> Floats:
    """Each template after each padding, [digit, padding − PADDING[0], L]: 250 signals serve all examples."""
    rows = []
    for points in TEMPLATES:
        x = np.array(points)
        x = x - math.fsum(x) / len(x)
        x = x / math.sqrt(math.fsum(x * x) / len(x))
        x = (x - x[0]) / 6.0 + NOT_PADDING
        padded = (np.concatenate([x, np.zeros(p)]) for p in range(PADDING[0], PADDING[1] + 1))
        rows.append([_resample(signal, LENGTH) for signal in padded])
    return np.array(rows)


def _resample(x: Floats, points: int) -> Floats:
    """Interpolate the last axis linearly at `points` evenly spaced places, both ends included."""
    old, new = np.linspace(0, 1, x.shape[-1]), np.linspace(0, 1, points)
    left = np.minimum(np.searchsorted(old, new, side="right") - 1, len(old) - 2)
    slope = (x[..., left + 1] - x[..., left]) / (old[left + 1] - old[left])
    y = slope * (new - old[left]) + x[..., left]
    return np.where(new == old[-1], x[..., -1:], y)


def _smooth(x_NL: Floats) -> Floats:
    """Filter with a Gaussian of SMOOTHING points, cut off after four of them; the signal is mirrored at its ends."""
    radius = int(4 * SMOOTHING + 0.5)
    weights = [math.exp(-0.5 * (k / SMOOTHING) ** 2) for k in range(radius + 1)]
    total = math.fsum(weights) + math.fsum(weights[1:])
    mirrored = np.pad(x_NL, ((0, 0), (radius, radius)), mode="symmetric")
    length = x_NL.shape[1]
    y_NL = x_NL * (weights[0] / total)
    for k in range(radius, 0, -1):
        pair = mirrored[:, radius - k : radius - k + length] + mirrored[:, radius + k : radius + k + length]
        y_NL += pair * (weights[k] / total)
    return y_NL

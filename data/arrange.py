"""From a dataset's examples to its three splits: who goes where, which targets are wrong, how features scale.

Equal configurations give equal bits. Nothing here draws from a global random generator: every choice reads the raw
words of a PCG64 seeded by (split_seed, stream), which numpy keeps stable across versions and platforms (its
shuffles and bounded integers it does not).

Validation and test depend on split_seed alone. The training split is the first `train_size` examples of a fixed
order, with each example's wrong target fixed too: a larger size or a higher noise changes no more than it must.

N examples, D features.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from data.schema import DigitsConfig, MNIST1DConfig
from data.splits import Features, Labels, Split, Splits

ORDER, NOISE, WRONG, VALUES = range(4)
"""The streams of split_seed: the examples' order, which targets are made wrong, what a wrong one says, drawn data."""


Labelled = tuple[NDArray[np.float64], Labels]
"""All examples of a dataset as they were read, [N, *features], and their classes."""


def shuffled(examples: Labelled, config: DigitsConfig | MNIST1DConfig, sizes: tuple[int, int, int]) -> Splits:
    """Return labelled examples in the order of split_seed, as splits of `sizes` (train, validation, test).

    Of the labels that could train, round(label_noise · their number) are wrong: replaced by a class drawn uniformly
    from the others. Validation and test labels are never touched. Features are centred by the mean of each and
    divided by one standard deviation for all, both taken over everything that could train, whatever `train_size`,
    so validation and test are the same arrays for every size.
    """
    (x, y), (train, validation, test) = examples, sizes
    placed = order(config.split_seed, ORDER, len(y))
    x_scaled, y = scaled(x[placed], train), y[placed]
    y_train = with_noise(y[:train], config.classes, config.label_noise, config.split_seed)
    held = slice(train, train + validation), slice(train + validation, train + validation + test)
    return Splits(
        train=Split(x_scaled[: config.train_size], y_train[: config.train_size]),
        validation=Split(x_scaled[held[0]], y[held[0]]),
        test=Split(x_scaled[held[1]], y[held[1]]),
        kind=config.kind,
        outputs=config.classes,
    )


def with_noise(y: Labels, classes: int, label_noise: float, split_seed: int) -> Labels:
    """A copy of y with `label_noise` of it wrong; the noise at .2 is part of the noise at .4."""
    noisy = order(split_seed, NOISE, len(y))[: round(label_noise * len(y))]
    ahead = 1 + (words(split_seed, WRONG, len(y)) % np.uint64(classes - 1)).astype(np.int64)
    y = y.copy()
    y[noisy] = (y[noisy] + ahead[noisy]) % classes
    return y


def scaled(x: NDArray[np.float64], fitted: int) -> Features:
    """Centre each feature and divide by one standard deviation, both of the first `fitted` examples.

    The sums are exactly rounded, so that no processor's order of summation shows.
    """
    flat = x.reshape(len(x), -1)
    centred = flat - np.array([math.fsum(feature) / fitted for feature in flat[:fitted].T])
    deviation = math.sqrt(math.fsum((centred[:fitted] ** 2).flat) / centred[:fitted].size)
    made: Features = (centred / deviation).astype(np.float32).reshape(x.shape)
    return made


def order(split_seed: int, stream: int, count: int) -> NDArray[np.intp]:
    """A uniformly drawn permutation of 0 … count − 1."""
    return np.argsort(words(split_seed, stream, count), kind="stable")


def words(split_seed: int, stream: int, count: int) -> NDArray[np.uint64]:
    """The first `count` 64-bit words of a stream; a longer draw begins with a shorter one."""
    found: NDArray[np.uint64] = _generator(split_seed, stream).random_raw(count)
    return found


def normals(split_seed: int, stream: int, *shape: int) -> NDArray[np.float64]:
    """Standard normal numbers. RandomState, which numpy has frozen, turns the words into them."""
    return np.random.RandomState(_generator(split_seed, stream)).standard_normal(shape)


def _generator(split_seed: int, stream: int) -> np.random.PCG64:
    return np.random.PCG64(np.random.SeedSequence(split_seed, spawn_key=(stream,)))

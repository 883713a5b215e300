"""From a dataset's configuration to its three splits: who goes where, which labels are wrong, how features scale.

Equal configurations give equal bits. Nothing here draws from a global random generator: every choice reads the raw
words of a PCG64 seeded by (split_seed, stream), which numpy keeps stable across versions and platforms (its
shuffles and bounded integers it does not).

Validation and test depend on split_seed alone. The training split is the first `train_size` examples of a fixed
order, with each example's wrong label fixed too: a larger size or a higher noise changes no more than it must.

N examples, D features.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from data.digits import digits
from data.mnist1d import mnist1d
from data.schema import DatasetConfig
from data.splits import Features, Labels, Split, Splits

ORDER, NOISE, WRONG = range(3)
"""The streams of split_seed: the examples' order, which labels are made wrong, what a wrong label says."""


@dataclass(frozen=True)
class _Source:
    """Where a dataset comes from, and how many of its examples each split may take."""

    read: Callable[[], tuple[NDArray[np.float64], Labels]]
    train: int
    validation: int
    test: int


SOURCES = {
    "digits": _Source(digits, train=1000, validation=400, test=397),
    "mnist1d": _Source(mnist1d, train=1000, validation=2000, test=2000),
}


@lru_cache(maxsize=8)
def load_splits(config: DatasetConfig) -> Splits:
    """Return the splits that `config` names: x float32 [N, *features], y int64 [N], shared within the process.

    Of the labels that could train, round(label_noise · their number) are wrong: replaced by a class drawn uniformly
    from the others. Validation and test labels are never touched. Features are centred by the mean of each and
    divided by one standard deviation for all, both taken over everything that could train (1,000 examples, whatever
    `train_size`), so validation and test are the same arrays for every size.
    """
    source = SOURCES[config.name]
    x, y = _arranged(config.name, config.split_seed)
    y_train = _with_noise(y[: source.train], config)[: config.train_size]
    validation = slice(source.train, source.train + source.validation)
    test = slice(validation.stop, validation.stop + source.test)
    return Splits(
        train=Split(x[: config.train_size], y_train),
        validation=Split(x[validation], y[validation]),
        test=Split(x[test], y[test]),
        kind=config.kind,
        outputs=config.classes,
    )


@lru_cache(maxsize=4)
def _arranged(name: str, split_seed: int) -> tuple[Features, Labels]:
    """All examples in the order of `split_seed`, scaled, with their true labels: to train, to validate, to test."""
    source = SOURCES[name]
    x, y = source.read()
    order = _order(split_seed, ORDER, len(y))
    return _scaled(x[order].reshape(len(y), -1), source.train).reshape(x.shape), y[order]


def _with_noise(y: Labels, config: DatasetConfig) -> Labels:
    """A copy of y with `label_noise` of it wrong; the noise at .2 is part of the noise at .4."""
    noisy = _order(config.split_seed, NOISE, len(y))[: round(config.label_noise * len(y))]
    ahead = 1 + (_words(config.split_seed, WRONG, len(y)) % np.uint64(config.classes - 1)).astype(np.int64)
    y = y.copy()
    y[noisy] = (y[noisy] + ahead[noisy]) % config.classes
    return y


def _scaled(x: NDArray[np.float64], fitted: int) -> Features:
    """Centre each feature and divide by one standard deviation, both of the first `fitted` examples.

    The sums are exactly rounded, so that no processor's order of summation shows.
    """
    centred = x - np.array([math.fsum(feature) / fitted for feature in x[:fitted].T])
    deviation = math.sqrt(math.fsum((centred[:fitted] ** 2).flat) / centred[:fitted].size)
    scaled: Features = (centred / deviation).astype(np.float32)
    return scaled


def _order(split_seed: int, stream: int, count: int) -> NDArray[np.intp]:
    """A uniformly drawn permutation of 0 … count − 1."""
    return np.argsort(_words(split_seed, stream, count), kind="stable")


def _words(split_seed: int, stream: int, count: int) -> NDArray[np.uint64]:
    """The first `count` 64-bit words of a stream; a longer draw begins with a shorter one."""
    seed = np.random.SeedSequence(split_seed, spawn_key=(stream,))
    words: NDArray[np.uint64] = np.random.PCG64(seed).random_raw(count)
    return words

"""From a dataset's examples to its three splits: who goes where, which targets are wrong.

Equal configurations give equal bits. Nothing here draws from a global random generator: every choice reads the raw
words of a PCG64 seeded by (split_seed, stream), which numpy keeps stable across versions and platforms (its
shuffles and bounded integers it does not).

Validation and test depend on split_seed alone. The training split is the first `train_size` examples of a fixed
order, with each example's wrong target fixed too: a larger size or a higher noise changes no more than it must.

N examples, D features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thalweg.data.rows import Rows
from thalweg.data.scale import scaled
from thalweg.data.schema import DigitsConfig, Kind, MNIST1DConfig
from thalweg.data.splits import Labels, Pixels, Split, Splits
from thalweg.runner.base.errors import ConfigError

ORDER, NOISE, WRONG, VALUES, RULE = range(5)
"""The streams of split_seed: the examples' order, which targets are made wrong, what a wrong one says; of drawn data
the examples, and the rule behind their targets."""


Labelled = tuple[NDArray[np.float64], Labels]
"""All examples of a dataset as they were read, [N, *features], and their classes."""


@dataclass(frozen=True)
class Sizes:
    """How many examples may train, how many validate and test; the pool is dealt out in that order."""

    train: int
    validation: int
    test: int

    @classmethod
    def of_shares(cls, count: int, validation: float, test: float, train_size: int | None) -> Sizes:
        """Deal out `count` examples of a user's data. Raises ConfigError if too few are left to train."""
        held = [max(1, round(share * count)) for share in (validation, test)]
        train = count - sum(held)
        if train < (train_size or 1):
            raise ConfigError(
                f"dataset.train_size is {train_size}, but of {count:,} examples {max(train, 0):,} are for training",
                "lower it, or dataset.validation and dataset.test",
            )
        return cls(train, *held)


def shuffled(examples: Labelled, config: DigitsConfig | MNIST1DConfig, sizes: Sizes) -> Splits:
    """Return labelled examples, dealt out and scaled by one deviation for all features."""
    x, y = examples
    placed = order(config.split_seed, ORDER, len(y))
    pool = scaled(x[placed], sizes.train).x, y[placed]
    return dealt(pool, config, sizes, kind=config.kind, outputs=config.classes)


def dealt(
    pool: tuple[NDArray[Any] | Rows, NDArray[Any]],
    config: Any,
    sizes: Sizes,
    *,
    kind: Kind,
    outputs: int,
    test: Split | None = None,
    pixels: Pixels | None = None,
) -> Splits:
    """Return examples that are in their order already as splits; `test` is taken from the pool if not given.

    Of the classes that could train, round(label_noise · their number) are wrong: replaced by one drawn uniformly from
    the others. Values get normal noise of that standard deviation. Validation and test targets are never touched.
    """
    x, y = pool
    if kind == "classes":
        y_train = with_noise(y[: sizes.train], outputs, config.label_noise, config.split_seed)
    else:
        noise = config.label_noise * normals(config.split_seed, NOISE, *y[: sizes.train].shape)
        y_train = (y[: sizes.train] + noise).astype(np.float32)
    size, edges = config.train_size, np.cumsum([sizes.train, sizes.validation, sizes.test])
    return Splits(
        train=Split(x[: sizes.train][:size], y_train[:size]),
        validation=Split(x[edges[0] : edges[1]], y[edges[0] : edges[1]]),
        test=test or Split(x[edges[1] : edges[2]], y[edges[1] : edges[2]]),
        kind=kind,
        outputs=outputs,
        pixels=pixels,
    )


def with_noise(y: Labels, classes: int, label_noise: float, split_seed: int) -> Labels:
    """A copy of y with `label_noise` of it wrong; the noise at .2 is part of the noise at .4."""
    noisy = order(split_seed, NOISE, len(y))[: round(label_noise * len(y))]
    ahead = 1 + (words(split_seed, WRONG, len(y)) % np.uint64(classes - 1)).astype(np.int64)
    y = y.copy()
    y[noisy] = (y[noisy] + ahead[noisy]) % classes
    return y


def levels_of(x: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How often each channel of images [N, C, H, W] has each level, [C, 256]; of several parts the sum."""
    counts = [np.bincount(x[:, channel].ravel(), minlength=256) for channel in range(x.shape[1])]
    return np.stack(counts).astype(np.int64)


def pixels_of(counts: NDArray[np.int64]) -> Pixels:
    """Mean and deviation of each channel, from how often it has each level. Sums of integers, so exact."""
    levels = np.arange(256)
    mean = [np.dot(count, levels) / count.sum() for count in counts]
    square = [np.dot(count, levels**2) / count.sum() for count in counts]
    deviation = np.sqrt(np.maximum(np.array(square) - np.array(mean) ** 2, 1.0))
    return Pixels(*(np.array(values, np.float32).reshape(-1, 1, 1) for values in (mean, deviation)))


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

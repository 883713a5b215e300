"""From a dataset's configuration to its three splits: one row a dataset. Knows no device and no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thalweg.data.arrange import ORDER, Labelled, Sizes, order, shuffled
from thalweg.data.digits import digits
from thalweg.data.image_folder import image_folder
from thalweg.data.mnist1d import mnist1d
from thalweg.data.planted import planted
from thalweg.data.schema import DatasetConfig, DigitsConfig, MNIST1DConfig
from thalweg.data.splits import Split, Splits, repeated
from thalweg.data.stored import stored
from thalweg.data.synthetic import noisy_regression, teacher
from thalweg.data.table import table
from thalweg.data.text import stdlib, text
from thalweg.data.vision import vision


@lru_cache(maxsize=2)
def _once(read: Callable[[], Labelled]) -> Labelled:
    return read()


def _through(read: Callable[[], Labelled], sizes: Sizes) -> Callable[[Any], Splits]:
    return lambda config: shuffled(_once(read), config, sizes)


READ = {"digits": (digits, Sizes(1000, 400, 397)), "mnist1d": (mnist1d, Sizes(1000, 2000, 2000))}
"""Datasets that are read whole, scaled by those that may train, and dealt out."""
SOURCES: dict[str, Callable[[Any], Splits]] = {
    **{name: _through(read, sizes) for name, (read, sizes) in READ.items()},
    "mnist": vision,
    "fashion_mnist": vision,
    "cifar10": vision,
    "cifar100": vision,
    "image_folder": image_folder,
    "table": table,
    "arrays": stored,
    "stdlib": stdlib,
    "text": text,
    "teacher": teacher,
    "noisy_regression": noisy_regression,
    "planted": planted,
}


def trained_on(config: DigitsConfig | MNIST1DConfig) -> NDArray[np.float64]:
    """The examples that may train, in their order and as they were read: by these the others are scaled."""
    read, sizes = READ[config.name]
    x, y = _once(read)
    return x[order(config.split_seed, ORDER, len(y))][: sizes.train]


@lru_cache(maxsize=8)
def load_splits(config: DatasetConfig) -> Splits:
    """Return the splits that `config` names. The arrays are read-only and shared within the process.

    Raises ConfigError for data that cannot be trained on, naming file and row, and SetupError for data that cannot
    be had.
    """
    return in_channels(SOURCES[config.name](config), getattr(config, "channels", 1))


def in_channels(splits: Splits, channels: int) -> Splits:
    """Splits of grey pictures [N, 1, H, W], that one channel so many times."""
    if channels == 1:
        return splits
    train, validation, test = (
        Split(repeated(each.x, channels), each.y) for each in (splits.train, splits.validation, splits.test)
    )
    return replace(splits, train=train, validation=validation, test=test)

"""From a dataset's configuration to its three splits: one row a dataset. Knows no device and no torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from thalweg.data.arrange import Labelled, Sizes, shuffled
from thalweg.data.digits import digits
from thalweg.data.image_folder import image_folder
from thalweg.data.mnist1d import mnist1d
from thalweg.data.planted import planted
from thalweg.data.schema import DatasetConfig
from thalweg.data.splits import Splits
from thalweg.data.stored import stored
from thalweg.data.synthetic import noisy_regression, teacher
from thalweg.data.table import table
from thalweg.data.text import stdlib, text
from thalweg.data.vision import vision


@lru_cache(maxsize=2)
def _once(read: Callable[[], Labelled]) -> Labelled:
    return read()


SOURCES: dict[str, Callable[[Any], Splits]] = {
    "digits": lambda config: shuffled(_once(digits), config, Sizes(1000, 400, 397)),
    "mnist1d": lambda config: shuffled(_once(mnist1d), config, Sizes(1000, 2000, 2000)),
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


@lru_cache(maxsize=8)
def load_splits(config: DatasetConfig) -> Splits:
    """Return the splits that `config` names. The arrays are read-only and shared within the process.

    Raises ConfigError for data that cannot be trained on, naming file and row, and SetupError for data that cannot
    be had.
    """
    return SOURCES[config.name](config)

"""From a dataset's configuration to its three splits: one row a dataset. Knows no device and no torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from data.arrange import Labelled, shuffled
from data.digits import digits
from data.mnist1d import mnist1d
from data.planted import planted
from data.schema import DatasetConfig, DigitsConfig, MNIST1DConfig, PlantedConfig
from data.splits import Splits


@lru_cache(maxsize=2)
def _once(read: Callable[[], Labelled]) -> Labelled:
    return read()


SOURCES: dict[type, Callable[[Any], Splits]] = {
    DigitsConfig: lambda config: shuffled(_once(digits), config, (1000, 400, 397)),
    MNIST1DConfig: lambda config: shuffled(_once(mnist1d), config, (1000, 2000, 2000)),
    PlantedConfig: planted,
}


@lru_cache(maxsize=8)
def load_splits(config: DatasetConfig) -> Splits:
    """Return the splits that `config` names. The arrays are read-only and shared within the process."""
    return SOURCES[type(config)](config)

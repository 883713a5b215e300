"""A trial's trained weights as plain arrays, and the hash that says whose they are. Knows no torch and no file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

HASH_TAG = b"thalweg.weights.v1"


@dataclass(frozen=True, eq=False)
class Weights:
    """A trial's weights as they stood when it ended.

    arrays: its parameters and persistent buffers, tied ones once: what the hash is of. names: each name of the
    module's state_dict -> that of its array. unlike: why the state_dict is not these arrays; empty where it is. more:
    whether training changed what the module keeps besides, which no state_dict has. frozen: names of those arrays that
    no training changes, which other trials may have too.
    """

    trial_id: str
    arrays: Mapping[str, np.ndarray]
    names: Mapping[str, str]
    unlike: str = ""
    more: bool = False
    frozen: frozenset[str] = frozenset()

    @property
    def hash(self) -> str:
        """Of the arrays, as it is stored with a trial."""
        return weight_hash(self.arrays)

    @property
    def state_dict(self) -> dict[str, np.ndarray]:
        """The arrays by all names of the module's state_dict."""
        return {name: self.arrays[held] for name, held in self.names.items()}


@dataclass(frozen=True)
class Size:
    """Bytes that trials take whose weights are kept: of each, and once for all of them."""

    each: int
    once: int

    def of(self, trials: int) -> int:
        """Bytes that so many take."""
        return self.each * trials + self.once


def weight_hash(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over (name, dtype, shape, little-endian bytes) of one trial's arrays, sorted by name: 64 hex digits."""
    digest = hashlib.sha256(HASH_TAG)
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"\n{name}\n{array.dtype.name}\n{list(array.shape)}\n".encode())
        digest.update(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()

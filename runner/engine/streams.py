"""Random numbers as a function of (seed, stream, index): any step is reachable at once, on any device alike.

All draws happen on the host, so CPU and GPU see the same initial weights and the same batches. Nothing here
keeps state between calls.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np


def stream_key(seed: int, stream: str, index: int = 0) -> int:
    """A 63-bit key for one use of randomness; different (seed, stream, index) give unrelated keys."""
    digest = hashlib.sha256(f"thalweg.stream.v1\n{seed}\n{stream}\n{index}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


@lru_cache(maxsize=64)
def _epoch_order(seed: int, epoch: int, rows: int) -> np.ndarray:
    generator = np.random.Generator(np.random.Philox(key=stream_key(seed, "batch", epoch)))
    return generator.permutation(rows)


def batch_indices(seed: int, start: int, stop: int, batch_size: int, rows: int) -> np.ndarray:
    """Row numbers of the batches of steps start…stop−1: int64 `[stop − start, batch_size]`.

    Batches walk through one fresh permutation of the rows per epoch, without dropping the remainder: a batch
    may end one epoch and begin the next.
    """
    places = np.arange(start * batch_size, stop * batch_size)
    order = np.empty(places.size, dtype=np.int64)
    for epoch in range(places[0] // rows, places[-1] // rows + 1):
        chosen = places // rows == epoch
        order[chosen] = _epoch_order(seed, int(epoch), rows)[places[chosen] % rows]
    return order.reshape(stop - start, batch_size)


def uniforms(seed: int, stream: str, start: int, stop: int, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers in [0, 1) for steps start…stop−1: float32 `[stop − start, *shape]`, each step's from a key of its own."""
    drawn = np.empty((stop - start, *shape), dtype=np.float32)
    for step in range(start, stop):
        generator = np.random.Generator(np.random.Philox(key=stream_key(seed, stream, step)))
        generator.random(dtype=np.float32, out=drawn[step - start])
    return drawn

"""The random numbers that a model may draw without being handed a generator: torch's, numpy's and Python's own."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def seed_all(key: int) -> None:
    """Seed all of them."""
    seed_torch(key)
    np.random.seed(key % 2**32)
    random.seed(key)


def seed_torch(key: int) -> None:
    """Seed torch's, as `torch.manual_seed`, which takes 130 µs to note the seed for devices that there are not."""
    (torch.manual_seed if _has_accelerator() else torch.default_generator.manual_seed)(key)


@functools.cache
def _has_accelerator() -> bool:
    return torch.accelerator.is_available()


@contextmanager
def forked(device: torch.device) -> Iterator[None]:
    """Where all of them may be seeded and drawn from at will: they are put back as they were."""
    others = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            np.random.set_state(others[0])
            random.setstate(others[1])


def torch_state(device: torch.device) -> Any:
    """What torch's are at, to be compared."""
    states = [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]
    return [state.numpy().tobytes() for state in states]


def others_state() -> Any:
    """What numpy's and Python's are at, to be compared."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return kind, keys.tobytes(), rest, random.getstate()  # type: ignore[union-attr]

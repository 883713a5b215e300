"""A split as training sees it: rows of examples by number, made ready on the device. Knows no trial and no task."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thalweg.data.fields import Inputs, fields, mapped, remade
from thalweg.data.rows import Rows, ahead
from thalweg.data.splits import Split, Splits

RESIDENT_SHARE = 0.5
"""The part of a GPU's free memory that data may take; what is larger stays on the host, a batch at a time."""
READ_AT_ONCE = 1024
"""Rows that are read at once on their way to a GPU."""

Batch = tuple[Any, Tensor]
"""Examples and their targets, x and y; x is Inputs[Tensor]."""


@dataclass(frozen=True)
class Examples:
    """One split. x `[N, *features]` and y are held as they were loaded: pixels and tokens in their small integers.

    x may be several such, by name or place; what they hold of true and false stays that.

    device is where batches are made ready; the data may lie elsewhere, and row numbers are wanted where it lies: on the
    host for what stays in files. scale and shift: what turns uint8 pixels into features.
    """

    x: Any  # Inputs[Tensor | Rows]: who has one array knows it
    y: Tensor
    device: torch.device
    dtype: torch.dtype
    scale: Tensor | None = None
    shift: Tensor | None = None

    @property
    def rows(self) -> int:
        """N."""
        return self.y.shape[0]

    @property
    def home(self) -> torch.device:
        """Where the data lies, and where `take` wants its row numbers."""
        return self.y.device

    @property
    def numbers(self) -> int:
        """How many numbers go into an example."""
        shapes: list[tuple[int, ...]] = [each.shape[1:] for each in fields(self.x).values()]
        return max(1, sum(math.prod(shape) for shape in shapes))

    @property
    def in_files(self) -> bool:
        """Whether examples stay in files, to be read when they are asked for."""
        return any(isinstance(each, Rows) for each in fields(self.x).values())

    def to(self, dtype: torch.dtype) -> Examples:
        """The same, whose fractions are made ready in this precision."""

        def held(each: Tensor | Rows) -> Tensor | Rows:
            return each if isinstance(each, Rows) else _typed(each, dtype)

        scale, shift = (None if each is None else each.to(dtype) for each in (self.scale, self.shift))
        return Examples(mapped(held, self.x), _typed(self.y, dtype), self.device, dtype, scale, shift)

    def take(self, rows: Tensor) -> Batch:
        """Return the examples of int64 row numbers of any leading shape, such as `[B]` or `[K, B]`."""
        return self._ready(self._x(rows), self.y[rows])

    def batches(self, rows_T: Iterable[Tensor]) -> Iterator[Batch]:
        """Yield what `take` returns of each; from files the next ones are read while these are trained on."""
        if not self.in_files:
            yield from map(self.take, rows_T)
            return
        asked = list(rows_T)
        for rows, x in zip(asked, ahead(self._x, asked), strict=True):
            yield self._ready(x, self.y[rows])

    def chunks(self, size: int) -> Iterator[Batch]:
        """Yield all examples in order, `size` at a time."""
        if self.in_files:
            yield from self.batches(torch.split(torch.arange(self.rows), size))
            return
        parts = {name: torch.split(each, size) for name, each in fields(self.x).items()}
        for place, y in enumerate(torch.split(self.y, size)):
            yield self._ready(remade(self.x, {name: each[place] for name, each in parts.items()}), y)

    def _x(self, rows: Tensor) -> Inputs[Tensor]:
        def taken(each: Tensor | Rows) -> Tensor:
            return (
                _typed(torch.from_numpy(each.read(rows.numpy())), self.dtype) if isinstance(each, Rows) else each[rows]
            )

        return mapped(taken, self.x)

    def _ready(self, x: Inputs[Tensor], y: Tensor) -> Batch:
        if self.home != self.device:  # pinned, so that the copy does not hold up the steps before it
            x = mapped(lambda each: each.pin_memory().to(self.device, non_blocking=True), x)
            y = y.pin_memory().to(self.device, non_blocking=True)
        if isinstance(x, dict | tuple):
            x = mapped(_as_read, x)
        elif self.scale is not None and self.shift is not None:
            x = x.to(self.dtype) * self.scale + self.shift
        elif not x.is_floating_point():
            x = x.long()
        return x, (y if y.is_floating_point() else y.long())


def _as_read(x: Tensor) -> Tensor:
    return x if x.is_floating_point() or x.dtype == torch.bool else x.long()


def settled(device: torch.device) -> torch.device:
    """Return the device as a tensor on it names it: `cuda` is no tensor's device, the current `cuda:0` is."""
    return torch.empty(0, device=device).device


def on_device(splits: Splits, device: torch.device, dtype: torch.dtype) -> dict[str, Examples]:
    """Return the three splits by the names of their metrics, on `device` as far as its memory has room."""
    device = settled(device)
    parts = {"train": splits.train, "val": splits.validation, "test": splits.test}
    home = device if _fits(parts.values(), device, dtype) else torch.device("cpu")
    scale = shift = None
    if splits.pixels is not None:
        scale = torch.tensor(1 / splits.pixels.deviation, device=device, dtype=dtype)
        shift = torch.tensor(-splits.pixels.mean / splits.pixels.deviation, device=device, dtype=dtype)

    def held(array: NDArray[Any] | Rows) -> Tensor | Rows:
        if isinstance(array, Rows):
            return array if home.type == "cpu" else _read(array, home, dtype)
        return as_held(array, home, dtype)

    return {
        name: Examples(mapped(held, part.x), as_held(part.y, home, dtype), device, dtype, scale, shift)
        for name, part in parts.items()
    }


def as_held(array: NDArray[Any], home: torch.device, dtype: torch.dtype) -> Tensor:
    """An array on a device, its fractions in this precision."""
    return _typed(torch.tensor(array, device=home), dtype)


def _typed(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _read(x: Rows, home: torch.device, dtype: torch.dtype) -> Tensor:
    """All examples that stay in files, on a GPU that has room for them."""
    parts = ahead(x.read, np.array_split(np.arange(len(x)), -(-len(x) // READ_AT_ONCE)))
    return torch.cat([as_held(part, home, dtype) for part in parts])


def _fits(parts: Iterable[Split], device: torch.device, dtype: torch.dtype) -> bool:
    if device.type != "cuda":
        return True
    arrays: list[NDArray[Any] | Rows] = [array for part in parts for array in (*fields(part.x).values(), part.y)]
    needed = sum(a.size * (dtype.itemsize if a.dtype.kind == "f" else a.dtype.itemsize) for a in arrays)
    return needed <= RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]

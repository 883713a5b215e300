"""A split as training sees it: rows of examples by number, made ready on the device. Knows no trial and no task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from thalweg.data.splits import Split, Splits

RESIDENT_SHARE = 0.5
"""The part of a GPU's free memory that data may take; what is larger stays on the host, a batch at a time."""


@dataclass(frozen=True)
class Examples:
    """One split. x `[N, *features]` and y are held as they were loaded: pixels and tokens in their small integers.

    device is where batches are made ready; the data may lie elsewhere, and row numbers are wanted where it lies.
    scale and shift: what turns uint8 pixels into features.
    """

    x: Tensor
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
        return self.x.device

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the examples of int64 row numbers of any leading shape, such as `[B]` or `[K, B]`."""
        return self._ready(self.x[rows], self.y[rows])

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all examples in order, `size` at a time."""
        for x, y in zip(torch.split(self.x, size), torch.split(self.y, size), strict=True):
            yield self._ready(x, y)

    def _ready(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if self.home != self.device:  # pinned, so that the copy does not hold up the steps before it
            x = x.pin_memory().to(self.device, non_blocking=True)
            y = y.pin_memory().to(self.device, non_blocking=True)
        if self.scale is not None and self.shift is not None:
            x = x.to(self.dtype) * self.scale + self.shift
        elif not x.is_floating_point():
            x = x.long()
        return x, (y if y.is_floating_point() else y.long())


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
    return {
        name: Examples(_held(part.x, home, dtype), _held(part.y, home, dtype), device, dtype, scale, shift)
        for name, part in parts.items()
    }


def _held(array: NDArray[Any], home: torch.device, dtype: torch.dtype) -> Tensor:
    tensor = torch.tensor(array, device=home)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _fits(parts: Iterable[Split], device: torch.device, dtype: torch.dtype) -> bool:
    if device.type != "cuda":
        return True
    arrays = [array for part in parts for array in (part.x, part.y)]
    needed = sum(a.size * (dtype.itemsize if a.dtype.kind == "f" else a.dtype.itemsize) for a in arrays)
    return needed <= RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]

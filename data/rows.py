"""Examples that stay in files and are read when they are asked for: what stands in a split for an array too large.

Knows no format of files and no torch.

N examples.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from thalweg.runner.base.errors import ConfigError

Asked = TypeVar("Asked")
Given = TypeVar("Given")

READERS = 4
"""Reads under way at once where they are slow: a disk answers several in the time of one."""


class Source(Protocol):
    """Where examples lie: their shape [N, *features], and their numbers' type."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def read(self, places: NDArray[np.intp]) -> NDArray[Any]:
        """Return the examples at these places. Raises ConfigError, naming the file, for what cannot be read."""

    def where(self, place: int) -> str:
        """Say where an example lies: file and row."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The examples of `source` at `places`, in this order: as an array of them would be, if it had room."""

    source: Source
    places: NDArray[np.intp]

    @classmethod
    def of(cls, source: Source) -> Rows:
        """All examples of a source."""
        return cls(source, np.arange(source.shape[0]))

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, chosen: slice | NDArray[np.intp]) -> Rows:
        return Rows(self.source, self.places[chosen])

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array."""
        return len(self.places), *self.source.shape[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        """As of an array."""
        return self.source.dtype

    @property
    def size(self) -> int:
        """Numbers in all examples."""
        return int(np.prod(self.shape, dtype=np.int64))

    def read(self, rows: NDArray[np.intp]) -> NDArray[Any]:
        """Return the examples of row numbers of any shape, `[…, *features]`."""
        found = self.source.read(self.places[rows.reshape(-1)])
        return found.reshape(*rows.shape, *found.shape[1:])


@dataclass(frozen=True, eq=False)
class Features:
    """A source's numbers as models read them, by the function that does it for arrays in memory."""

    source: Source
    features_of: Callable[[NDArray[Any]], NDArray[np.float32]]

    @property
    def shape(self) -> tuple[int, ...]:
        """As the source's."""
        return self.source.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """What models read."""
        return np.dtype(np.float32)

    def read(self, places: NDArray[np.intp]) -> NDArray[np.float32]:
        """As `Source`. Raises ConfigError for what is infinite or no number."""
        made = self.features_of(self.source.read(places))
        if self.source.dtype.kind == "f" and not _surely_finite(made):
            bad = np.flatnonzero(~np.isfinite(made.reshape(len(made), -1)).all(1))
            if len(bad):
                raise ConfigError(
                    f"{self.where(int(places[bad[0]]))} holds NaN or infinity", "correct or remove the row"
                )
        return made

    def where(self, place: int) -> str:
        """As the source says."""
        return self.source.where(place)


def _surely_finite(array: NDArray[np.float32]) -> bool:
    """Whether all is finite, told by its sum: false too where that is too large. In float64 it takes twice as long."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(array.sum()))


@dataclass(frozen=True, eq=False)
class Held:
    """An array that somebody else mapped from a file."""

    array: NDArray[Any]
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the array."""
        return self.array.dtype

    def read(self, places: NDArray[np.intp]) -> NDArray[Any]:
        """As `Source`."""
        return np.asarray(self.array[places])

    def where(self, place: int) -> str:
        """As `Source`."""
        return f"{self.name}, row {place}, counted from 0,"


def ahead(do: Callable[[Asked], Given], asked: Iterable[Asked], at_once: int = READERS) -> Generator[Given, None, None]:
    """Yield what `do` gives for each, in order; threads do the next ones while nobody waits.

    Reading and decoding let other threads of Python's run. One thread does it all as long as each is done before it is
    wanted: of files in the system's cache four took 1.5 ms of a step of 14 ms that one did not.
    """
    waiting: deque[Future[Given]] = deque()
    one, many = (ThreadPoolExecutor(count, thread_name_prefix="reader") for count in (1, at_once))
    late = False
    try:
        for each in asked:
            waiting.append((many if late else one).submit(do, each))
            if len(waiting) > at_once:
                late = not waiting[0].done()
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for pool in (one, many):
            pool.shutdown(wait=True, cancel_futures=True)

"""Arrays in .npy files: one file, or a folder of them, whose rows follow each other.

Only their heads are read when they are found; rows are read when they are asked for, and what has changed by then, is
gone or is cut off is said. Opens no pickle. Knows no dataset.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from mmap import ACCESS_READ, MADV_RANDOM, mmap
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from thalweg.data.walk import data_of, walked
from thalweg.runner.base.errors import ConfigError, first_line
from thalweg.runner.base.regular import open_regular

HEADS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
"""Versions of .npy; what the third is for, names in other scripts, no array of numbers has."""
SMALL = 32 * 1024
"""Bytes of a row beside which nothing is worth reading ahead."""
AGAIN = "put it back as it was, or sweep the study again: other data make other trials"


@dataclass(frozen=True)
class Shard:
    """A .npy file as it was found. start: where its numbers begin, in bytes. state: tells whether it has changed."""

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int
    state: tuple[int, int, int]

    @property
    def row_bytes(self) -> int:
        """Of one example."""
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize

    def read(self, rows: NDArray[np.intp]) -> NDArray[Any]:
        """Return some rows. Raises ConfigError if the file is not what it was.

        It is mapped each time anew, so that memory holds no more of it than is wanted, and looked at before: to read
        what was cut off ends a process. Gathering is one call, in which other threads run; a call a row, each of which
        waits for Python again, took 200 times as long on a busy machine.
        """
        try:
            with open_regular(self.path) as file:
                if state_of(os.fstat(file.fileno())) == self.state:
                    found = self._gathered(mmap(file.fileno(), 0, access=ACCESS_READ), rows)
                    if state_of(os.fstat(file.fileno())) == self.state:
                        return found
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be read any more: {error.strerror}", AGAIN) from error
        raise ConfigError(f"{self.path} has changed since the trial began to read it", AGAIN)

    def _gathered(self, mapped: mmap, rows: NDArray[np.intp]) -> NDArray[Any]:
        if self.row_bytes <= SMALL:
            mapped.madvise(MADV_RANDOM)
        held = np.frombuffer(mapped, self.dtype, int(np.prod(self.shape, dtype=np.int64)), self.start)
        return np.take(held.reshape(self.shape), rows, axis=0)


@dataclass(frozen=True)
class Shards:
    """Shards as one array."""

    shards: tuple[Shard, ...]

    @cached_property
    def edges(self) -> NDArray[np.intp]:
        """Where each shard's rows begin, and where the last one's end."""
        return np.cumsum([0, *(shard.shape[0] for shard in self.shards)])

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all rows."""
        return int(self.edges[-1]), *self.shards[0].shape[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the numbers in the files."""
        return self.shards[0].dtype

    def read(self, places: NDArray[np.intp]) -> NDArray[Any]:
        """Return the rows at these places. Raises ConfigError for a file that is not what it was."""
        if len(self.shards) == 1:
            return self.shards[0].read(places)
        out = np.empty((len(places), *self.shape[1:]), self.dtype)
        number = np.searchsorted(self.edges, places, side="right") - 1
        for each in np.unique(number):
            mine = np.flatnonzero(number == each)
            out[mine] = self.shards[each].read(places[mine] - self.edges[each])
        return out

    def whole(self) -> NDArray[Any]:
        """All rows, in memory."""
        return self.read(np.arange(self.shape[0]))

    def where(self, place: int) -> str:
        """Say in which file an example lies, and in which row."""
        number = int(np.searchsorted(self.edges, place, side="right")) - 1
        return f"{self.shards[number].path}, row {place - self.edges[number]}, counted from 0,"


def shards_at(place: Path) -> Shards:
    """Find the .npy file, or those of a folder. Raises ConfigError for what is no array, torn, missing or unlike."""
    files = [file.path for file in data_of(walked(place))]
    if place.is_dir():
        files = _in_order(place, [file for file in files if file.suffix.lower() == ".npy"])
    shards = tuple(_shard(file) for file in files)
    first = shards[0]
    for shard in shards:
        if (shard.dtype, shard.shape[1:]) != (first.dtype, first.shape[1:]):
            one, other = (f"{each.dtype} {list(each.shape[1:])}" for each in (shard, first))
            raise ConfigError(f"{shard.path} has rows of {one}, {first.path} of {other}; expected the same in all")
    return Shards(shards)


def _shard(file: Path) -> Shard:
    if file.suffix.lower() != ".npy":
        raise ConfigError(f"{file} is not a .npy file; expected an array as numpy.save writes it, or a folder of them")
    try:
        with open_regular(file) as opened:
            shape, fortran, dtype = _head(opened)
            start, status = opened.tell(), os.fstat(opened.fileno())
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{file} is not a .npy file: {first_line(error)}", "write it with numpy.save") from error
    if dtype.kind not in "biuf" or not shape or (fortran and len(shape) > 1):
        held = f"{dtype} of shape {list(shape)}" + (" in Fortran's order" if fortran else "")
        raise ConfigError(f"{file} holds {held}; expected numbers in C's order, one row an example")
    shard = Shard(file, shape, dtype, start, state_of(status))
    wanted, there = shape[0] * shard.row_bytes, status.st_size - start
    if wanted != there:
        said = f"its head says {list(shape)} of {dtype}, {wanted:,} bytes, and {max(there, 0):,} follow"
        raise ConfigError(f"{file} is not whole: {said}", "copy or write it again")
    return shard


def _head(opened: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(opened)
    if version not in HEADS:
        raise ValueError(f"its version {version} is not known")
    found: tuple[tuple[int, ...], bool, np.dtype[Any]] = HEADS[version](opened)
    return found


def _in_order(folder: Path, files: list[Path]) -> list[Path]:
    """Shards in the order of their numbers, where they are named by numbers, else of their names.

    Raises ConfigError for none, and where a number is missing.
    """
    if not files:
        raise ConfigError(f"{folder} has no .npy files; expected shards of an array", "write them with numpy.save")
    parted = [re.fullmatch(r"(.*?)(\d+)", file.stem, re.DOTALL) for file in files]
    named = {int(match[2]): (match, file) for match, file in zip(parted, files, strict=True) if match}
    if len(named) < len(files) or len({(file.parent, match[1]) for match, file in named.values()}) > 1:
        return files
    numbers = sorted(named)
    for one, two in pairwise(numbers):
        if two > one + 1:
            match, file = named[one]
            missing = file.with_name(f"{match[1]}{one + 1:0{len(match[2])}d}{file.suffix}")
            raise ConfigError(
                f"{missing} is missing: {folder} has shards {one} and {two} and none between",
                "bring it back, or number the shards without a gap",
            )
    return [named[number][1] for number in numbers]


def state_of(status: os.stat_result) -> tuple[int, int, int]:
    """What of a file is other once its content is. Not when its status changed: a link made to it by a backup does."""
    return status.st_size, status.st_mtime_ns, status.st_ino

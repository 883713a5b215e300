"""Pictures decoded once into a file of the cache, which all processes read: those that together are too large.

Knows no classes and no torch.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from thalweg.data.pictures import picture
from thalweg.data.remembered import alone, cache, key_of
from thalweg.data.rows import ahead
from thalweg.data.shards import Shards, shards_at
from thalweg.runner.base.errors import SetupError

IN_MEMORY = 256 * 2**20
"""Bytes of decoded pictures that each process holds in memory; of more, they lie in one file for all."""
READING = "v1"
"""Of `pictures.picture`: to be raised when it makes other pixels of a file."""


def decoded_bytes(count: int, side: int) -> int:
    """How much so many pictures take."""
    return count * 3 * side * side


def key_of_pictures(fingerprint: str, side: int) -> str:
    """Return a name for what pictures of this content and size become."""
    import PIL

    return key_of("pictures", READING, PIL.__version__, fingerprint, side)


def decoded(files: Sequence[Path], side: int, key: str) -> Shards:
    """Return the pictures, uint8 [N, 3, side, side], decoded by the first process that asks while others wait.

    Raises ConfigError, naming the file, for what cannot be decoded, and SetupError where there is no room.
    """
    place = cache() / "pictures" / f"{key}.npy"
    if not place.exists():
        with alone(place.parent):
            if not place.exists():
                _decode(files, side, place)
    return shards_at(place)


def _decode(files: Sequence[Path], side: int, place: Path) -> None:
    needed, aside = decoded_bytes(len(files), side), place.with_suffix(".part")
    hint = "set THALWEG_DATA to a folder with room, or lower dataset.side"
    try:
        free = shutil.disk_usage(place.parent).free
        if needed > free:
            said = f"{len(files):,} decoded pictures take {needed / 1e9:.1f} GB; {place.parent} has {free / 1e9:.1f}"
            raise SetupError(said, hint)
        with aside.open("wb") as file:
            shape = (len(files), 3, side, side)
            npy.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            for pixels in ahead(partial(picture, side=side), files, os.cpu_count() or 1):
                file.write(np.ascontiguousarray(pixels).data)
        aside.replace(place)
    except OSError as error:
        raise SetupError(f"decoded pictures cannot be put into {place.parent}: {error.strerror}", hint) from error
    finally:
        with suppress(OSError):
            aside.unlink()

"""Images of the user's, one folder a class. Knows no model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thalweg.data.arrange import ORDER, Sizes, dealt, levels_of, order, pixels_of
from thalweg.data.decoded import IN_MEMORY, decoded, decoded_bytes, key_of_pictures
from thalweg.data.files import class_folders, fingerprint_of, refuse_changed
from thalweg.data.pictures import look, picture
from thalweg.data.remembered import key_of, remembered
from thalweg.data.rows import Rows
from thalweg.data.schema import ImageFolderConfig
from thalweg.data.splits import Pixels, Splits
from thalweg.runner.base.errors import ConfigError

TWELVE_BITS = 2**12
MANY = 1000
"""Pictures whose looking at is remembered beyond the process; of fewer it takes a tenth of a second."""
AT_ONCE = 1024
"""Pictures that are looked at together where not all are in memory."""


def image_folder(config: ImageFolderConfig) -> Splits:
    """Return the splits: images uint8 [N, 3, side, side]; classes are the folders in the order of their names.

    What is too large for memory lies decoded in a file, from which the same is read.
    """
    fingerprint = fingerprint_of(config)
    refuse_changed(config, marks_at(config.path, fingerprint))
    images = class_folders(config.path)
    x, key = _pictures(list(chain(*images.values())), config.side, fingerprint)
    y = np.repeat(np.arange(len(images)), [len(files) for files in images.values()])
    sizes = Sizes.of_shares(len(y), config.validation, config.test, config.train_size)
    placed = order(config.split_seed, ORDER, len(y))
    pool = x[placed], y[placed]
    if _alike(x):
        raise ConfigError(f"all pictures of {config.path} are the same; expected some that differ")
    pixels = _pixels(pool[0][: sizes.train], key_of(key, config.split_seed, sizes.train))
    return dealt(pool, config, sizes, kind="classes", outputs=len(images), pixels=pixels)


def _pictures(files: Sequence[Path], side: int, fingerprint: str) -> tuple[NDArray[Any] | Rows, str]:
    """All pictures in the order of the files, and a name for what they are."""
    key = key_of_pictures(fingerprint, side)
    if decoded_bytes(len(files), side) > IN_MEMORY:
        return Rows.of(decoded(files, side, key)), key
    return np.stack([picture(file, side) for file in files]), key


@lru_cache(maxsize=64)
def marks_at(path: str, fingerprint: str) -> tuple[str, ...]:
    """As `looked_at`, once for all processes where there is much to look at: it is all in the fingerprint."""
    if sum(map(len, class_folders(path).values())) < MANY:
        return looked_at(path)
    return tuple(remembered(key_of("looked", fingerprint), lambda: " ".join(looked_at(path))).split())


def looked_at(path: str) -> tuple[str, ...]:
    """Look at each picture, decoding few, and return marks of `files.MENDED`.

    Raises ConfigError for classes and pictures that cannot be trained on.
    """
    looks = [look(file) for file in chain(*class_folders(path).values())]
    deep = [each.highest for each in looks if each.highest is not None]
    if deep and max(deep) < TWELVE_BITS:  # fewer than 16 levels would be left
        raise ConfigError(
            f"the pictures of {path} with 16 bits hold nothing above {max(deep)} of 65,535",
            "save them with 8 bits, or stretched over all 16",
        )
    return ("pictures",) if any(each.mended for each in looks) else ()


def _alike(x: NDArray[Any] | Rows) -> bool:
    first = next(_parts(x))[:1]
    return all((part == first).all() for part in _parts(x))


def _pixels(x: NDArray[Any] | Rows, key: str) -> Pixels:
    """What the pictures that train are scaled by; of those in a file remembered by the key."""
    if not isinstance(x, Rows):
        return pixels_of(levels_of(x))
    counted = remembered(key, lambda: json.dumps(np.sum([levels_of(part) for part in _parts(x)], axis=0).tolist()))
    return pixels_of(np.array(json.loads(counted)))


def _parts(x: NDArray[Any] | Rows) -> Iterator[NDArray[Any]]:
    for start in range(0, len(x), AT_ONCE):
        part = x[start : start + AT_ONCE]
        yield part.read(np.arange(len(part))) if isinstance(part, Rows) else part

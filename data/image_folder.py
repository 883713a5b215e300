"""Images of the user's, one folder a class. Knows no model."""

from __future__ import annotations

from itertools import chain

import numpy as np

from thalweg.data.arrange import ORDER, Sizes, dealt, order, pixels_of
from thalweg.data.files import class_folders, refuse_changed
from thalweg.data.pictures import look, picture
from thalweg.data.schema import ImageFolderConfig
from thalweg.data.splits import Splits
from thalweg.runner.base.errors import ConfigError

TWELVE_BITS = 2**12


def image_folder(config: ImageFolderConfig) -> Splits:
    """Return the splits: images uint8 [N, 3, side, side]; classes are the folders in the order of their names."""
    refuse_changed(config, looked_at(config.path))
    images = class_folders(config.path)
    x = np.stack([picture(file, config.side) for file in chain(*images.values())])
    y = np.repeat(np.arange(len(images)), [len(files) for files in images.values()])
    sizes = Sizes.of_shares(len(y), config.validation, config.test, config.train_size)
    placed = order(config.split_seed, ORDER, len(y))
    pool = x[placed], y[placed]
    if (x == x[:1]).all():
        raise ConfigError(f"all pictures of {config.path} are the same; expected some that differ")
    pixels = pixels_of(pool[0][: sizes.train])
    return dealt(pool, config, sizes, kind="classes", outputs=len(images), pixels=pixels)


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

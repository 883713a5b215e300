"""Images of the user's, one folder a class, through torchvision's ImageFolder. Knows no model."""

from __future__ import annotations

import numpy as np

from thalweg.data.arrange import ORDER, Sizes, dealt, order, pixels_of
from thalweg.data.files import class_folders, refuse_changed
from thalweg.data.schema import ImageFolderConfig
from thalweg.data.splits import Splits
from thalweg.data.vision import datasets
from thalweg.runner.base.errors import ConfigError, first_line


def image_folder(config: ImageFolderConfig) -> Splits:
    """Return the splits: images uint8 [N, 3, side, side]; classes are the folders in the order of their names."""
    refuse_changed(config.name, config.path, config.fingerprint)
    classes = class_folders(config.path)
    listed = datasets().ImageFolder(config.path).samples
    x = np.stack([_image(path, config.side) for path, _ in listed])
    y = np.array([label for _, label in listed], np.int64)
    sizes = Sizes.of_shares(len(y), config.validation, config.test, config.train_size)
    placed = order(config.split_seed, ORDER, len(y))
    pool = x[placed], y[placed]
    pixels = pixels_of(pool[0][: sizes.train])
    return dealt(pool, config, sizes, kind="classes", outputs=len(classes), pixels=pixels)


def _image(path: str, side: int) -> np.ndarray:
    """One image as uint8 [3, side, side]."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise ConfigError(f"{path} cannot be read as an image: {first_line(error)}") from error
    if image.size != (side, side):
        image = image.resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(image, np.uint8).transpose(2, 0, 1)

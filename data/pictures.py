"""Picture files as arrays of 8 bits, as a viewer shows them. The door of pillow; it knows no folder and no torch.

Sixteen bits are scaled by their type's range. What is transparent lies on white. The camera's note of how it was held
is followed. Of several frames the first is read. Other colours (a palette, CMYK, grey) become red, green and blue.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thalweg.runner.base.errors import ConfigError, first_line
from thalweg.runner.base.regular import open_regular

ORIENTATION = 0x0112
"""EXIF's number for how the camera was held; 1 is upright."""
NOTES = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}
"""Where PNG holds it."""


@dataclass(frozen=True)
class Look:
    """mended: whether version 0.1.0 read other colours or another rotation. highest: of 16 bits, if it has so many."""

    mended: bool
    highest: int | None


def picture(path: Path, side: int) -> NDArray[np.uint8]:
    """Return a picture as [3, side, side]. Raises ConfigError, naming the file, for what cannot be decoded."""
    from PIL import Image, ImageOps

    with _opened(path) as image:
        deep = _is_deep(path, image)
        upright = ImageOps.exif_transpose(image) if _is_turned(image) else image
        seen = _flat(Image.fromarray((_levels(upright) >> 8).astype(np.uint8)) if deep else upright)
        if seen.size != (side, side):
            seen = seen.resize((side, side), Image.Resampling.BILINEAR)
        return np.asarray(seen, np.uint8).transpose(2, 0, 1)


def look(path: Path) -> Look:
    """Look at a picture before anything trains; at its head alone where that says enough.

    Raises ConfigError for what is no picture.
    """
    with _opened(path) as image:
        if _is_deep(path, image):
            return Look(True, int(_levels(image).max()))
        clear = image.has_transparency_data and image.convert("RGBA").getextrema()[3][0] < 255
        return Look(_is_turned(image) or clear, None)


def _is_turned(image: Any) -> bool:
    """Whether the camera noted that it was not upright; of PNG, in its head: for the rest pillow decodes it whole."""
    if image.format == "PNG" and not NOTES & image.info.keys():
        return False
    return image.getexif().get(ORIENTATION, 1) in range(2, 9)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    from PIL import Image

    try:
        with open_regular(path) as file, Image.open(file) as image:
            yield image
    except ConfigError:
        raise
    except Exception as error:  # a broken file raises OSError, SyntaxError, ValueError, struct's and zlib's errors, …
        raise ConfigError(f"{path} cannot be read as an image: {first_line(error)}", "correct or remove it") from error


def _is_deep(path: Path, image: Any) -> bool:
    """Whether a picture has 16 bits. Raises ConfigError for 32, whose black and white nobody knows."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return True
    if image.mode[0] in "IF":
        raise ConfigError(
            f"{path} has pixels of 32 bits (mode {image.mode}), whose black and white are not known",
            "save the pictures with 8 or 16 bits",
        )
    return False


def _levels(image: Any) -> NDArray[np.uint16]:
    levels: NDArray[np.uint16] = np.clip(np.asarray(image), 0, 65535).astype(np.uint16)
    return levels


def _flat(image: Any) -> Any:
    """In red, green and blue, on white where it is transparent."""
    from PIL import Image

    if not image.has_transparency_data:
        return image.convert("RGB")
    shown = image.convert("RGBA")
    white = Image.new("RGBA", shown.size, "white")
    return Image.alpha_composite(white, shown).convert("RGB")

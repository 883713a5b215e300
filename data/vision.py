"""MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100 as torchvision reads and checks them. A door of torchvision.

They are downloaded once, into THALWEG_DATA or ~/.cache/thalweg; torchvision compares checksums. Images stay uint8.
"""

from __future__ import annotations

import socket
from contextlib import redirect_stdout, suppress
from io import StringIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thalweg.data.arrange import ORDER, Sizes, dealt, levels_of, order, pixels_of
from thalweg.data.remembered import alone, cache
from thalweg.data.schema import CIFAR10Config, CIFAR100Config, FashionMNISTConfig, MNISTConfig
from thalweg.data.splits import Split, Splits
from thalweg.runner.base.errors import ConfigError, SetupError, first_line

VisionConfig = MNISTConfig | FashionMNISTConfig | CIFAR10Config | CIFAR100Config

SETS: dict[str, tuple[str, int, str]] = {
    "mnist": ("MNIST", 12, "MNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz"),
    "fashion_mnist": ("FashionMNIST", 12, "FashionMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz"),
    "cifar10": ("CIFAR10", 10, "cifar-10-python.tar.gz"),
    "cifar100": ("CIFAR100", 10, "cifar-100-python.tar.gz"),
}
"""Name -> torchvision's class, one in how many training images validates, and the files to fetch by hand."""

SECONDS = 20.0
"""How long a silent server is waited for."""


def vision(config: VisionConfig) -> Splits:
    """Return the splits: validation is a share of the training images drawn by split_seed, test the official one."""
    name, one_in, _ = SETS[config.name]
    (x, y), test = (_images(config, train) for train in (True, False))
    sizes = Sizes(len(y) - len(y) // one_in, len(y) // one_in, 0)
    if config.train_size > sizes.train:
        raise ConfigError(f"dataset.train_size is {config.train_size}, but {name} has {sizes.train:,} for training")
    placed = order(config.split_seed, ORDER, len(y))
    pool = x[placed], y[placed]
    pixels = pixels_of(levels_of(pool[0][: sizes.train]))
    return dealt(pool, config, sizes, kind="classes", outputs=config.classes, test=Split(*test), pixels=pixels)


def _images(config: VisionConfig, train: bool) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The images [N, C, H, W] and labels of one of torchvision's two parts."""
    held = _held(config, train)
    x = np.asarray(held.data)
    x = x[:, None] if x.ndim == 3 else x.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(x), np.asarray(held.targets, np.int64)


def _held(config: VisionConfig, train: bool) -> Any:
    made = getattr(datasets(), SETS[config.name][0])
    folder = cache()
    with alone(folder), redirect_stdout(StringIO()):
        with suppress(RuntimeError):  # torchvision's word for "not there, or not as its checksum says"
            return made(str(folder), train=train, download=False)
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(SECONDS)
        try:
            return made(str(folder), train=train, download=True)
        except (OSError, RuntimeError) as error:
            reason = first_line(error)
            raise SetupError(
                f"dataset={config.name} is not in {folder} and cannot be downloaded: {reason}",
                f"put {SETS[config.name][2]} into {folder}, or set THALWEG_DATA to the folder that has it",
            ) from error
        finally:
            socket.setdefaulttimeout(before)


def datasets() -> Any:
    """torchvision.datasets. Raises SetupError where torchvision is missing, or made for another torch."""
    try:
        from torchvision import datasets as found
    except (ImportError, RuntimeError) as error:
        reason = first_line(error)
        raise SetupError(
            f"torchvision does not work beside the installed torch: {reason}",
            "install the torchvision that belongs to it; both must be CPU builds or both CUDA builds",
        ) from error
    return found

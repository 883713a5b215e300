"""Arrays of a .npz file: the target, and x. Opens no pickle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thalweg.data.schema import TableConfig
from thalweg.runner.base.errors import ConfigError, first_line
from thalweg.runner.base.regular import open_regular

NUMBERS = "biuf"
"""The kinds of numpy's types that are numbers."""


@dataclass(frozen=True)
class Archive:
    """x: [N, *features] as float64. y: [N, targets]. one_hot: each row of y is 1 at its class, 0 elsewhere."""

    x: NDArray[np.float64]
    y: NDArray[Any]
    one_hot: bool


def archive(file: Path, config: TableConfig) -> Archive:
    """Return the array `target` of a .npz file, and x or the only other one. Raises ConfigError, naming the row."""
    target, arrays = config.target, arrays_of(file, config.ignore)
    rest = [name for name in arrays if name != target]
    if target not in arrays or ("x" not in rest and len(rest) != 1):
        held = ", ".join(arrays) or "nothing"
        raise ConfigError(f"{file} holds {held}; expected the target {target!r} and an array x")
    x, y = arrays["x" if "x" in rest else rest[0]], arrays[target]
    numbers = x.dtype.kind in NUMBERS and y.dtype.kind in NUMBERS
    if not numbers or x.ndim < 2 or y.ndim < 1 or len(x) != len(y) or not x.size or not y.size:
        raise ConfigError(
            f"{file} has x of {x.dtype} {list(x.shape)} and {target} of {y.dtype} {list(y.shape)}; "
            "expected numbers, as many rows in both"
        )
    with np.errstate(over="ignore"):  # what is beyond float64 is infinite, which is refused
        x, y = x.astype(np.float64), y.reshape(len(y), -1)
    for name, array in (("x", x.reshape(len(x), -1)), (target, y)):
        bad = np.flatnonzero(~np.isfinite(array).all(1))
        if len(bad):
            raise ConfigError(
                f"{file} has NaN or infinity in row {bad[0]}, counted from 0, of {name}; expected finite numbers"
            )
    one_hot = y.shape[1] > 1 and bool(((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all())
    if config.kind == "classes" and y.shape[1] > 1 and not one_hot:
        raise ConfigError(
            f"{file} has {y.shape[1]:,} numbers a row in {target}; expected one class, or a 1 at the class among 0s",
            "if they are numbers to be predicted, write dataset.kind=values",
        )
    return Archive(x, y, one_hot)


def arrays_of(file: Path, ignored: tuple[str, ...] = ()) -> dict[str, NDArray[Any]]:
    """The arrays of a .npz file by their names. Raises ConfigError for what is none."""
    try:
        with open_regular(file) as opened:
            loaded = np.load(opened, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise ConfigError(f"{file} holds one array without a name; expected .npz, as numpy.savez writes it")
            return {name: loaded[name] for name in loaded.files if name not in ignored}
    except ConfigError:
        raise
    except OSError as error:
        raise ConfigError(f"{file} cannot be read as .npz: {error.strerror or first_line(error)}") from error
    except Exception as error:  # EOFError, BadZipFile, zlib's and struct's errors, ValueError for pickled objects, …
        raise ConfigError(
            f"{file} cannot be read as .npz: {first_line(error)}", "write numbers with numpy.savez"
        ) from error

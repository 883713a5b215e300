"""Arrays of the user's own, x and y, as three splits. Knows neither where they come from nor torch.

N examples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thalweg.data.arrange import ORDER, order, with_noise
from thalweg.data.schema import Kind
from thalweg.data.splits import Split, Splits
from thalweg.runner.base.errors import ConfigError

Array = NDArray[Any]
HINTS = {
    "classes": "if y holds numbers to be predicted, write dataset.kind: values",
    "values": "if y holds classes, write dataset.kind: classes",
    "tokens": "x and y hold the numbers of tokens, [N, context]",
}


def split_arrays(
    x: Array,
    y: Array,
    *,
    kind: Kind,
    shares: tuple[float, float],
    train_size: int | None,
    label_noise: float,
    split_seed: int,
) -> Splits:
    """Return x [N, *features] and y [N, …] as splits; shares are those of validation and test.

    Who goes where depends on split_seed alone; the training split is the first `train_size` of what is left, of
    which `label_noise` is made wrong as in `arrange`. uint8 images are divided by 255; other features are taken
    as they are. Raises ConfigError for what no task can be trained on, naming the row.
    """
    x, y = features_of(x, kind), _targets(y, kind)
    if len(x) != len(y):
        raise ConfigError(f"the dataset has {len(x):,} examples x, but {len(y):,} targets y")
    held_out = [max(1, round(share * len(y))) for share in shares]
    trainable = len(y) - sum(held_out)
    if trainable < (train_size or 1):
        raise ConfigError(
            f"dataset.train_size is {train_size}, but of {len(y):,} examples {max(trainable, 0):,} are for training",
            "give it less, or lower dataset.validation and dataset.test",
        )
    ordered = order(split_seed, ORDER, len(y))
    x, y = x[ordered], y[ordered]
    outputs = _outputs(x, y, kind)
    y_train = y[:trainable]
    if label_noise and kind != "classes":
        raise ConfigError(f"dataset.label_noise is {label_noise}, but targets of kind {kind} have no labels")
    if label_noise:
        y_train = with_noise(y_train, outputs, label_noise, split_seed)
    validation = slice(trainable, trainable + held_out[0])
    test = slice(validation.stop, len(y))
    return Splits(
        train=Split(x[:trainable][:train_size], y_train[:train_size]),
        validation=Split(x[validation], y[validation]),
        test=Split(x[test], y[test]),
        kind=kind,
        outputs=outputs,
    )


def features_of(x: Array, kind: Kind) -> Array:
    """Examples as models read them. Raises ConfigError for what are none."""
    if x.dtype.kind not in "biuf" or x.ndim < 2:
        raise ConfigError(
            f"the dataset's x is an array of {x.dtype} of shape {list(x.shape)}; expected numbers, one row an example"
        )
    if kind == "tokens":
        return _whole(x, "x", kind)
    made: Array = x.astype(np.float32) / np.float32(255 if x.dtype == np.uint8 else 1)
    bad = np.flatnonzero(~np.isfinite(made.reshape(len(made), -1)).all(axis=1))
    if len(bad):
        raise ConfigError(f"the dataset's x holds NaN or infinity in {len(bad):,} rows, row {bad[0]} first")
    return made


def _targets(y: Array, kind: Kind) -> Array:
    if y.dtype.kind not in "biuf":
        raise ConfigError(f"the dataset's y holds {y.dtype}; expected numbers", "map names to numbers from 0")
    if kind != "values":
        return _whole(y[:, 0] if kind == "classes" and y.ndim == 2 and y.shape[1] == 1 else y, "y", kind)
    made: Array = y.astype(np.float32).reshape(len(y), -1)
    bad = np.flatnonzero(~np.isfinite(made).all(axis=1))
    if len(bad):
        raise ConfigError(f"the dataset's y holds NaN or infinity in {len(bad):,} rows, row {bad[0]} first")
    return made


def _whole(values: Array, name: str, kind: Kind) -> Array:
    """The values as int64 from 0."""
    wanted = 1 if kind == "classes" else 2
    if values.ndim != wanted:
        raise ConfigError(f"the dataset's {name} has shape {list(values.shape)}, no {kind}", HINTS[kind])
    flat = values.reshape(len(values), -1)
    bad = np.flatnonzero(((flat != np.floor(flat)) | (flat < 0)).any(axis=1))
    if len(bad):
        seen = flat[bad[0]][(flat[bad[0]] != np.floor(flat[bad[0]])) | (flat[bad[0]] < 0)][0]
        expected = f"expected {kind} as integers from 0"
        raise ConfigError(f"the dataset's {name} holds {seen} in row {bad[0]}; {expected}", HINTS[kind])
    whole: Array = values.astype(np.int64)
    return whole


def _outputs(x: Array, y: Array, kind: Kind) -> int:
    if kind == "values":
        return int(y.shape[1])
    count = int(max(y.max(), x.max() if kind == "tokens" else 0)) + 1
    if kind == "classes" and y.min() > 0:
        raise ConfigError(f"the dataset's y holds the classes {y.min()} to {count - 1}; expected them from 0")
    if kind == "classes" and count < 2:
        raise ConfigError("the dataset's y holds one class only; expected at least two")
    return count

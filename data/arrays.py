"""Arrays of the user's own, x and y, as three splits; x may be several. Knows neither whence they are nor torch.

N examples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from thalweg.data.arrange import ORDER, order, with_noise
from thalweg.data.fields import Inputs, fields, mapped
from thalweg.data.rows import Features, Rows, Source
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
    x: Any,  # Inputs[Array | Rows]
    y: Array,
    *,
    kind: Kind,
    shares: tuple[float, float],
    train_size: int | None,
    label_noise: float,
    split_seed: int,
) -> Splits:
    """Return x [N, *features], or several such, and y [N, …] as splits; shares are those of validation and test.

    Who goes where depends on split_seed alone; the training split is the first `train_size` of what is left, of
    which `label_noise` is made wrong as in `arrange`. uint8 images are divided by 255; other features are taken
    as they are. Raises ConfigError for what no task can be trained on, naming the row; of `Rows`, which stay in
    files, when they are read.
    """
    if not isinstance(x, Rows):
        x = inputs_of(x, kind)
    axes, y = y.shape[1:] if kind == "values" and y.ndim > 2 else (), _targets(y, kind)
    for name, array in fields(x).items():
        if len(array) != len(y):
            called = f"{name_of(x, name)} for {len(array):,} examples" if several(x) else f"{len(array):,} examples x"
            raise ConfigError(f"the dataset has {called}, but {len(y):,} targets y")
    held_out = [max(1, round(share * len(y))) for share in shares]
    trainable = len(y) - sum(held_out)
    if trainable < (train_size or 1):
        raise ConfigError(
            f"dataset.train_size is {train_size}, but of {len(y):,} examples {max(trainable, 0):,} are for training",
            "give it less, or lower dataset.validation and dataset.test",
        )
    ordered = order(split_seed, ORDER, len(y))
    x, y = mapped(lambda array: array[ordered], x), y[ordered]
    outputs = _outputs(x, y, kind)
    y_train = y[:trainable]
    if label_noise and kind != "classes":
        raise ConfigError(f"dataset.label_noise is {label_noise}, but targets of kind {kind} have no labels")
    if label_noise:
        y_train = with_noise(y_train, outputs, label_noise, split_seed)
    validation = slice(trainable, trainable + held_out[0])
    test = slice(validation.stop, len(y))
    return Splits(
        train=Split(mapped(lambda array: array[:trainable][:train_size], x), y_train[:train_size]),
        validation=Split(mapped(lambda array: array[validation], x), y[validation]),
        test=Split(mapped(lambda array: array[test], x), y[test]),
        kind=kind,
        outputs=outputs,
        axes=axes,
    )


def several(x: Inputs[Array]) -> bool:
    """Whether an example is more than one array, or one by name."""
    return isinstance(x, dict | tuple)


def name_of(x: Inputs[Array], name: str | int) -> str:
    """What an array of several is called in messages."""
    return f"x[{name!r}]" if several(x) else "x"


def inputs_of(x: Inputs[Array], kind: Kind) -> Inputs[Array]:
    """One array or several as models read them. Raises ConfigError for what are none."""
    if not isinstance(x, dict | tuple):
        return features_of(x, kind)
    if not x:
        raise ConfigError("the dataset's x is empty; expected an array for each input of the model")
    if isinstance(x, dict) and (odd := [name for name in x if not isinstance(name, str)]):
        raise ConfigError(f"the dataset's x has the key {odd[0]!r}; expected names, by which the model is called")
    held: dict[str | int, Array] = fields(x)
    for name, array in held.items():
        _refuse_no_field(name_of(x, name), array)
    return mapped(_field, x)


def _refuse_no_field(name: str, array: Array) -> None:
    if array.dtype.kind not in "biuf" or array.ndim < 1:
        seen = f"the dataset's {name} is an array of {array.dtype} of shape {list(array.shape)}"
        raise ConfigError(f"{seen}; expected numbers, one row an example", "let x be arrays by name, none nested")
    bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
    if len(bad):
        raise ConfigError(f"the dataset's {name} holds NaN or infinity in {len(bad):,} rows, row {bad[0]} first")


def _field(array: Array) -> Array:
    """One of several inputs: true and false, whole numbers and fractions stay what they are."""
    held: Array = array.astype({"b": np.bool_, "f": np.float32}.get(array.dtype.kind, np.int64))
    return held


def features_of(x: Array, kind: Kind) -> Array:
    """Examples as models read them. Raises ConfigError for what are none."""
    _refuse_no_examples(x)
    if kind == "tokens":
        return _whole(x, "x", kind)
    made = _scaled(x)
    bad = np.flatnonzero(~np.isfinite(made.reshape(len(made), -1)).all(axis=1))
    if len(bad):
        raise ConfigError(f"the dataset's x holds NaN or infinity in {len(bad):,} rows, row {bad[0]} first")
    return made


def rows_of(source: Source) -> Rows:
    """Examples that stay in files, to be read as `features_of` makes them. Raises ConfigError for what are none."""
    _refuse_no_examples(source)
    return Rows.of(Features(source, _scaled))


def _refuse_no_examples(x: Array | Source) -> None:
    if x.dtype.kind not in "biuf" or len(x.shape) < 2:
        raise ConfigError(
            f"the dataset's x is an array of {x.dtype} of shape {list(x.shape)}; expected numbers, one row an example"
        )


def _scaled(x: Array) -> NDArray[np.float32]:
    """Numbers as models read them; those that are so already may be the array itself."""
    if x.dtype == np.uint8:
        return np.divide(x, np.float32(255), dtype=np.float32)
    return x.astype(np.float32, copy=False)


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


def _outputs(x: Inputs[Array], y: Array, kind: Kind) -> int:
    if kind == "values":
        return int(y.shape[1])
    count = int(max(y.max(), _tokens(x).max() if kind == "tokens" else 0)) + 1
    if kind == "classes" and y.min() > 0:
        raise ConfigError(f"the dataset's y holds the classes {y.min()} to {count - 1}; expected them from 0")
    if kind == "classes" and count < 2:
        raise ConfigError("the dataset's y holds one class only; expected at least two")
    return count


def _tokens(x: Inputs[Array]) -> Array:
    """The tokens that are read: of several inputs, what is called input_ids, or else the first of whole numbers."""
    whole = {name: array for name, array in fields(x).items() if array.dtype.kind in "iu"}
    if not whole:
        raise ConfigError("the dataset's x holds no tokens", HINTS["tokens"])
    return whole.get("input_ids", next(iter(whole.values())))

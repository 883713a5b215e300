"""Examples that nobody has seen, from a file of the user's, made ready as those were that a model was trained on.

A table's columns are found by their names and scaled together with the table that trained, by the same function: its
numbers come out as they did, or nothing is given. Knows no model and no torch.

N examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thalweg.data.archive import arrays_of
from thalweg.data.arrange import ORDER, Sizes, order
from thalweg.data.arrays import features_of, inputs_of
from thalweg.data.columns import delimited, parquet
from thalweg.data.fields import Inputs, fields, remade
from thalweg.data.scale import scaled, scaled_each
from thalweg.data.schema import StdlibConfig, TableConfig, TextConfig
from thalweg.data.splits import Splits
from thalweg.data.table import Raw, raw_of, table
from thalweg.data.target import numbers
from thalweg.data.text import read_as
from thalweg.runner.base.errors import ConfigError

AS_GIVEN = "x is taken as your dataset returns it: what that does to its numbers before is not done to these"
READS = {"b": "b", "i": "iub", "f": "fiub"}
"""The kinds of array that an input may be given as, by the kind that trained."""
COLUMNS = {".csv": delimited, ".tsv": delimited, ".parquet": parquet}


@dataclass(frozen=True, eq=False)
class Unseen:
    """x `[N, *features]`, as a split holds it. mean, deviation: what a value that is predicted is told in, if not 0, 1.

    labels: the words of the classes, in their order, where they have some. note: what its user should know, a sentence.
    y: of a text, the token that follows at each place `[N, L]`, -1 where an earlier window has that place; else None.
    """

    x: Any  # Inputs[NDArray], as a split's
    mean: float | NDArray[np.float64] = 0.0
    deviation: float | NDArray[np.float64] = 1.0
    labels: tuple[str, ...] = ()
    note: str = ""
    y: NDArray[np.int64] | None = None


def unseen_rows(config: TableConfig, file: Path) -> Unseen:
    """Return rows of a file as those of the user's table. Raises ConfigError for those that are none."""
    splits, raw = table(config), raw_of(config)
    sizes = Sizes.of_shares(len(raw.y), config.validation, config.test, config.train_size)
    placed = order(config.split_seed, ORDER, len(raw.y))
    seen = raw.x[placed][: sizes.train]
    x = np.concatenate([seen, _named(config, raw, file) if raw.names else _unnamed(config, raw, file)])
    ready = (scaled_each if x.ndim == 2 else scaled)(x, sizes.train).x
    trained, new = ready[: len(splits.train.y)], ready[sizes.train :]
    if not np.array_equal(trained, splits.train.x):
        raise ConfigError(f"{file} cannot be scaled together with {config.path}", "does it hold huge numbers?")
    _refuse_rows(file, np.isfinite(new.reshape(len(new), -1)).all(1), "lies 1e38 deviations from what trained")
    if config.kind == "classes":
        return Unseen(new, labels=config.labels)
    y = raw.y[placed]
    mean, deviation = y[: sizes.train].mean(0), y[: sizes.train].std(0)
    edges = slice(sizes.train, sizes.train + sizes.validation)
    if not np.allclose(splits.validation.y * deviation + mean, y[edges], rtol=1e-5, atol=1e-5 * float(deviation.max())):
        raise ConfigError(
            f"the targets of {config.path} cannot be told in their own units", "divide them by a power of 10"
        )
    return Unseen(new, mean, deviation)


def unseen_arrays(file: Path, splits: Splits) -> Unseen:
    """Return the examples of a .npz file, as those of arrays of the user's or of pictures.

    Raises ConfigError for those that are none.
    """
    if isinstance(splits.train.x, dict | tuple):
        return Unseen(_fields_of(file, splits.train.x), note=AS_GIVEN)
    x, shape = _array(file, None), splits.features
    if x.shape[1:] != shape:
        raise ConfigError(f"{file} has examples of shape {list(x.shape[1:])}; the model reads {list(shape)}")
    if splits.pixels is not None:
        if x.dtype != np.uint8:
            raise ConfigError(f"{file} has pictures of {x.dtype}; expected uint8, as those that trained")
        return Unseen(x)
    made = features_of(x, splits.kind)
    if splits.kind == "tokens":
        _refuse_rows(file, (made < splits.outputs).all(1), f"has a token that is not below {splits.outputs}")
    return Unseen(made, note=AS_GIVEN)


def unseen_scaled(file: Path, trained: NDArray[np.float64]) -> Unseen:
    """Return the examples of a .npz file, scaled as those that trained, in whose units they are.

    Raises ConfigError for those that are none.
    """
    x, shape = _array(file, None), trained.shape[1:]
    if x.shape[1:] not in (shape, shape[1:]):  # a picture's one channel may be left out
        raise ConfigError(f"{file} has examples of shape {list(x.shape[1:])}; the model reads {list(shape)}")
    made = x.astype(np.float64).reshape(len(x), *shape)
    _refuse_rows(file, np.isfinite(made.reshape(len(made), -1)).all(1), "has NaN or infinity")
    return Unseen(scaled(np.concatenate([trained, made]), len(trained)).x[len(trained) :])


def unseen_text(config: TextConfig | StdlibConfig, file: Path) -> Unseen:
    """Return a text as windows one after another, the last of which ends with it, in tokens of the trial's text.

    Raises ConfigError for what is no text or too short.
    """
    tokens, characters = read_as(config, file)
    followed, places = len(tokens) - 1, config.context
    if followed < places:
        expected = f"expected {places + 1:,} or more, a window of dataset.context={places} and one to predict"
        raise ConfigError(f"{file} has {len(tokens):,} characters; {expected}", "give it more text")
    starts = np.minimum(np.arange(0, followed, places), followed - places)
    at = starts[:, None] + np.arange(places)
    y = tokens[at + 1].astype(np.int64)
    y[-1, : len(starts) * places - followed] = -1
    return Unseen(tokens[at], labels=tuple(characters), y=y)


def _fields_of(file: Path, like: Inputs[NDArray[Any]]) -> Inputs[NDArray[Any]]:
    """The arrays of a .npz file that are inputs: by name, or by place as `arr_0`, `arr_1`, …"""
    found = _arrays(file)
    wanted = {name if isinstance(name, str) else f"arr_{name}": each for name, each in fields(like).items()}
    if lacking := [name for name in wanted if name not in found]:
        held = ", ".join(found) or "nothing"
        raise ConfigError(f"{file} lacks the array {lacking[0]}, which the model reads; it holds {held}")
    for name, trained in wanted.items():
        given = found[name]
        if given.shape[1:] != trained.shape[1:] or given.ndim < 1:
            seen, expected = list(given.shape[1:]), list(trained.shape[1:])
            raise ConfigError(f"{file} has {name} of shape {seen} for an example; the model reads {expected}")
        if given.dtype.kind not in READS[trained.dtype.kind]:
            raise ConfigError(f"{file} has {name} of {given.dtype}; the model reads {trained.dtype}")
        if len(given) != len(found[next(iter(wanted))]):
            raise ConfigError(f"{file} has {name} for {len(given):,} examples, and {next(iter(wanted))} for others")
    made = {name: found[key].astype(wanted[key].dtype) for name, key in zip(fields(like), wanted, strict=True)}
    return inputs_of(remade(like, made), "classes")


def _named(config: TableConfig, raw: Raw, file: Path) -> NDArray[np.float64]:
    reader = COLUMNS.get(file.suffix.lower())
    if reader is None:
        raise ConfigError(f"{file} names no columns; expected .csv, .tsv or .parquet, as {config.path}")
    columns = reader(file, config)
    for name in raw.names:
        columns.require(name, f"the model's table, {config.path},")
    try:
        return np.column_stack([numbers(columns, name, config.decimal == "comma") for name in raw.names])
    except ConfigError as error:
        raise ConfigError(error.message, "correct the row: the model reads this column") from None


def _unnamed(config: TableConfig, raw: Raw, file: Path) -> NDArray[np.float64]:
    x = _array(file, config.target, config.ignore)
    if x.shape[1:] != raw.x.shape[1:]:
        raise ConfigError(f"{file} has examples of shape {list(x.shape[1:])}; the model reads {list(raw.x.shape[1:])}")
    with np.errstate(over="ignore"):
        made = x.astype(np.float64)
    _refuse_rows(file, np.isfinite(made.reshape(len(made), -1)).all(1), "has NaN or infinity")
    return made


def _array(file: Path, target: str | None, ignored: tuple[str, ...] = ()) -> NDArray[Any]:
    """The array x of a .npz file, or the only one beside the target."""
    arrays = {name: array for name, array in _arrays(file, ignored).items() if name != target}
    if "x" not in arrays and len(arrays) != 1:
        raise ConfigError(f"{file} holds {', '.join(arrays) or 'nothing'}; expected an array x")
    x = arrays["x"] if "x" in arrays else next(iter(arrays.values()))
    if x.dtype.kind not in "biuf" or x.ndim < 2 or not x.size:
        raise ConfigError(f"{file} has x of {x.dtype} {list(x.shape)}; expected numbers, one row an example")
    return x


def _arrays(file: Path, ignored: tuple[str, ...] = ()) -> dict[str, NDArray[Any]]:
    if file.suffix.lower() != ".npz":
        raise ConfigError(f"{file} holds no arrays; expected .npz, as numpy.savez writes it")
    return arrays_of(file, ignored)


def _refuse_rows(file: Path, good: Any, what: str) -> None:
    rows = np.flatnonzero(~good)
    if len(rows):
        raise ConfigError(f"{file} {what} in row {rows[0]}, counted from 0", "correct the row")

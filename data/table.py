"""Tables of the user's: CSV, Parquet, or arrays in a .npz file, as splits. Knows no model.

Every row is looked at before anything trains; a refusal names file, row and column. Columns are centred and scaled one
by one; so are values to be predicted, so that a loss of 1 is that of a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thalweg.data.archive import archive
from thalweg.data.arrange import ORDER, Sizes, dealt, order
from thalweg.data.columns import LISTED, Columns, delimited, parquet
from thalweg.data.files import found, refuse_changed
from thalweg.data.number import number
from thalweg.data.pasted import pasted
from thalweg.data.scale import scaled, scaled_each
from thalweg.data.schema import TableConfig
from thalweg.data.splits import Splits
from thalweg.data.target import Column, classes, numbers, target
from thalweg.runner.base.errors import ConfigError


@dataclass(frozen=True)
class Read:
    """A table as splits. marks: of `files.MENDED`. notes: what is worth knowing of how it was read, in sentences."""

    splits: Splits
    marks: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Raw:
    """What a file holds: x [N, *features], y [N, …] and how many outputs it needs; marks and notes as in `Read`.

    place: where a row is, in words that follow "in". names: of the features, where a file names them.
    """

    x: NDArray[np.float64]
    y: NDArray[Any]
    outputs: int
    place: Callable[[int], str]
    marks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def table(config: TableConfig) -> Splits:
    """Return the splits of the user's table. Raises ConfigError for what cannot be trained on."""
    read = read_table(config)
    refuse_changed(config, read.marks)
    return read.splits


def read_table(config: TableConfig) -> Read:
    """Read the user's table. Raises ConfigError for what cannot be trained on."""
    file = found(config.path)
    raw = raw_of(config)
    sizes = Sizes.of_shares(len(raw.y), config.validation, config.test, config.train_size)
    placed = order(config.split_seed, ORDER, len(raw.y))
    x, y = raw.x[placed], raw.y[placed]
    if (x[: sizes.train] == x[:1]).all():
        raise ConfigError(
            f"no feature of {file} changes over the {sizes.train:,} rows that are for training; expected some that do"
        )
    fitted = (scaled_each if x.ndim == 2 else scaled)(x, sizes.train)
    marks = {*raw.marks, *(("scale",) if fitted.mended else ())}
    if config.kind == "values":
        targets = scaled_each(y, sizes.train)
        y, marks = targets.x, marks | ({"scale"} if targets.mended else set())
        _refuse_far(file, targets.x, placed, raw.place)
    _refuse_far(file, fitted.x, placed, raw.place)
    splits = dealt((fitted.x, y), config, sizes, kind=config.kind, outputs=raw.outputs)
    return Read(splits, tuple(sorted(marks)), raw.notes)


def raw_of(config: TableConfig) -> Raw:
    """What the user's table holds, before it is dealt out and scaled. Raises ConfigError as `read_table`."""
    file = found(config.path)
    reader = READERS.get(file.suffix.lower())
    if reader is None:
        raise ConfigError(f"dataset.path is {config.path!r}; expected .csv, .tsv, .parquet or .npz")
    return reader(file, config)


def _refuse_far(file: Path, x: NDArray[np.float32], placed: NDArray[np.intp], place: Callable[[int], str]) -> None:
    """Refuse what is infinite once it is scaled."""
    far = np.flatnonzero(~np.isfinite(x.reshape(len(x), -1)).all(1))
    if len(far):
        where = place(int(placed[far[0]]))
        raise ConfigError(
            f"{file} has a number in {where} that lies 1e38 deviations from the others", "correct the row"
        )


def _counted(row: int) -> str:
    return f"row {row}, counted from 0,"


def _from_columns(read: Callable[[Path, TableConfig], Columns]) -> Callable[[Path, TableConfig], Raw]:
    def reader(file: Path, config: TableConfig) -> Raw:
        columns = read(file, config)
        for name in config.ignore:
            columns.require(name, "dataset.ignore")
        columns.require(config.target, "dataset.target")
        index = tuple(name for name in columns.index if name != config.target and name not in config.ignore)
        names = [name for name in columns.cells if name not in (config.target, *config.ignore, *index)]
        if not names:
            raise ConfigError(f"{file} has no column beside dataset.target={config.target!r} and those left out")
        comma = config.decimal == "comma"
        _refuse_words(columns, names, config.ignore)
        x = np.column_stack([numbers(columns, name, comma, config.ignore) for name in names])
        y, outputs = target(columns, config)
        notes = tuple(_index_note(file, name) for name in index)
        return Raw(x, y, outputs, columns.place, ("index",) if index else (), notes, tuple(names))

    return reader


def _refuse_words(columns: Columns, names: Sequence[str], ignored: Sequence[str]) -> None:
    """Refuse columns without any number, all of them at once."""
    worded = [
        name
        for name in names
        if not any(number(cell) is not None or number(cell, comma=True) is not None for cell in columns.cells[name])
    ]
    if worded:
        listed = ", ".join(map(repr, worded[:LISTED])) + (", …" if len(worded) > LISTED else "")
        where = f"column {listed}" if len(worded) == 1 else f"columns {listed}"
        out = f"leave {'it' if len(worded) == 1 else 'them'} out: {pasted('dataset.ignore', [*ignored, *worded])}"
        raise ConfigError(f"{columns.file} has no numbers in the {where}", f"{out}; or write numbers for the words")


def _index_note(file: Path, name: str) -> str:
    called = f"the column {name!r}" if name else "the first column, which has no name"
    return f"{file}: {called}, is taken for a saved row index and is not a feature; to make it one, name it"


def _from_archive(file: Path, config: TableConfig) -> Raw:
    held = archive(file, config)
    if config.kind == "values":
        return Raw(held.x, held.y.astype(np.float64), held.y.shape[1], _counted)
    if held.one_hot:
        if config.classes not in (None, held.y.shape[1]):
            has = f"{file} has {held.y.shape[1]} in {config.target}"
            raise ConfigError(f"dataset.classes is {config.classes}, but {has}")
        y, outputs = classes(Column(file, f" of {config.target}", _counted), held.y.argmax(1), held.y.shape[1])
        return Raw(held.x, y, outputs, _counted, ("onehot",))
    y, outputs = classes(Column(file, f" of {config.target}", _counted), held.y[:, 0], config.classes)
    return Raw(held.x, y, outputs, _counted)


READERS: dict[str, Callable[[Path, TableConfig], Raw]] = {
    ".csv": _from_columns(delimited),
    ".tsv": _from_columns(delimited),
    ".parquet": _from_columns(parquet),
    ".npz": _from_archive,
}

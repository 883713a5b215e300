"""Tables of the user's: CSV, Parquet, or arrays in a .npz file, as splits. Knows no model.

Every row is looked at before anything trains; a refusal names file, row and column. Columns are centred and scaled one
by one; so are values to be predicted, so that a loss of 1 is that of a guess.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thalweg.data.archive import archive
from thalweg.data.arrange import ORDER, Sizes, dealt, order
from thalweg.data.columns import Columns, delimited, parquet
from thalweg.data.files import found, refuse_changed
from thalweg.data.number import number
from thalweg.data.pasted import pasted
from thalweg.data.scale import scaled, scaled_each
from thalweg.data.schema import TableConfig
from thalweg.data.splits import Splits
from thalweg.runner.base.errors import ConfigError

LISTED = 6
"""Names of columns that a refusal lists."""
LABELS = 40
"""Words that a hint lists; a column of more is hardly one of classes."""
FEW_CLASSES = 20
"""So many are never doubted."""


@dataclass(frozen=True)
class Read:
    """A table as splits. marks: of `files.MENDED`. notes: what is worth knowing of how it was read, in sentences."""

    splits: Splits
    marks: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Raw:
    """What a file holds: x [N, *features], y [N, …] and how many outputs it needs; marks and notes as in `Read`.

    place: where a row is, in words that follow "in".
    """

    x: NDArray[np.float64]
    y: NDArray[Any]
    outputs: int
    place: Callable[[int], str]
    marks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def table(config: TableConfig) -> Splits:
    """Return the splits of the user's table. Raises ConfigError for what cannot be trained on."""
    read = read_table(config)
    refuse_changed(config, read.marks)
    return read.splits


def read_table(config: TableConfig) -> Read:
    """Read the user's table. Raises ConfigError for what cannot be trained on."""
    file = found(config.path)
    reader = READERS.get(file.suffix.lower())
    if reader is None:
        raise ConfigError(f"dataset.path is {config.path!r}; expected .csv, .tsv, .parquet or .npz")
    raw = reader(file, config)
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


def _refuse_far(file: Path, x: NDArray[np.float32], placed: NDArray[np.intp], place: Callable[[int], str]) -> None:
    """Refuse what is infinite once it is scaled."""
    far = np.flatnonzero(~np.isfinite(x.reshape(len(x), -1)).all(1))
    if len(far):
        where = place(int(placed[far[0]]))
        raise ConfigError(f"{file} has a number in {where} that lies 1e38 deviations from the others", "mend the row")


def _counted(row: int) -> str:
    return f"row {row}, counted from 0,"


def _from_columns(read: Callable[[Path, TableConfig], Columns]) -> Callable[[Path, TableConfig], Raw]:
    def reader(file: Path, config: TableConfig) -> Raw:
        columns = read(file, config)
        for name in config.ignore:
            _column(columns, name, "dataset.ignore")
        _column(columns, config.target, "dataset.target")
        index = tuple(name for name in columns.index if name != config.target and name not in config.ignore)
        names = [name for name in columns.cells if name not in (config.target, *config.ignore, *index)]
        if not names:
            raise ConfigError(f"{file} has no column beside dataset.target={config.target!r} and those left out")
        comma = config.decimal == "comma"
        x = np.column_stack([_numbers(columns, name, comma) for name in names])
        y, outputs = _targets(columns, config)
        return Raw(
            x, y, outputs, columns.place, ("index",) if index else (), tuple(_index_note(file, name) for name in index)
        )

    return reader


def _index_note(file: Path, name: str) -> str:
    called = f"the column {name!r}" if name else "the first column, which has no name"
    return f"{file}: {called}, is taken for a saved row index and is no feature; to make it one, name it"


def _from_archive(file: Path, config: TableConfig) -> Raw:
    held = archive(file, config)
    if config.kind == "values":
        return Raw(held.x, held.y.astype(np.float64), held.y.shape[1], _counted)
    if held.one_hot:
        if config.classes not in (None, held.y.shape[1]):
            raise ConfigError(
                f"dataset.classes is {config.classes}, but {file} has {held.y.shape[1]} in {config.target}"
            )
        return Raw(held.x, held.y.argmax(1), held.y.shape[1], _counted, ("onehot",))
    where = f" of {config.target}"
    y, outputs = _classes(file, where, held.y[:, 0], _counted, config.classes)
    return Raw(held.x, y, outputs, _counted)


READERS: dict[str, Callable[[Path, TableConfig], Raw]] = {
    ".csv": _from_columns(delimited),
    ".tsv": _from_columns(delimited),
    ".parquet": _from_columns(parquet),
    ".npz": _from_archive,
}


def _column(columns: Columns, name: str, key: str) -> Sequence[Any]:
    if name not in columns.cells:
        names = list(columns.cells)
        listed = ", ".join(names[:LISTED]) + (", …" if len(names) > LISTED else "")
        raise ConfigError(f"{key} names {name!r}, which is no column of {columns.file}; it has {listed}")
    return columns.cells[name]


def _numbers(columns: Columns, name: str, comma: bool) -> NDArray[np.float64]:
    """A column of finite numbers. Raises ConfigError naming the first row that has none."""
    numbers = [number(cell, comma) for cell in columns.cells[name]]
    for row, found_number in enumerate(numbers):
        if found_number is None or not math.isfinite(found_number):
            cell = columns.cells[name][row]
            raise ConfigError(
                f"{columns.file} has {_seen(cell)} in {columns.place(row)}, column {name!r}; expected a finite number",
                _hint(name, cell, comma),
            )
    return np.array(numbers, np.float64)


def _hint(name: str, cell: Any, comma: bool) -> str:
    if isinstance(cell, str) and number(cell, not comma) is not None:
        return f"if the sign before a fraction is another: dataset.decimal={'point' if comma else 'comma'}"
    return f"mend the row, or leave the column out: {pasted('dataset.ignore', [name])}"


def _seen(cell: Any) -> str:
    return "nothing" if _missing(cell) else repr(cell)[:60]


def _missing(cell: Any) -> bool:
    """Whether a cell says nothing: an empty one, or what Parquet has for that."""
    return cell is None or cell == "" or cell != cell


def _targets(columns: Columns, config: TableConfig) -> tuple[NDArray[Any], int]:
    """The column to predict, and how many outputs it needs."""
    cells, comma = columns.cells[config.target], config.decimal == "comma"
    if config.kind == "values":
        return _numbers(columns, config.target, comma)[:, None], 1
    if config.labels:
        return _mapped(columns, config), len(config.labels)
    for row, cell in enumerate(cells):
        if number(cell, comma) is None:
            seen = f"{columns.file} has {_seen(cell)} in {columns.place(row)}, column {config.target!r}"
            raise ConfigError(f"{seen}; expected a class, from 0", _mapping(cells))
    where = f", column {config.target!r}"
    return _classes(columns.file, where, _numbers(columns, config.target, comma), columns.place, config.classes)


def _mapping(cells: Sequence[Any]) -> str:
    words = sorted({str(cell) for cell in cells if not _missing(cell)})
    if any(_missing(cell) for cell in cells):
        return "leave out or mend the rows that say nothing"
    if len(words) > LABELS:
        return f"the column holds {len(words):,} different words; write them in their order under dataset.labels"
    return f"say what the words mean: {pasted('dataset.labels', words)}"


def _mapped(columns: Columns, config: TableConfig) -> NDArray[np.int64]:
    classes = {label: place for place, label in enumerate(config.labels)}
    if len(classes) < len(config.labels):
        raise ConfigError(f"dataset.labels has {max(config.labels, key=config.labels.count)!r} twice", "write it once")
    cells = columns.cells[config.target]
    for row, cell in enumerate(cells):
        if str(cell) not in classes or (_missing(cell) and cell != ""):
            raise ConfigError(
                f"{columns.file} has {_seen(cell)} in {columns.place(row)}, column {config.target!r}, "
                "which dataset.labels lacks"
            )
    return np.array([classes[str(cell)] for cell in cells], np.int64)


def _classes(
    file: Path, where: str, values: NDArray[Any], place: Callable[[int], str], wanted: int | None
) -> tuple[NDArray[np.int64], int]:
    """Whole numbers from 0 as classes, and how many there are: as many as are wanted, or as the largest says."""
    bad = np.flatnonzero((values != np.floor(values)) | (values < 0))
    if len(bad):
        raise ConfigError(
            f"{file} has {values[bad[0]]:g} in {place(int(bad[0]))}{where}; expected a class, from 0",
            "if it is a number to be predicted, write dataset.kind=values",
        )
    least, most = int(values.min()), int(values.max())
    if wanted is not None and most >= wanted:
        raise ConfigError(f"{file} holds the class {most:,}{where}, but dataset.classes is {wanted:,}")
    if wanted is None and (least > 0 or most < 1):
        raise ConfigError(f"{file} holds the classes {least} to {most}{where}; expected 0, 1, …")
    outputs = wanted or most + 1
    different = len(np.unique(values))
    if wanted is None and outputs > FEW_CLASSES and (outputs > 2 * different or len(values) < 2 * different):
        raise ConfigError(
            f"{file} holds {different:,} different numbers up to {most:,}{where}, in {len(values):,} rows; "
            f"are these {outputs:,} classes?",
            f"if they are numbers to be predicted: dataset.kind=values; if they are classes: dataset.classes={outputs}",
        )
    return values.astype(np.int64), outputs

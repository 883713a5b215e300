"""Tables of the user's: CSV, Parquet, or arrays in a .npz file. Knows no model.

Every row is looked at before anything trains; a refusal names file, row and column. Columns are centred and scaled one
by one; so are values to be predicted, so that a loss of 1 is that of a guess. pyarrow is asked for only by Parquet.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thalweg.data.arrange import ORDER, Sizes, dealt, order, scaled, scaled_each
from thalweg.data.files import found, refuse_changed
from thalweg.data.schema import TableConfig
from thalweg.data.splits import Splits
from thalweg.runner.base.errors import ConfigError, SetupError, first_line

Columns = dict[str, list[Any]]
"""Name -> the cells of a column."""
FIRST_ROW = 2
"""Where a CSV's first row of cells is, the header being line 1."""
LISTED = 6


def table(config: TableConfig) -> Splits:
    """Return the splits of the user's table. Raises ConfigError for what cannot be trained on."""
    refuse_changed(config.name, config.path, config.fingerprint)
    file = found(config.path)
    if file.suffix == ".npz":
        x, y, outputs = _arrays(file, config)
    elif file.suffix in READERS:
        columns = READERS[file.suffix](file)
        x, y, outputs = _features(file, columns, config), *_targets(file, columns, config)
    else:
        raise ConfigError(f"dataset.path is {config.path!r}; expected .csv, .tsv, .parquet or .npz")
    sizes = Sizes.of_shares(len(y), config.validation, config.test, config.train_size)
    placed = order(config.split_seed, ORDER, len(y))
    x, y = x[placed], y[placed]
    x_scaled = scaled_each(x, sizes.train) if x.ndim == 2 else scaled(x, sizes.train)
    if config.kind == "values":
        y = scaled_each(y, sizes.train)
    return dealt((x_scaled, y), config, sizes, kind=config.kind, outputs=outputs)


def _csv(file: Path) -> Columns:
    with file.open(newline="", encoding="utf-8-sig") as opened:
        first = opened.readline()
        opened.seek(0)
        delimiter = max(",;\t", key=first.count)
        rows = [row for row in csv.reader(opened, delimiter=delimiter) if row]
    if len(rows) < FIRST_ROW:
        raise ConfigError(f"{file} has {'a header and no rows' if rows else 'no lines'}; expected a header and rows")
    header = [name.strip() for name in rows[0]]
    if all(_number(name) is not None for name in header):
        raise ConfigError(f"{file} begins with numbers; expected the names of its columns in line 1")
    if len(set(header)) < len(header):
        raise ConfigError(f"{file} has two columns called {max(header, key=header.count)!r}", "rename one of them")
    for place, row in enumerate(rows[1:]):
        if len(row) != len(header):
            raise ConfigError(f"{file} has {len(row)} cells in row {place + FIRST_ROW}; expected {len(header)}")
    return {name: [row[column] for row in rows[1:]] for column, name in enumerate(header)}


def _parquet(file: Path) -> Columns:
    try:
        from pyarrow import parquet
    except ImportError:
        hint = "install pyarrow, or write the table as CSV"
        raise SetupError(f"reading {file} needs pyarrow, which is not installed", hint) from None
    try:
        found_columns: Columns = parquet.read_table(file).to_pydict()
    except Exception as error:
        raise ConfigError(f"{file} cannot be read as Parquet: {first_line(error)}") from error
    return found_columns


READERS: dict[str, Callable[[Path], Columns]] = {".csv": _csv, ".tsv": _csv, ".parquet": _parquet}


def _number(cell: Any) -> float | None:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None


def _column(file: Path, columns: Columns, name: str, key: str) -> list[Any]:
    if name not in columns:
        listed = ", ".join(list(columns)[:LISTED]) + (", …" if len(columns) > LISTED else "")
        raise ConfigError(f"{key} names {name!r}, which is no column of {file}; it has {listed}")
    return columns[name]


def _numbers(file: Path, name: str, cells: list[Any]) -> NDArray[np.float64]:
    """A column of finite numbers. Raises ConfigError naming the first row that has none."""
    for place, cell in enumerate(cells):
        number = _number(cell)
        if number is None or not math.isfinite(number):
            seen = "nothing" if cell is None or cell == "" else repr(cell)
            raise ConfigError(
                f"{file} has {seen} in row {place + FIRST_ROW}, column {name!r}; expected a finite number",
                f"mend the row, or leave the column out: dataset.ignore=[{name}]",
            )
    return np.array([float(cell) for cell in cells])


def _features(file: Path, columns: Columns, config: TableConfig) -> NDArray[np.float64]:
    for name in config.ignore:
        _column(file, columns, name, "dataset.ignore")
    _column(file, columns, config.target, "dataset.target")
    names = [name for name in columns if name != config.target and name not in config.ignore]
    if not names:
        raise ConfigError(f"{file} has no column beside dataset.target={config.target!r} and those ignored")
    return np.column_stack([_numbers(file, name, columns[name]) for name in names])


def _targets(file: Path, columns: Columns, config: TableConfig) -> tuple[NDArray[Any], int]:
    """The column to predict, and how many outputs it needs."""
    cells = columns[config.target]
    if config.kind == "values":
        return _numbers(file, config.target, cells)[:, None], 1
    if config.labels:
        return _mapped(file, cells, config), len(config.labels)
    words = [(place, cell) for place, cell in enumerate(cells) if _number(cell) is None]
    if words:
        place, cell = words[0]
        known = sorted({str(word) for _, word in words})
        mapping = ", ".join(known[:LISTED]) + (", …" if len(known) > LISTED else "")
        raise ConfigError(
            f"{file} has {cell!r} in row {place + FIRST_ROW}, column {config.target!r}; expected a class, from 0",
            f"say what the words mean: dataset.labels=[{mapping}]",
        )
    return _classes(str(file), f", column {config.target!r}", _numbers(file, config.target, cells), FIRST_ROW)


def _mapped(file: Path, cells: list[Any], config: TableConfig) -> NDArray[np.int64]:
    number = {label: place for place, label in enumerate(config.labels)}
    for place, cell in enumerate(cells):
        if str(cell) not in number:
            raise ConfigError(
                f"{file} has {cell!r} in row {place + FIRST_ROW}, column {config.target!r}, which dataset.labels lacks"
            )
    return np.array([number[str(cell)] for cell in cells], np.int64)


def _classes(file: str, where: str, values: NDArray[Any], first_row: int) -> tuple[NDArray[np.int64], int]:
    """Whole numbers from 0 as classes, and how many there are."""
    bad = np.flatnonzero((values != np.floor(values)) | (values < 0))
    if len(bad):
        raise ConfigError(
            f"{file} has {values[bad[0]]:g} in row {bad[0] + first_row}{where}; expected a class, from 0",
            "if it is a number to be predicted, write dataset.kind=values",
        )
    classes = values.astype(np.int64)
    if classes.min() > 0 or classes.max() < 1:
        raise ConfigError(f"{file} holds the classes {classes.min()} to {classes.max()}{where}; expected 0, 1, …")
    return classes, int(classes.max()) + 1


def _arrays(file: Path, config: TableConfig) -> tuple[NDArray[np.float64], NDArray[Any], int]:
    """The arrays of a .npz file: `target`, and the only other one or x."""
    try:
        with np.load(file, allow_pickle=False) as opened:
            arrays = {name: opened[name] for name in opened.files if name not in config.ignore}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read as .npz: {error}") from error
    rest = [name for name in arrays if name != config.target]
    if config.target not in arrays or ("x" not in rest and len(rest) != 1):
        raise ConfigError(
            f"{file} holds {', '.join(arrays) or 'nothing'}; expected the target {config.target!r} and an array x"
        )
    x, y = arrays["x" if "x" in rest else rest[0]], arrays[config.target]
    if x.ndim < 2 or len(x) != len(y) or x.dtype.kind not in "biuf" or y.dtype.kind not in "biuf":
        raise ConfigError(
            f"{file} has x of {x.dtype} {list(x.shape)} and {config.target} of {y.dtype} {list(y.shape)}; "
            "expected numbers, as many rows in both"
        )
    x = x.astype(np.float64)
    for name, array in (("x", x), (config.target, y)):
        bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(1))
        if len(bad):
            raise ConfigError(f"{file} has NaN or infinity in row {bad[0]} of {name}; expected finite numbers")
    if config.kind == "values":
        return x, y.reshape(len(y), -1).astype(np.float64), y[0].size
    return x, *_classes(str(file), f" of {config.target}", y.reshape(len(y), -1)[:, 0], 0)

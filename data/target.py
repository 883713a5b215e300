"""A column of cells as numbers, or as classes numbered from 0. Knows no file format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thalweg.data.columns import Columns
from thalweg.data.number import number, numbers_of
from thalweg.data.pasted import pasted
from thalweg.data.schema import TableConfig
from thalweg.runner.base.errors import ConfigError

LABELS = 40
"""Words that a hint lists; a column of more is hardly one of classes."""
FEW_CLASSES = 20
"""So many are never doubted."""
MOST_CLASSES = 2**31
VALUES = "if they are numbers to be predicted: dataset.kind=values"


@dataclass(frozen=True)
class Column:
    """Where classes are, for refusals: file, column, and where a row is. labels: gives a hint that names them."""

    file: Path
    name: str
    place: Callable[[int], str]
    labels: Callable[[], str] = lambda: "number them from 0"


def numbers(columns: Columns, name: str, comma: bool, ignored: Sequence[str] | None = None) -> NDArray[np.float64]:
    """A column of finite numbers. Raises ConfigError naming the first row that has none.

    ignored: the columns that are left out already, where this one could be too.
    """
    found = np.array(numbers_of(columns.cells[name], comma), np.float64)  # None is NaN
    bad = np.flatnonzero(~np.isfinite(found))
    if len(bad):
        row, cell = int(bad[0]), columns.cells[name][bad[0]]
        raise ConfigError(
            f"{columns.file} has {_seen(cell)} in {columns.place(row)}, column {name!r}; expected a finite number",
            _mended(name, cell, comma, ignored),
        )
    return found


def target(columns: Columns, config: TableConfig) -> tuple[NDArray[Any], int]:
    """The column to predict, and how many outputs it needs."""
    cells, comma = columns.cells[config.target], config.decimal == "comma"
    if config.kind == "values":
        return numbers(columns, config.target, comma)[:, None], 1
    if config.labels:
        return _mapped(columns, config), len(config.labels)
    for row, value in enumerate(numbers_of(cells, comma)):
        if value is None:
            seen = f"{columns.file} has {_seen(cells[row])} in {columns.place(row)}, column {config.target!r}"
            raise ConfigError(f"{seen}; expected a class, from 0", _labels(cells))
    about = Column(columns.file, f", column {config.target!r}", columns.place, lambda: _labels(cells))
    return classes(about, numbers(columns, config.target, comma), config.classes)


def classes(about: Column, values: NDArray[Any], wanted: int | None) -> tuple[NDArray[np.int64], int]:
    """Whole numbers from 0 as classes, and how many there are: as many as are wanted, or as the largest says."""
    values = values.astype(np.float64)  # exact for all that may be a class
    bad = np.flatnonzero((values != np.floor(values)) | (values < 0) | (values >= MOST_CLASSES))
    if len(bad):
        seen = f"{about.file} has {values[bad[0]]:g} in {about.place(int(bad[0]))}{about.name}"
        raise ConfigError(f"{seen}; expected a class, from 0", f"{VALUES}; else {about.labels()}")
    least, most, different = int(values.min()), int(values.max()), len(np.unique(values))
    if wanted is not None and most >= wanted:
        raise ConfigError(f"{about.file} holds the class {most:,}{about.name}, but dataset.classes is {wanted:,}")
    if different < 2 or (least > 0 and wanted is None):
        seen = f"{about.file} holds the classes {least} to {most}{about.name}"
        raise ConfigError(f"{seen}; expected 0, 1, …", f"{VALUES}; else {about.labels()}" if different > 1 else None)
    outputs = wanted or most + 1
    if wanted is None and outputs > FEW_CLASSES and (outputs > 2 * different or len(values) < 2 * different):
        seen = f"{about.file} holds {different:,} different numbers up to {most:,}{about.name}, in {len(values):,} rows"
        hint = f"{VALUES}; if they are classes: dataset.classes={outputs}"
        raise ConfigError(f"{seen}; are these {outputs:,} classes?", hint)
    return values.astype(np.int64), outputs


def _mended(name: str, cell: Any, comma: bool, ignored: Sequence[str] | None) -> str:
    if isinstance(cell, str) and number(cell, comma) is None and number(cell, not comma) is not None:
        return f"if the sign before a fraction is another: dataset.decimal={'point' if comma else 'comma'}"
    if ignored is None:
        return "correct the row"
    return f"correct the row, or leave the column out: {pasted('dataset.ignore', [*ignored, name])}"


def _seen(cell: Any) -> str:
    return "nothing" if _missing(cell) else repr(cell)[:60]


def _missing(cell: Any) -> bool:
    """Whether a cell says nothing: an empty one, or what Parquet has for that."""
    return cell is None or cell == "" or cell != cell


def _labels(cells: Sequence[Any]) -> str:
    if any(_missing(cell) for cell in cells):
        return "correct or remove the rows that say nothing"
    words = sorted({str(cell) for cell in cells}, key=_numbers_first)
    if len(words) > LABELS:
        return f"the column holds {len(words):,} different words; write them in their order under dataset.labels"
    return f"say what the words mean: {pasted('dataset.labels', words)}"


def _numbers_first(word: str) -> tuple[bool, float, str]:
    value = number(word)
    return value is None, value or 0.0, word


def _mapped(columns: Columns, config: TableConfig) -> NDArray[np.int64]:
    numbered = {label: place for place, label in enumerate(config.labels)}
    if len(numbered) < len(config.labels):
        raise ConfigError(f"dataset.labels has {max(config.labels, key=config.labels.count)!r} twice", "write it once")
    cells = columns.cells[config.target]
    for row, cell in enumerate(cells):
        if str(cell) not in numbered or (_missing(cell) and cell != ""):
            seen = f"{columns.file} has {_seen(cell)} in {columns.place(row)}, column {config.target!r}"
            raise ConfigError(f"{seen}, which dataset.labels lacks", _labels(cells))
    return np.array([numbered[str(cell)] for cell in cells], np.int64)

"""Columns of cells, from delimited text or Parquet, which alone asks for pyarrow. Knows no meaning of a cell."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from thalweg.data.delimited import DELIMITERS, MalformedError, guessed, rows_of
from thalweg.data.files import read_bytes
from thalweg.data.number import number
from thalweg.data.schema import TableConfig
from thalweg.runner.base.errors import ConfigError, SetupError, first_line
from thalweg.runner.base.regular import open_regular

UNNAMED = re.compile(r"|Unnamed: \d+(\.\d+)*")
"""What the first columns of a CSV are called that hold a saved row index: nothing, or what pandas makes of that."""
SAVED = re.compile(r"Unnamed: 0(\.\d+)*")
"""What pandas calls such an index when it reads it back, wherever it was put since."""
LEVEL = re.compile(r"__index_level_\d+__")
"""What pandas calls an index without a name in Parquet."""
LISTED = 6
"""Names of columns that a refusal lists."""
OTHER_SIGN = "if another sign is between the cells, say so: dataset.delimiter=semicolon, or comma, tab, pipe, space"


@dataclass(frozen=True)
class Columns:
    """cells: name -> the cells of a column. index: columns that are a saved row index.

    lines: of each row, the line of the file; None where a file has none.
    """

    file: Path
    cells: Mapping[str, Sequence[Any]]
    index: tuple[str, ...]
    lines: Sequence[int] | None

    def place(self, row: int) -> str:
        """Where a row is, in words that follow "in"."""
        return f"line {self.lines[row]}" if self.lines else f"row {row}, counted from 0"

    def require(self, name: str, key: str) -> None:
        """Raise ConfigError if there is no column that `key` names."""
        if name not in self.cells:
            listed = ", ".join(list(self.cells)[:LISTED]) + (", …" if len(self.cells) > LISTED else "")
            hint = OTHER_SIGN if len(self.cells) == 1 and self.lines else None
            raise ConfigError(f"{key} names {name!r}, which is not a column of {self.file}; it has {listed}", hint)


def delimited(file: Path, config: TableConfig) -> Columns:
    """Return the columns of delimited text. Raises ConfigError, naming the line, for what is no table."""
    text = _text(file, config.encoding)
    tabs = "\t" if file.suffix.lower() == ".tsv" else ""
    try:
        rows = rows_of(text, DELIMITERS[config.delimiter] if config.delimiter else guessed(text, tabs))
    except MalformedError as error:
        raise ConfigError(f"{file} cannot be read as CSV, {error}", "correct the quotes of the row") from error
    if len(rows) < 2:
        raise ConfigError(f"{file} has {'a header and no rows' if rows else 'no lines'}; expected a header and rows")
    header, *rows = rows
    names = [name.strip() for name in header.cells]
    if all(number(name) is not None for name in names):
        raise ConfigError(f"{file} begins with numbers; expected the names of its columns in line {header.line}")
    _refuse_twice(file, names)
    for row in rows:
        if len(row.cells) != len(names):
            raise ConfigError(
                f"{file} has {len(row.cells)} cells in line {row.line}; expected {len(names)}",
                OTHER_SIGN,
            )
    cells = {name: [row.cells[column] for row in rows] for column, name in enumerate(names)}
    return Columns(file, cells, _index(names), [row.line for row in rows])


def parquet(file: Path, config: TableConfig) -> Columns:
    """Return the columns of a Parquet file. Raises ConfigError for what cannot be read or has no rows."""
    try:
        from pyarrow import parquet
    except ImportError:
        hint = "install pyarrow, or write the table as CSV"
        raise SetupError(f"reading {file} needs pyarrow, which is not installed", hint) from None
    try:
        with open_regular(file) as opened:
            table = parquet.read_table(opened)
            names, rows = list(table.column_names), table.num_rows
            index = _said(table.schema.metadata or {})
            cells = table.to_pydict()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read as Parquet: {error.strerror or first_line(error)}") from error
    except Exception as error:  # pyarrow has no root for what it raises, and its decoders raise Python's own, too
        raise ConfigError(f"{file} cannot be read as Parquet: {first_line(error)}") from error
    if not rows:
        raise ConfigError(f"{file} has no rows; expected some")
    _refuse_twice(file, names)
    return Columns(file, cells, _index(names, index), None)


def _index(names: Sequence[str], said: Sequence[Any] = ()) -> tuple[str, ...]:
    """The columns that are a saved row index, by their names or because a file says so."""
    first = tuple(takewhile(UNNAMED.fullmatch, names))
    return first + tuple(
        name for name in names[len(first) :] if name in said or SAVED.fullmatch(name) or LEVEL.fullmatch(name)
    )


def _said(metadata: Mapping[bytes, bytes]) -> Sequence[Any]:
    """What pandas wrote of a table's index; nothing where that cannot be read."""
    try:
        said = json.loads(metadata.get(b"pandas", b"{}"))["index_columns"]
    except (ValueError, KeyError, TypeError):
        return ()
    return said if isinstance(said, list) else ()


def _refuse_twice(file: Path, names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        raise ConfigError(f"{file} has two columns called {max(names, key=names.count)!r}", "rename one of them")


def _text(file: Path, encoding: str) -> str:
    raw = read_bytes(file)
    hint = "say how it is written, such as dataset.encoding=latin-1, cp1252 or utf-16"
    try:
        text = raw.decode(encoding).removeprefix("\ufeff")
    except LookupError:
        expected = "expected the name of a text encoding"
        raise ConfigError(f"dataset.encoding is {encoding!r}; {expected}", "such as utf-8, latin-1 or cp1252") from None
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{file} is not text in {encoding}: byte {raw[error.start]:#04x} in line {line}", hint
        ) from error
    except ValueError as error:
        raise ConfigError(f"{file} is not text in {encoding}: {first_line(error)}", hint) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ConfigError(f"{file} is not text in {encoding}: a NUL in line {line}", hint)
    return text

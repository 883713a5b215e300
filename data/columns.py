"""Columns of cells, from delimited text or Parquet, which alone asks for pyarrow. Knows no meaning of a cell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
LEVEL = re.compile(r"__index_level_\d+__")
"""What pandas calls an index without a name in Parquet."""


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


def delimited(file: Path, config: TableConfig) -> Columns:
    """Return the columns of delimited text. Raises ConfigError, naming the line, for what is no table."""
    text = _text(file, config.encoding)
    tabs = "\t" if file.suffix.lower() == ".tsv" else ""
    try:
        rows = rows_of(text, DELIMITERS[config.delimiter] if config.delimiter else guessed(text, tabs))
    except MalformedError as error:
        raise ConfigError(f"{file} cannot be read as CSV, {error}", "mend the quotes of the row") from error
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
                f"if another sign is between them: dataset.delimiter={'|'.join(DELIMITERS)}",
            )
    cells = {name: [row.cells[column] for row in rows] for column, name in enumerate(names)}
    return Columns(file, cells, _leading(names), [row.line for row in rows])


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
            said = (table.schema.pandas_metadata or {}).get("index_columns", [])
            cells = table.to_pydict()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read as Parquet: {error.strerror or first_line(error)}") from error
    except Exception as error:  # pyarrow has no root for what it raises, and its decoders raise Python's own, too
        raise ConfigError(f"{file} cannot be read as Parquet: {first_line(error)}") from error
    if not rows:
        raise ConfigError(f"{file} has no rows; expected some")
    _refuse_twice(file, names)
    index = {name for name in names if name in said or LEVEL.fullmatch(name)}
    return Columns(file, cells, tuple(dict.fromkeys((*_leading(names), *sorted(index)))), None)


def _leading(names: Sequence[str]) -> tuple[str, ...]:
    found = []
    for name in names:
        if not UNNAMED.fullmatch(name):
            break
        found.append(name)
    return tuple(found)


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
            f"{file} is no text in {encoding}: byte {raw[error.start]:#04x} in line {line}", hint
        ) from error
    except ValueError as error:
        raise ConfigError(f"{file} is no text in {encoding}: {first_line(error)}", hint) from error
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise ConfigError(f"{file} is no text in {encoding}: a NUL in line {line}", hint)
    return text

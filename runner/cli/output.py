"""Where verbs write: data to stdout, all else to stderr, JSON without NaN."""

from __future__ import annotations

import csv
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from thalweg.runner.base.errors import SetupError, UsageError
from thalweg.runner.facts.tidy import Columns
from thalweg.runner.terminal.text import clean, console

SCHEMA_VERSION = 1
FORMULA = ("=", "+", "-", "@")


def out() -> Console:
    """The console of data."""
    return console(sys.stdout)


def err() -> Console:
    """The console of everything that is not data."""
    return console(sys.stderr)


def say(text: str) -> None:
    """Print one line on stderr, harmless whatever it quotes.

    A terminal gets it folded between words, unless it holds what is to be copied and typed.
    """
    screen = err()
    typed = text.startswith("hint: ") or ": thalweg " in text
    screen.print(Text(clean(text)), soft_wrap=typed or not screen.is_terminal)


def emit_json(content: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout. What is not finite becomes null."""
    text = json.dumps({"schema_version": SCHEMA_VERSION, **_finite(content)}, indent=1, allow_nan=False)
    sys.stdout.write(f"{text}\n")


def write_csv(columns: Columns, to: TextIO | None = None) -> None:
    """Write a table as CSV, on stdout if not said: numbers with all their digits, nothing for what is missing.

    Texts are made inert: one that a spreadsheet would take for a formula has an apostrophe before it.
    """
    writer = csv.writer(to or sys.stdout, lineterminator="\n")
    writer.writerow([_inert(name) for name in columns])
    writer.writerows([_inert(value) for value in line] for line in zip(*columns.values(), strict=True))


def write_parquet(columns: Columns, file: Path) -> None:
    """Write a table to a Parquet file, whole or not at all. A column of numbers and texts is one of texts."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise SetupError("writing Parquet needs pyarrow, which is not installed", "install it, or use --csv") from None
    table = pyarrow.table({name: pyarrow.array(_of_one_kind(values)) for name, values in columns.items()})
    partial = file.with_name(f"{file.name}.partial")
    try:
        parquet.write_table(table, partial)
        os.replace(partial, file)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UsageError(f"{file} cannot be written: {error.strerror or error}", "name another file") from None


def _inert(value: object) -> object:
    if isinstance(value, float):
        return repr(value)
    if not isinstance(value, str):
        return value
    text = clean(value)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text


def _of_one_kind(values: Sequence[Any]) -> list[Any]:
    kinds = {"number" if isinstance(v, int | float) and not isinstance(v, bool) else type(v) for v in values}
    if len(kinds - {type(None)}) > 1:
        return [None if value is None else str(value) for value in values]
    wide = any(isinstance(value, float) for value in values)
    return [float(value) if wide and value is not None else value for value in values]


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_finite(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

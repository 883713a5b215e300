"""Delimited text as rows of cells, each with the line of the file on which it begins. Knows no meaning of a cell."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from itertools import islice

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "space": " "}
GUESSED = ",;\t"
LOOKED_AT = 20
"""Rows that a guess of the delimiter looks at."""
LOOKED_INTO = 2**20
"""Characters, at most, that it copies."""


class MalformedError(Exception):
    """What is wrong with delimited text, and the line where."""


@dataclass(frozen=True)
class Row:
    """line: of the file, from 1, on which the row begins."""

    line: int
    cells: tuple[str, ...]


def rows_of(text: str, delimiter: str) -> list[Row]:
    """Return the rows that are not blank. Raises MalformedError for quotes that do not close and cells beyond 131,072
    characters.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, line = [], 1
    try:
        for cells in reader:
            if cells and not (len(cells) == 1 and not cells[0].strip()):
                rows.append(Row(line, tuple(cells)))
            line = reader.line_num + 1
    except csv.Error as error:
        raise MalformedError(f"in line {line}: {error}") from error
    return rows


def guessed(text: str, first: str = "") -> str:
    """Return the delimiter by which the first rows have most cells, and equally many; or `first`, if it parts any."""
    text = text[:LOOKED_INTO]
    best = max(GUESSED.replace(first, "") if first else GUESSED, key=lambda each: _fit(text, each))
    return first if first and _fit(text, first)[1] > 1 else best


def _fit(text: str, delimiter: str) -> tuple[bool, int]:
    """Whether the first rows have equally many cells, more than one; and how many the header has."""
    counts, header = (_counts(text, delimiter, strict) for strict in (True, False))
    return len(set(counts)) == 1 and counts[0] > 1, header[0] if header else 0


def _counts(text: str, delimiter: str, strict: bool) -> list[int]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=strict)
    try:
        return [len(cells) for cells in islice((row for row in reader if row), LOOKED_AT)]
    except csv.Error:
        return []

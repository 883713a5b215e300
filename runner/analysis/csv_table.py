"""A user's own table as results: CSV text, read with one sentence for whatever is wrong with it. Opens no file."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg.data.delimited import MalformedError, Row, guessed, rows_of
from thalweg.data.number import number
from thalweg.runner.analysis.results import Floats, Results, Scale
from thalweg.runner.base.errors import UsageError
from thalweg.runner.show.numbers import count

DIVERGED = (
    *("", "nan", "+nan", "-nan", "na", "n/a", "none", "null", "diverged"),
    *("inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"),
)
"""What a loss may say, in any case, of a trial that diverged."""
NUMBERS = ("lr", "wd", "warmup", "loss", "initial", "spike")
TEXTS = ("seed", "panel", "curve")


@dataclass(frozen=True)
class Part:
    """The trials of one panel, and the curve each of them belongs to."""

    name: str
    results: Results
    curve: tuple[str, ...]


def read(text: str, columns: Mapping[str, str], *, classes: int | None, maximize: bool) -> list[Part]:
    """Return the panels of a table, in order of appearance. `columns` maps a role (lr, wd, loss, …) to its column.

    Roles: lr, loss and what the question needs (wd, or warmup); seed, without which trials of one cell are
    replicates; initial (loss before the first step), spike (largest loss over its control's); panel and curve, which
    tell grids and curves apart. Other columns are ignored. Raises UsageError naming line and column.
    """
    lines = _lines(text, columns)
    if not lines:
        raise UsageError("the table has no rows below its header", "write one line a trial")
    named: dict[str, list[_Line]] = {}
    for line in lines:
        named.setdefault(line.texts.get("panel", ""), []).append(line)
    return [Part(name, _results(of, classes, maximize), _curves(of)) for name, of in named.items()]


@dataclass(frozen=True)
class _Line:
    number: int  # of the file, where the row begins
    numbers: Mapping[str, float]
    texts: Mapping[str, str]


def _lines(text: str, columns: Mapping[str, str]) -> list[_Line]:
    text = text.removeprefix("\ufeff")
    try:
        rows = rows_of(text, guessed(text))
    except MalformedError as error:
        raise UsageError(f"the table cannot be read as CSV, {error}", "correct the quotes of the row") from None
    if not rows:
        raise UsageError("the table is empty", "its first line names the columns")
    header = [name.strip() for name in rows[0].cells]
    place = {role: _place(column, header) for role, column in columns.items()}
    return [_line(row, place, header) for row in rows[1:] if any(cell.strip() for cell in row.cells)]


def _place(column: str, header: Sequence[str]) -> int:
    if header.count(column) > 1:
        raise UsageError(f"the table has {header.count(column)} columns named {column!r}", "give each its own name")
    if column in header:
        return header.index(column)
    near = difflib.get_close_matches(column, header, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"it has: {', '.join(header[:12])}"
    raise UsageError(f"the table has no column {column!r}", hint)


def _line(row: Row, place: Mapping[str, int], header: Sequence[str]) -> _Line:
    if len(row.cells) != len(header):
        raise UsageError(f"line {row.line} has {len(row.cells)} cells; expected {len(header)}", "correct the row")
    cells = {role: row.cells[at].strip() for role, at in place.items()}
    numbers = {
        role: _number(cells[role], role, f"line {row.line}, column {header[place[role]]!r}")
        for role in NUMBERS
        if role in cells
    }
    return _Line(row.line, numbers, {role: cells[role] for role in TEXTS if role in cells})


def _number(cell: str, role: str, where: str) -> float:
    if role in ("loss", "initial", "spike") and cell.lower() in DIVERGED:
        return math.inf if role == "spike" and cell else math.nan
    asked = {"lr": "a learning rate above 0", "wd": "a weight decay of 0 or more", "warmup": "a number of steps"}.get(
        role, "a number"
    )
    if role == "loss":
        asked = "a number, or nan, inf or nothing where the trial diverged"
    value = number(cell)
    if value is None:
        raise UsageError(f"{where} holds {cell!r}; expected {asked}")
    least = {"lr": math.nextafter(0, 1), "wd": 0.0, "warmup": 0.0}.get(role, -math.inf)
    if role in ("lr", "wd", "warmup") and not (math.isfinite(value) and value >= least):
        raise UsageError(f"{where} holds {cell!r}; expected {asked}")
    return value


def _results(lines: Sequence[_Line], classes: int | None, maximize: bool) -> Results:
    columns: dict[str, Any] = {role: _column(lines, role) for role in NUMBERS if role in lines[0].numbers}
    loss = columns["loss"]
    signed = bool((loss[np.isfinite(loss)] <= 0).any())
    scale: Scale = "negated" if maximize else "linear" if signed else "log"
    return Results(
        **columns,
        seed=np.array(list(_seeds(lines)), np.int64),
        chance=math.log(classes) if classes and scale == "log" else None,
        scale=scale,
    )


def _column(lines: Sequence[_Line], role: str) -> Floats:
    return np.array([line.numbers[role] for line in lines])


def _seeds(lines: Sequence[_Line]) -> Iterator[int]:
    """Number seeds in order of appearance; without a column, the trials of a cell in theirs."""
    number: dict[str, int] = {}
    seen: dict[tuple[object, ...], int] = {}
    for line in lines:
        settings = tuple(line.numbers.get(role) for role in ("lr", "wd", "warmup"))
        place = (*settings, line.texts.get("curve"), line.texts.get("seed"))
        if "seed" in line.texts and place in seen:
            what = ", ".join(
                f"{role} {value:g}" for role, value in line.numbers.items() if role in ("lr", "wd", "warmup")
            )
            raise UsageError(
                f"lines {seen[place]} and {line.number} are the same trial: {what}, seed {line.texts['seed']}",
                "name the column that tells them apart with --panel COL",
            )
        if "seed" in line.texts:
            seen[place] = line.number
            yield number.setdefault(line.texts["seed"], len(number))
        else:
            seen[place] = seen.get(place, -1) + 1
            yield seen[place]


def _curves(lines: Sequence[_Line]) -> tuple[str, ...]:
    return tuple(line.texts.get("curve", count(len(lines), "trial")) for line in lines)

"""The map of a panel: rows by columns of cell means, the best of each row marked, and beside it the ridge.

Draws what thalweg.runner.cells.cells folded and thalweg.runner.analysis found; decides nothing about results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from thalweg.runner.analysis import Coupling
from thalweg.runner.base.canonical import Scalar
from thalweg.runner.cells.cells import Cell, Panel, ranked
from thalweg.runner.cells.health import Health
from thalweg.runner.show.numbers import figure, is_number, labels, leaf
from thalweg.runner.show.ramp import shade
from thalweg.runner.terminal.text import clean
from thalweg.runner.terminal.verdict import decay

ROOMIEST, ROOMY, WIDE, NARROW = 8, 7, 6, 5
"""Characters of a cell, the gap before it and the place for its mark included: 0.0644, 0.644, .644 or .64."""
MARGIN = 2
RIDGE = "best wd"
BEST, ROW_BEST, MISSING, PRUNED = "*", "•", "·", "⊣"
NOT_USED = {Health.GUESS: "–", Health.UNHEALTHY: "!"}
"""Marks of cells that have a mean and cannot be chosen."""
EMPTY = {Health.UNTRAINED: MISSING, Health.PRUNED: PRUNED}
"""Marks of cells that have none."""


@dataclass(frozen=True)
class _Layout:
    """How a map fits its width: characters of labels, of a cell and of the column of bests; columns in bands."""

    label: int
    cell: int
    best: int
    bands: tuple[tuple[Scalar, ...], ...]


def draw(panel: Panel, found: Coupling | None, width: int) -> list[Text]:
    """Return the lines of the map, none wider than `width`. The panel must have two numeric axes."""
    assert panel.x is not None
    assert panel.y is not None
    rows = {row.lr: row for row in found.rows} if found else {}
    bests = _bests(panel)
    layout = _layout(panel, found, width)
    named, heads = labels(panel.row_values), _heads(panel, layout)
    lines = []
    for number, band in enumerate(layout.bands):
        last = number == len(layout.bands) - 1
        lines += _header(panel, found, layout, [heads[x] for x in band], last)
        for y in panel.row_values:
            line = Text(f"{named[y]:>{layout.label}} ")
            for x in band:
                line.append_text(_cell(panel, panel.grid.get((y, x)), bests.get(y), layout.cell))
            if last and is_number(y):
                line.append(f"{decay(rows.get(float(y))):>{layout.best + MARGIN}}".rstrip())
            lines.append(line)
    return [*lines, *legend(panel, found, width)]


def legend(panel: Panel, found: Coupling | None, width: int) -> list[Text]:
    """Return the meaning of the marks that are used, as lines no wider than `width`."""
    cells = panel.cells
    said = [f"{BEST} best", f"{ROW_BEST} best of its row"] if panel.best else []
    if any(cell.diverged == len(cell.rows) for cell in cells):
        said.append("div diverged")
    if any(0 < cell.diverged < len(cell.rows) for cell in cells):
        said.append("(div) some seeds diverged")
    said += [f"{mark} {health}, not used" for health, mark in NOT_USED.items() if health in {c.health for c in cells}]
    ends = {cell.health for cell in cells}
    said += [f"{mark} {health}" for health, mark in EMPTY.items() if health in ends]
    if found and any(row.side for row in found.rows):
        said.append("< > a bound, not an estimate")
    if found and any(row.wd and not row.kept and not row.side for row in found.rows):
        said.append("? does not count")
    lines, line = [], ""
    for part in said:
        if line and len(line) + len(part) + 3 > width:
            lines.append(line)
            line = ""
        line = f"{line}   {part}" if line else part
    return [Text(text, "dim") for text in (*lines, line) if text]


def _layout(panel: Panel, found: Coupling | None, width: int) -> _Layout:
    columns = panel.column_values
    label = max(len(text) for text in (*labels(panel.row_values).values(), clean(leaf(panel.y or ""))))
    best = max([len(RIDGE), *(len(decay(row)) for row in found.rows)]) if found else 0
    room = width - label - 1 - (best + MARGIN if found else 0)
    small = any(cell.mean is not None and 1e-3 <= abs(cell.mean) < 0.1 for cell in panel.cells)
    sizes = (ROOMIEST, ROOMY, WIDE) if small else (ROOMY, WIDE)
    cell = next((wide for wide in sizes if room >= wide * len(columns)), NARROW)
    many = max(1, room // cell)
    bands = tuple(tuple(columns[i : i + many]) for i in range(0, len(columns), many))
    return _Layout(label, cell, best, bands)


def _heads(panel: Panel, layout: _Layout) -> dict[Scalar, str]:
    """What stands above each column."""
    named = labels(panel.column_values, fractions=False, width=layout.cell - 1)
    if any(text.startswith(".") for text in named.values()):
        named = {x: text.removeprefix("0") or text for x, text in named.items()}
    return {x: figure(x, 1) if len(text) >= layout.cell and is_number(x) else text for x, text in named.items()}


def _header(panel: Panel, found: Coupling | None, layout: _Layout, heads: Sequence[str], last: bool) -> list[Text]:
    top = Text(" " * (layout.label + 1) + f" {clean(leaf(panel.x or ''))}", "dim")
    line = Text(f"{clean(leaf(panel.y or '')):>{layout.label}} ", "dim")
    for head in heads:
        line.append(f"{head:>{layout.cell - 1}} ", "bold")
    if last and found:
        line.append(f"{RIDGE:>{layout.best + MARGIN}}", "dim")
    return [top, line]


def _bests(panel: Panel) -> dict[Scalar, Cell]:
    """The best usable cell of each row."""
    rows: dict[Scalar, list[Cell]] = {}
    for (y, _), cell in panel.grid.items():
        rows.setdefault(y, []).append(cell)
    return {y: best[0] for y, cells in rows.items() if (best := ranked(cells))}


def _cell(panel: Panel, cell: Cell | None, of_row: Cell | None, width: int) -> Text:
    text, mark, style = _content(panel, cell, width - 2)
    if cell is not None and cell is panel.best:
        mark, style = BEST, f"bold underline {style}"
    elif cell is not None and cell is of_row:
        mark, style = ROW_BEST, f"bold {style}"
    if len(text) < width - 1 or mark:
        text = f"{text:>{width - 2}}{mark or ' '}"
    return Text(f" {text}" if mark in (BEST, ROW_BEST, *NOT_USED.values()) or len(text) < width else text, style)


def _content(panel: Panel, cell: Cell | None, width: int) -> tuple[str, str, str]:
    """The text of a cell in at most `width` characters (one more for "(div)"), its mark and its style."""
    if cell is None:
        return "", "", ""
    if cell.diverged:
        whole = cell.diverged == len(cell.rows)
        return ("div" if whole else "(div)" if width > 3 else "(d)"), "", "dim"
    if cell.mean is None:
        return ("fail" if width > 3 else "err") if cell.failed else EMPTY.get(cell.health, MISSING), "", "dim"
    text = figure(cell.mean, 3 if width > 3 else 2, width)
    if not cell.usable:
        return text, NOT_USED.get(cell.health, ""), "dim"
    assert panel.scores is not None  # of this cell, at least
    return text, "", shade(cell.score, *panel.scores)

"""Text made fit for a terminal: consoles and tables, with users' strings as `thalweg.runner.show.inert` leaves them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style
from rich.table import Table
from rich.text import Text

from thalweg.runner.show.inert import clean as clean
from thalweg.runner.show.inert import clean_lines as clean_lines

NARROWEST = 40
MANY = 200
"""A table of more rows is laid out here, if it fits: rich takes .5 ms a row."""


def console(stream: IO[str]) -> Console:
    """A console on `stream` that takes strings as they are: no markup, emoji codes or guessed highlights."""
    made = Console(file=stream, markup=False, emoji=False, highlight=False)
    if made.width < NARROWEST:
        made.width = NARROWEST
    return made


def table(*columns: str, right: frozenset[str] | set[str] = frozenset(), title: str | None = None) -> Table:
    """A table without lines that folds what is too wide rather than cutting it off."""
    made = Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold", title=title and Text(clean(title), "bold")
    )
    made.title_justify = "left"
    for column in columns:
        made.add_column(Text(clean(column)), justify="right" if column in right else "left", overflow="fold")
    return made


def row(made: Table, *values: object, style: str | None = None) -> None:
    """Add a row of cleaned values; None is shown as a dash."""
    made.add_row(*(v if isinstance(v, Text) else Text("—" if v is None else clean(v)) for v in values), style=style)


def listing(heads: Sequence[str], right: set[str], rows: Sequence[Sequence[object]], width: int) -> Table | Segments:
    """Return rows under their heads: a table; or where they are many and fit into `width`, its lines."""
    texts = [["—" if value is None else clean(value) for value in values] for values in rows]
    heads = [clean(head) for head in heads]
    widths = [max(map(cell_len, column)) for column in zip(heads, *texts, strict=True)]
    if len(rows) <= MANY or sum(widths) + 2 * len(widths) > width:
        made = table(*heads, right=right)
        for values in texts:
            row(made, *values)
        return made
    pads = [(wide, head in right) for head, wide in zip(heads, widths, strict=True)]
    bold, lines = Style(bold=True), [heads, *texts]
    return Segments(
        Segment(f"{'  '.join(map(_padded, values, pads)).rstrip()}\n", None if number else bold)
        for number, values in enumerate(lines)
    )


def _padded(text: str, pad: tuple[int, bool]) -> str:
    space = " " * (pad[0] - cell_len(text))
    return f"{space}{text}" if pad[1] else f"{text}{space}"

"""Text made fit for a terminal: consoles and tables, with users' strings as `thalweg.runner.show.inert` leaves them."""

from __future__ import annotations

from typing import IO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from thalweg.runner.show.inert import clean as clean
from thalweg.runner.show.inert import clean_lines as clean_lines

NARROWEST = 40


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

"""Text made fit for a terminal: consoles and tables, with users' strings as `thalweg.runner.show.inert` leaves them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import IO

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment, Segments
from rich.style import Style
from rich.table import Table
from rich.text import Text

from thalweg.runner.show.inert import clean as clean
from thalweg.runner.show.inert import clean_lines as clean_lines

NARROWEST = 40
GAP = 2
MANY = 200
"""A table of more rows is laid out here, if it fits: rich takes 0.5 ms a row."""


def console(stream: IO[str]) -> Console:
    """A console on `stream` that takes strings as they are: no markup, emoji codes or guessed highlights."""
    made = Console(file=stream, markup=False, emoji=False, highlight=False)
    if made.width < NARROWEST:
        made.width = NARROWEST
    return made


def longest_word(texts: Iterable[str]) -> int:
    """The width below which a column of these texts would be broken within a word."""
    return max(cell_len(word) for text in texts for word in text.split() or [""])


class _Table(Table):
    """A table that gives each column room for its longest word before it gives any column more.

    rich narrows the widest columns alike, in the middle of words where they are many. Where there is no room for that,
    heads are broken before what stands below them: half of a number is another number.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = self._widths(options.max_width)
        for column, width in zip(self.columns, widths, strict=True):
            column.width = width
        yield from super().__rich_console__(console, options)

    def _widths(self, room: int) -> list[int | None]:
        """The width of each column; None, as rich has it, where all is well or nothing helps."""
        texts = [[str(column.header), *map(str, column.cells)] for column in self.columns]
        most = [max(map(cell_len, each)) for each in texts]
        least = [
            whole if column.no_wrap else longest_word(each)
            for column, whole, each in zip(self.columns, most, texts, strict=True)
        ]
        if sum(least) + len(least) > room:
            least = [
                whole if column.no_wrap else longest_word(each[1:])
                for column, whole, each in zip(self.columns, most, texts, strict=True)
            ]
        if sum(least) + GAP * len(least) > room >= sum(least) + len(least):
            self.padding = (0, 1, 0, 0)
        room -= self.padding[1] * len(most)
        if sum(most) <= room or sum(least) > room:
            return [None] * len(most)
        while sum(most) > room:
            widest = max((i for i in range(len(most)) if most[i] > least[i]), key=lambda i: most[i])
            most[widest] -= 1
        return list(most)


def table(*columns: str, right: frozenset[str] | set[str] = frozenset(), title: str | None = None) -> Table:
    """A table without lines that folds what is too wide between words, and cuts nothing off."""
    made = _Table(
        box=None,
        pad_edge=False,
        padding=(0, GAP, 0, 0),
        header_style="bold",
        title=title and Text(clean(title), "bold"),
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

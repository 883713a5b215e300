"""One axis of many as pictures have it: where each of its values lies, numbers or names, and its ticks. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from thalweg.runner.base.canonical import Scalar
from thalweg.runner.cells.cells import Cell
from thalweg.runner.cells.costs import ordered
from thalweg.runner.report.chart import apart
from thalweg.runner.report.ruler import Ruler, numbers
from thalweg.runner.report.titles import named_values
from thalweg.runner.show.numbers import is_number

MANY = 14
"""Of more values than this only round ones are named."""
LONGEST = 14
"""Characters of a name on an axis; the rest is left to the title of what it names."""


@dataclass(frozen=True)
class Axis:
    """The values of one key over some cells, in order, and the pixel and name of each."""

    key: str
    values: tuple[Scalar, ...]
    names: tuple[str, ...]
    places: tuple[float, ...]
    ruler: Ruler

    @classmethod
    def of(cls, key: str, cells: Iterable[Cell], start: float, end: float, *, even: bool = False) -> Axis:
        """Lay the values out from one pixel to another: numbers by a ruler, names at equal distances.

        even: so few numbers as can all be named lie at equal distances too.
        """
        values = tuple(ordered(cell.axes[key] for cell in cells if key in cell.axes))
        named = named_values(key, values)
        names = tuple(_cut(named[value]) for value in values)
        if (even and len(values) <= MANY) or not all(map(is_number, values)):
            ruler = Ruler(range(len(values)), start, end, names=names)
            return cls(key, values, names, tuple(ruler.at(i) for i in range(len(values))), ruler)
        ruler = Ruler(numbers(values), start, end)
        return cls(key, values, names, tuple(ruler.at(value) for value in numbers(values)), ruler)

    def number(self, cell: Cell) -> int | None:
        """Which of the values a cell has."""
        return self.values.index(cell.axes[self.key]) if self.key in cell.axes else None

    @property
    def room(self) -> float:
        """The least distance between two values."""
        return min((abs(b - a) for a, b in zip(self.places, self.places[1:], strict=False)), default=40.0)

    def ticks(self, *, upright: bool) -> list[tuple[float, str, int | None]]:
        """Return (pixel, label, which value) of those values that are named; None where the tick is a round number."""
        if len(self.values) > MANY and all(map(is_number, self.values)):
            return [(at, label, None) for at, label in apart(self.ruler.ticks(), upright=upright)]
        known = [*zip(self.places, self.names, strict=True)]
        kept = apart(known, upright=upright)
        return [(at, label, known.index((at, label))) for at, label in kept]


def _cut(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"

"""The frame every picture shares: its two rulers with ticks, titles and grid lines, and the colours of scores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Literal

from thalweg.runner.cells.cells import Cell
from thalweg.runner.report.markup import Markup, join, px, tag
from thalweg.runner.report.ruler import Ruler
from thalweg.runner.show.ramp import Colour, code, colour, share

LEFT, RIGHT, TOP, BOTTOM = 52.0, 8.0, 16.0, 36.0
CHARACTER, LINE = 6.4, 12.0
"""Pixels of a label: across, each of its characters; upward, its height."""
REACH = 0.6
"""Losses up to e^.6 = 1.8 times the best have colours of their own, or up to the median of the cells that trained
where that is more; all beyond share the darkest."""


@dataclass(frozen=True)
class Scores:
    """The range of scores of a panel's usable cells (lower is better), from best to the worst that is told apart."""

    best: float
    worst: float

    @classmethod
    def of(cls, cells: Iterable[Cell], reach: float = REACH) -> Scores | None:
        """Return the range of the usable ones among `cells`, a loss only so far up; None if there is none."""
        usable = [cell for cell in cells if cell.usable]
        scores = [cell.score for cell in usable]
        if not scores:
            return None
        best, worst = min(scores), max(scores)
        if not usable[0].by_factors:
            return cls(best, worst)
        return cls(best, min(worst, max(best + reach, median(scores))))

    def colour(self, score: float) -> Colour:
        """Return the colour of a score; the square root spends half of the ramp on the best quarter."""
        return colour(1 - (1 - share(score, self.best, self.worst)) ** 0.5)

    def fill(self, score: float) -> str:
        """Return the colour of a score as #rrggbb."""
        return code(self.colour(score))


@dataclass(frozen=True)
class Frame:
    """A plotting area with its rulers."""

    x: Ruler
    y: Ruler
    width: float
    height: float

    def draw(self, x_title: object, y_title: object, *, x_fractions: bool = True, y_fractions: bool = True) -> Markup:
        """Return axes, grid lines, ticks and titles."""
        left, right = self.x.base, self.x.end
        top, bottom = self.y.end, self.y.base
        x_ticks = apart(self.x.ticks(fractions=x_fractions))
        y_ticks = apart(self.y.ticks(fractions=y_fractions), upright=True)
        grid = "".join(f"M{px(left)} {px(at)}H{px(right)}" for at, _ in y_ticks)
        grid += "".join(f"M{px(at)} {px(top)}V{px(bottom)}" for at, _ in x_ticks)
        middle = (top + bottom) / 2
        return join(
            tag("path", class_="grid", d=grid),
            *(tag("text", label, x=at, y=bottom + 14, class_="tick mid") for at, label in x_ticks),
            *(tag("text", label, x=left - 5, y=at + 3.5, class_="tick end") for at, label in y_ticks),
            tag("text", x_title, x=(left + right) / 2, y=bottom + 29, class_="title mid"),
            tag("text", y_title, class_="title mid", transform=f"translate(11 {px(middle)})rotate(-90)"),
        )


def apart(ticks: Iterable[tuple[float, str]], *, upright: bool = False) -> list[tuple[float, str]]:
    """Return the ticks whose labels do not run into that of a tick before. upright: they stand above each other."""
    kept: list[tuple[float, str]] = []
    for at, label in ticks:
        last, before = kept[-1] if kept else (-math.inf, "")
        room = LINE if upright else CHARACTER * (len(label) + len(before) + 2) / 2
        if abs(at - last) >= room:
            kept.append((at, label))
    return kept


def svg(width: float, height: float, *children: object, label: str, class_: str = "") -> Markup:
    """Return a picture that scales with its column and is named for those who do not see it."""
    shape = {"viewBox": f"0 0 {px(width)} {px(height)}", "class_": f"picture {class_}".strip()}
    role: Literal["group", "img"] = "group" if class_ else "img"
    return tag("svg", *children, role=role, aria_label=label, **shape)


def path(points: Sequence[tuple[float, float]]) -> str:
    """Return the path through points."""
    return "M" + "L".join(f"{px(x)} {px(y)}" for x, y in points) if points else ""


def dots(points: Iterable[tuple[float, float]]) -> str:
    """Return a path of points that a round line cap makes visible: a dozen bytes a dot."""
    return "".join(f"M{px(x)} {px(y)}h0" for x, y in points)


def cross(x: float, y: float, size: float) -> str:
    """Return the path of a cross."""
    return (
        f"M{px(x - size)} {px(y - size)}l{px(2 * size)} {px(2 * size)}m0 {px(-2 * size)}l{px(-2 * size)} {px(2 * size)}"
    )


def runs(points: Sequence[tuple[float, float] | None]) -> list[list[tuple[float, float]]]:
    """Cut a line where a point is missing."""
    found: list[list[tuple[float, float]]] = [[]]
    for before, here in pairwise([None, *points]):
        if here is None:
            continue
        if before is None and found[-1]:
            found.append([])
        found[-1].append(here)
    return [run for run in found if run]


def legend(names: Sequence[str], right: float) -> list[Markup]:
    """The name of each line with a piece of it, in a row that ends at `right`, above the picture's area."""
    drawn = []
    for number, name in reversed(list(enumerate(names))):
        start = right - CHARACTER * len(name)
        drawn.append(tag("text", name, x=start, y=11.0, class_="tick strong"))
        drawn.append(tag("g", tag("path", class_="bold", d=f"M{px(start - 28)} 7.5h22"), class_=f"line{number}"))
        right = start - 40
    return drawn


def named_ends(ends: Sequence[tuple[tuple[float, float], str]], right: float) -> list[Markup]:
    """The name of each line at its last point, moved down where another name stands."""
    placed, below = [], -math.inf
    for (at, height), name in sorted(ends, key=lambda end: end[0][1]):
        below = max(height - 6, below + 12)
        placed.append(tag("text", name, x=min(at, right), y=below, class_="tick end strong halo-text"))
    return placed

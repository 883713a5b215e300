"""One axis alone: the result at each of its values, all others chosen anew, and all others as in the best cell.

Dots are cells, at the edge where they lie beyond it; a cross counts those that cannot be chosen. Both lines carry 95%
intervals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from thalweg.runner.cells.cells import Cell, near_optimal, ranked
from thalweg.runner.cells.costs import Space, groups
from thalweg.runner.report.axes import Axis
from thalweg.runner.report.chart import LEFT, Frame, cross, dots, path, svg
from thalweg.runner.report.markup import Markup, join, px, tag
from thalweg.runner.report.slices import Measure
from thalweg.runner.report.titles import metric_title, short_title, title
from thalweg.runner.study.study import Study

WIDTH, HEIGHT = 400.0, 270.0
TOP, BOTTOM = 22.0, HEIGHT - 36


def draw_alone(space: Space, key: str, study: Study, numbered: Mapping[int, int]) -> Markup:
    """Return the picture of one axis. Some cell of the space must be usable."""
    near = near_optimal(space.cells)
    assert near is not None
    axis = Axis.of(key, space.cells, LEFT, WIDTH - 12)
    bests = [cell for each in groups(space.cells, key) for cell in ranked(each)[:1]]
    y = Measure(space.cells, TOP, BOTTOM, math.log(10), drawn=bests)
    tuned = [(_place(axis, cell), cell) for cell in bests]
    beside = [cell for cell in space.cells if cell.usable and _beside(cell, near.best, key, space)]
    fixed = sorted(((_place(axis, cell), cell) for cell in beside), key=lambda pair: pair[0])
    return svg(
        WIDTH,
        HEIGHT,
        _frame(axis, y, study),
        _lost(axis, space.cells),
        tag("g", *(_dot(cell, axis, y, numbered[id(cell)]) for cell in space.cells if cell.usable), class_="all"),
        _measured(fixed, y, "line1") if len(fixed) > 1 else "",
        _measured(tuned, y, "line0"),
        label=f"{metric_title(study.metric)} along {short_title(key)}, with 95% intervals; {space.name}",
        class_="alone",
    )


def _place(axis: Axis, cell: Cell) -> float:
    return axis.places[axis.number(cell) or 0]


def _beside(cell: Cell, best: Cell, key: str, space: Space) -> bool:
    return all(cell.axes.get(other) == best.axes.get(other) for other in space.axes if other != key)


def _frame(axis: Axis, y: Measure, study: Study) -> Markup:
    titled = title(axis.key), metric_title(study.metric)
    return Frame(axis.ruler, y.ruler, WIDTH, HEIGHT).draw(*titled, x_fractions=not axis.key.endswith("weight_decay"))


def _dot(cell: Cell, axis: Axis, y: Measure, number: int) -> Markup:
    i = axis.number(cell)
    if i is None or cell.mean is None:
        return Markup("")
    return tag("circle", cx=axis.places[i], cy=y.at(cell.mean), r=2.6, data_c=number)


def _lost(axis: Axis, cells: Sequence[Cell]) -> Markup:
    """How many cells of each value cannot be chosen: a cross above it with their number."""
    lost = [0] * len(axis.values)
    for cell in cells:
        if not cell.usable and any(row.has_ended for row in cell.rows) and (i := axis.number(cell)) is not None:
            lost[i] += 1
    at = [(place, number) for place, number in zip(axis.places, lost, strict=True) if number]
    if not at:
        return Markup("")
    room = axis.room > 22
    return join(
        tag("path", class_="glyph", d="".join(cross(x - (5 if room else 0), TOP - 10, 3.2) for x, _ in at)),
        *(tag("text", str(number), x=x + 2, y=TOP - 6.5, class_="tick") for x, number in at if room),
    )


def _measured(line: Sequence[tuple[float, Cell]], y: Measure, class_: str) -> Markup:
    shift = 2.0 if class_ == "line1" else 0.0
    shown = [(x + shift, cell, cell.mean) for x, cell in line if cell.mean is not None and y.inside(cell.mean)]
    points = [(x, y.at(mean)) for x, _, mean in shown]
    ends = [(x, *cell.interval) for x, cell, _ in shown if cell.interval]
    bars = "".join(f"M{px(x)} {px(y.at(low))}V{px(y.at(high))}" for x, low, high in ends)
    return tag(
        "g",
        tag("path", class_="bars", d=bars),
        tag("path", class_="bold", d=path(points)),
        tag("path", class_="dots", d=dots(points)),
        class_=f"measured {class_}",
    )

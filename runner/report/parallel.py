"""Parallel coordinates: every cell of a grid of three and more axes as a line through its values to its result.

At a value that many cells share their lines lie side by side, the better the higher, so that each bundle shows how good
that value can be. Lines are cells over their seeds, not single trials, and the best one has its interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from thalweg.runner.cells.cells import Cell, near_optimal, ranked
from thalweg.runner.cells.costs import Space
from thalweg.runner.cells.health import Health
from thalweg.runner.report.axes import Axis
from thalweg.runner.report.chart import apart, svg
from thalweg.runner.report.markup import Markup, px, tag
from thalweg.runner.report.ruler import Ruler
from thalweg.runner.report.titles import metric_title, short_title
from thalweg.runner.study.study import Study

WIDTH, HEIGHT = 820.0, 400.0
TOP, BOTTOM, LEFT, RIGHT = 46.0, HEIGHT - 46, 74.0, WIDTH - 74
NONE = HEIGHT - 20
"""Where lines end that have no result."""
SPREAD = 18.0
"""Pixels that the lines of one value may take."""
MOST = 1500
"""So many lines are drawn, the best ones and those without a result."""


def draw_parallel(space: Space, study: Study, numbered: Mapping[int, int]) -> Markup:
    """Return the picture. `numbered` gives a cell's number by its id()."""
    cells = _drawn(space.cells)
    axes = [Axis.of(key, space.cells, BOTTOM, TOP, even=True) for key in space.axes]
    across = [LEFT + (RIGHT - LEFT) * i / len(axes) for i in range(len(axes) + 1)]
    result = _result(cells, study)
    heights = [_side_by_side(axis, cells) for axis in axes]
    near = near_optimal(space.cells)
    good = {id(cell) for cell in near.cells} if near else set()
    best = near.best if near else None
    lines = [
        _line(cell, numbered[id(cell)], [*zip(across, (h.get(id(cell)) for h in heights), strict=False)], axes, result)
        for cell in cells
    ]
    styled = [
        tag(
            "path",
            d=path,
            class_=_style(cell, good, best),
            data_c=number,
            data_v=",".join("" if v is None else str(v) for v in values),
        )
        for cell, (path, number, values) in zip(cells, lines, strict=True)
    ]
    return svg(
        WIDTH,
        HEIGHT,
        tag("g", *styled, class_="lines"),
        *(_axis(axis, at, i) for i, (axis, at) in enumerate(zip(axes, across, strict=False))),
        _results(result, study, any(not _has_result(cell) for cell in cells)),
        _interval(best, result) if best else "",
        label=f"Parallel coordinates: {', '.join(short_title(key) for key in space.axes)} and "
        f"{metric_title(study.metric)}; each line is a cell",
        class_="parallel",
    )


def _drawn(cells: Sequence[Cell]) -> list[Cell]:
    """Those to draw, the best last, on top."""
    usable = ranked(cells)
    guesses = [cell for cell in cells if not cell.usable and cell.mean is not None]
    others = [cell for cell in cells if cell.mean is None and (cell.diverged or cell.failed)]
    return [*others, *guesses, *reversed(usable)][-MOST:]


def _has_result(cell: Cell) -> bool:
    return cell.mean is not None and cell.health is not Health.UNHEALTHY


def _result(cells: Sequence[Cell], study: Study) -> Ruler:
    """The axis of results, the best end on top."""
    values = [cell.mean for cell in cells if _has_result(cell) and cell.mean is not None] or [0.0, 1.0]
    ends = (TOP, BOTTOM) if study.direction == "min" else (BOTTOM, TOP)
    return Ruler(values, *ends, pad=0, round_ticks=True)


def _side_by_side(axis: Axis, cells: Sequence[Cell]) -> dict[int, float]:
    """id of a cell -> its height on an axis: cells of one value share its room, the best on top."""
    together: dict[int, list[Cell]] = {}
    for cell in cells:  # the best last
        if (number := axis.number(cell)) is not None:
            together.setdefault(number, []).append(cell)
    room, heights = min(SPREAD, axis.room * 0.7), {}
    for number, members in together.items():
        step = room / max(len(members) - 1, 1) if len(members) > 1 else 0.0
        for rank, cell in enumerate(members):
            heights[id(cell)] = axis.places[number] + (room / 2 if len(members) > 1 else 0.0) - step * rank
    return heights


def _line(
    cell: Cell, number: int, points: Sequence[tuple[float, float | None]], axes: Sequence[Axis], result: Ruler
) -> tuple[str, int, list[int | None]]:
    """The path of a cell, its number, and which value of each axis it has."""
    ends = result.at(cell.mean) if _has_result(cell) and cell.mean is not None else NONE
    known = [(x, y) for x, y in [*points, (RIGHT, ends)] if y is not None]
    path = f"M{px(known[0][0])} {px(known[0][1])}"
    for (x, y), (to, height) in pairwise(known):
        bend = (to - x) * 0.4
        path += f"C{px(x + bend)} {px(y)} {px(to - bend)} {px(height)} {px(to)} {px(height)}"
    return path, number, [axis.number(cell) for axis in axes]


def _style(cell: Cell, good: set[int], best: Cell | None) -> str:
    if cell is best:
        return "good first"
    if id(cell) in good:
        return "good"
    return "other" if cell.usable else "none"


def _axis(axis: Axis, at: float, number: int) -> Markup:
    """An axis with its values, each a button that leaves only the cells that have it."""
    drawn = [
        tag("path", class_="spine", d=f"M{px(at)} {px(TOP - 6)}V{px(BOTTOM + 6)}"),
        tag("text", short_title(axis.key), x=at, y=TOP - 28, class_="title mid strong"),
    ]
    for height, label, value in axis.ticks(upright=True):
        place: dict[str, object] = {"x": at - 8, "y": height + 3.5}
        if value is None:
            drawn.append(tag("text", label, class_="tick end halo-text", **place))
            continue
        button = {"role": "button", "tabindex": 0, "aria_pressed": "false", "data_f": f"{number},{value}"}
        said = f"only {short_title(axis.key)} {label}"
        drawn.append(tag("text", label, class_="tick end halo-text choice", aria_label=said, **button, **place))
    return tag("g", *drawn)


def _results(result: Ruler, study: Study, some_without: bool) -> Markup:
    """The axis of results, at the right; which end is better is said."""
    better = "lower is better" if study.direction == "min" else "higher is better"
    ticks = apart(result.ticks(), upright=True)
    return tag(
        "g",
        tag("path", class_="spine", d=f"M{px(RIGHT)} {px(TOP - 6)}V{px(BOTTOM + 6)}"),
        tag("text", metric_title(study.metric), x=RIGHT, y=TOP - 28, class_="title mid strong"),
        tag("text", better, x=RIGHT, y=TOP - 14, class_="tick mid"),
        *(tag("text", label, x=RIGHT + 8, y=at + 3.5, class_="tick") for at, label in ticks),
        *([tag("text", "× no result", x=RIGHT + 8, y=NONE + 3.5, class_="tick")] if some_without else []),
    )


def _interval(best: Cell, result: Ruler) -> Markup:
    """The best cell's result with its interval."""
    if best.mean is None:
        return Markup("")
    low, high = best.interval or (best.mean, best.mean)
    ends = sorted(min(max(result.at(value), TOP - 6), BOTTOM + 6) for value in (low, high))
    return tag(
        "g",
        tag("path", class_="bars wide", d=f"M{px(RIGHT)} {px(ends[0])}V{px(ends[1])}"),
        tag("circle", class_="point", cx=RIGHT, cy=result.at(best.mean), r=4.0),
    )

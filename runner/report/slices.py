"""Cuts through a panel: the metric along each of its axes, and against a product of both (the collapse).

Lines carry 95% t-intervals over the replicates; one cell is a point of its line only where no replicate diverged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from thalweg.runner.base.canonical import Scalar
from thalweg.runner.cells.cells import Cell, Panel
from thalweg.runner.facts.observation import GUESS
from thalweg.runner.report.chart import LEFT, REACH, Frame, Scores, apart, cross, dots, named_ends, path, runs, svg
from thalweg.runner.report.markup import Markup, join, px, tag
from thalweg.runner.report.ruler import Ruler, numbers
from thalweg.runner.report.titles import Positions, decay_key, metric_title, named_values, result, short_title, title
from thalweg.runner.show.numbers import figure
from thalweg.runner.show.ramp import code, colour
from thalweg.runner.study.study import Study

WIDTH, HEIGHT = 400.0, 350.0
LOW = 240.0
MOST = 40
"""So many cells are listed one by one."""
COLLAPSES = ((-1, "lr·wd"), (0, "wd alone"), (1, "wd/lr"))
Point = tuple[float, float]


class Measure:
    """The vertical axis of a panel's cuts: the metric, logarithmic for a loss, clipped where colours end."""

    def __init__(
        self, cells: Iterable[Cell], top: float, bottom: float, reach: float = REACH, *, drawn: Iterable[Cell] = ()
    ) -> None:
        """drawn: cells whose intervals are drawn, and are shown as far as they are better than the best cell."""
        usable = [cell for cell in cells if cell.usable]
        scores = Scores.of(usable, reach)
        assert scores is not None
        self.sign = 1.0 if usable[0].direction == "min" else -1.0
        self.loss = usable[0].by_factors
        ends = sorted(self._value(score) for score in (scores.best, scores.worst))
        room = (ends[1] - ends[0]) * 0.06 or abs(ends[0]) * 0.05 or 0.5
        self.low, self.high = ends[0] - room, ends[1] + room
        if self.loss:
            self.low = max(self.low, ends[0] * 0.9)
        self._hold([end for cell in drawn if cell.usable and self._seen(cell) for end in cell.interval or ()], ends)
        self.ruler = Ruler((self.low, self.high), bottom, top, pad=0, round_ticks=True)

    def _seen(self, cell: Cell) -> bool:
        return cell.mean is not None and self.inside(cell.mean)

    def _hold(self, intervals: Sequence[float], ends: Sequence[float]) -> None:
        """Show these ends of intervals on the better side, unless far off; what is worse leaves the picture."""
        if not intervals:
            return
        if self.sign < 0:
            self.high = max(self.high, min(max(intervals), ends[1] + (ends[1] - ends[0])) * 1.01)
        elif self.loss:
            self.low = min(self.low, max(min(intervals), ends[0] / 3) * 0.97)
        else:
            self.low = min(self.low, max(min(intervals), ends[0] - (ends[1] - ends[0])))

    def _value(self, score: float) -> float:
        return math.exp(score) if self.loss else self.sign * score

    def at(self, value: float) -> float:
        """Return the pixel of a value; what is beyond the range is drawn at its end."""
        return self.ruler.at(min(max(value, self.low), self.high))

    def inside(self, value: float) -> bool:
        """Whether a value is within the range that is shown."""
        return self.low <= value <= self.high


def draw_slices(panel: Panel, study: Study) -> list[Markup]:
    """Two cuts through the best cell: along the decay at its rate, along the rate at its column; others faint."""
    assert panel.best is not None
    key = decay_key(panel, study) or ""
    rate, column = panel.best.axes[panel.y or ""], panel.best.axes[panel.x or ""]
    rates, columns = (
        named_values(k or "", v) for k, v in ((panel.y, panel.row_values), (panel.x, panel.column_values))
    )
    by_rate = [_line(panel, study, key, [(y, x) for x in panel.column_values]) for y in panel.row_values]
    by_column = [_line(panel, study, panel.y or "", [(y, x) for y in panel.row_values]) for x in panel.column_values]
    return [
        _cut(panel, by_rate, panel.row_values.index(rate), key, f"at {short_title(panel.y)} {rates[rate]}", study),
        _cut(
            panel,
            by_column,
            panel.column_values.index(column),
            panel.y or "",
            f"at {short_title(panel.x)} {columns[column]}",
            study,
        ),
    ]


def _line(panel: Panel, study: Study, key: str, at: Sequence[tuple[Scalar, Scalar]]) -> list[tuple[float, Cell]]:
    cells = [panel.grid[point] for point in at if point in panel.grid]
    return sorted(((float(cell.coordinate(key)), cell) for cell in cells), key=lambda pair: pair[0])


def _cut(
    panel: Panel, lines: Sequence[list[tuple[float, Cell]]], chosen: int, key: str, where: str, study: Study
) -> Markup:
    y = Measure(panel.cells, 16.0, LOW - 36, drawn=[cell for _, cell in lines[chosen]])
    x = Ruler((value for line in lines for value, _ in line), LEFT, WIDTH - 12)
    faint = "".join(_through(line, x, y) for i, line in enumerate(lines) if i != chosen)
    frame = Frame(x, y.ruler, WIDTH, LOW)
    return svg(
        WIDTH,
        LOW,
        tag("text", where, x=WIDTH - 8, y=11.0, class_="tick end strong"),
        frame.draw(title(key), metric_title(study.metric), x_fractions=key == panel.y),
        tag("path", class_="faint", d=faint),
        measured(lines[chosen], x, y),
        label=f"{metric_title(study.metric)} along {short_title(key)} {where}, with 95% intervals; {panel.name}",
    )


def _through(line: Sequence[tuple[float, Cell]], x: Ruler, y: Measure) -> str:
    return "".join(path(run) for run in _runs(line, x, y))


def _runs(line: Sequence[tuple[float, Cell]], x: Ruler, y: Measure) -> list[list[Point]]:
    """The points of a line, cut where a cell has no mean, after 0 or a control, and out of sight.

    Of points beyond the range the one next to a visible one is kept, at the edge: the line leaves the picture there.
    """
    means = [cell.mean if cell.usable else None for _, cell in line]
    seen = [mean is not None and y.inside(mean) for mean in means]
    points: list[Point | None] = []
    for i, ((value, _), mean) in enumerate(zip(line, means, strict=True)):
        shown = any(seen[max(i - 1, 0) : i + 2])
        points.append((x.at(value), y.at(mean)) if mean is not None and shown else None)
        if value == x.aside:
            points.append(None)
    return runs(points)


def measured(line: Sequence[tuple[float, Cell]], x: Ruler, y: Measure, class_: str = "") -> Markup:
    """Return one line with its points, intervals and, on request, replicates."""
    usable = [(x.at(value), cell) for value, cell in line if cell.usable and cell.mean and y.inside(cell.mean)]
    bars = "".join(_bar(at, cell.interval, y) for at, cell in usable if cell.interval)
    seeds = dots((at, y.at(value)) for at, cell in usable if cell.n > 1 for value in cell.values if y.inside(value))
    return tag(
        "g",
        tag("path", class_="bars", d=bars),
        tag("path", class_="bold", d=_through(line, x, y)),
        tag("path", class_="dots", d=dots((at, y.at(cell.mean or 0.0)) for at, cell in usable)),
        tag("path", class_="seeds dots", d=seeds) if seeds else "",
        class_=f"measured {class_}".strip(),
    )


def _bar(at: float, interval: tuple[float, float], y: Measure) -> str:
    """An interval, with a cap at each end that is within the picture: one without goes on."""
    caps = "".join(f"M{px(at - 3)} {px(y.at(end))}h6" for end in interval if y.inside(end))
    return f"M{px(at)} {px(y.at(interval[0]))}V{px(y.at(interval[1]))}{caps}"


def draw_collapse(panel: Panel, study: Study) -> list[Markup]:
    """Return three pictures: every usable cell's metric against wd · lr^-s for s = -1, 0, +1."""
    key = decay_key(panel, study) or ""
    rates = [y for y in numbers(panel.row_values) if y > 0]
    drawn = []
    for s, named in COLLAPSES:
        lines = []
        for rate in rates:
            cells = [panel.grid[rate, x] for x in panel.column_values if (rate, x) in panel.grid]
            at = ((float(cell.coordinate(key)) * rate**-s, cell) for cell in cells)
            lines.append(sorted(((v, cell) for v, cell in at if v > 0 and cell.usable), key=lambda pair: pair[0]))
        drawn.append(_collapse(panel, study, lines, f"{named}   (s = {s:+d})".replace("+0", "0")))
    return drawn


def _collapse(panel: Panel, study: Study, lines: Sequence[list[tuple[float, Cell]]], named: str) -> Markup:
    width, height = WIDTH, LOW
    y = Measure(panel.cells, 8.0, height - 36)
    x = Ruler((value for line in lines for value, _ in line), LEFT - 6, width - 10)
    points = [
        [(x.at(value), y.at(cell.mean)) for value, cell in line if cell.mean and y.inside(cell.mean)] for line in lines
    ]
    drawn = [
        tag("path", class_="thread", d="".join(_through(line, x, y) for line in lines)),
        tag("path", class_="rim", d="".join(map(dots, points))),
    ]
    for i, each in enumerate(points):
        drawn.append(tag("path", class_="spots", d=dots(each), stroke=code(colour(i / max(len(lines) - 1, 1)))))
    frame = Frame(x, y.ruler, width, height).draw(named, metric_title(study.metric), x_fractions=False)
    return svg(width, height, frame, *drawn, label=f"Collapse of {metric_title(study.metric)} against {named}")


def draw_lines(panel: Panel, study: Study, key: str, numbered: Mapping[int, int]) -> Markup:
    """Return the metric along one numeric axis: a line for each combination of the panel's other axes."""
    lines: dict[str, list[tuple[float, Cell]]] = {}
    others = [other for other in panel.axes if other != key]
    named = {other: named_values(other, (c.axes[other] for c in panel.cells if other in c.axes)) for other in others}
    for cell in panel.cells:
        name = ", ".join(f"{short_title(o)} {named[o][cell.axes[o]]}" for o in others if o in cell.axes)
        (at,) = numbers([cell.axes[key]])
        lines.setdefault(name, []).append((at, cell))
    y = Measure(panel.cells, 16.0, HEIGHT - 36, math.inf, drawn=panel.cells)
    x = Ruler(numbers(cell.axes[key] for cell in panel.cells), LEFT, WIDTH - 12)
    places = Positions(panel, study)
    drawn, ends, hits = [], [], []
    alone = all(len(line) == 1 for line in lines.values())  # drawn points: a colour each would say nothing
    for i, (name, line) in enumerate(lines.items()):
        line.sort(key=lambda pair: pair[0])
        drawn.append(measured(line, x, y, "line0" if alone else f"line{i % 6}"))
        for value, cell in line:
            height = y.at(cell.mean) if cell.usable and cell.mean is not None else y.at(y.high)
            said = f"{places.of(cell)}: {result(cell, study)}"
            hits.append(_hit(cell, x.at(value), height, said, numbered[id(cell)]))
        last = [(x.at(v), y.at(cell.mean)) for v, cell in line if cell.usable and cell.mean is not None]
        ends += [(last[-1], name)] if last and name else []
    frame = Frame(x, y.ruler, WIDTH, HEIGHT).draw(title(key), metric_title(study.metric))
    return svg(
        WIDTH,
        HEIGHT,
        frame,
        *drawn,
        *named_ends(ends, WIDTH - 10) if len(ends) <= 8 else (),
        tag("g", *hits, class_="cells"),
        label=f"{metric_title(study.metric)} along {short_title(key)}, {panel.name}",
        class_="map",
    )


def _hit(cell: Cell, x: float, y: float, said: str, number: int) -> Markup:
    """The place to point at for a cell's curves."""
    shape = {"class_": "hit", "data_c": number, "role": "button", "tabindex": -1, "aria_label": said}
    if cell.usable:
        return tag("circle", cx=x, cy=y, r=8.0, **shape)
    return join(tag("path", class_="glyph", d=cross(x, y, 3.5)), tag("circle", cx=x, cy=y, r=8.0, **shape))


def draw_lost(panel: Panel, study: Study, numbered: Mapping[int, int]) -> Markup:
    """Return the cells of a panel of which none is usable, a line each, with what became of them."""
    places, height, drawn = Positions(panel, study), -4.0, []
    for cell in panel.cells[:MOST]:
        height += 22
        said = f"{places.of(cell)}: {result(cell, study)}"
        drawn += [
            _hit(cell, 14.0, height, said, numbered[id(cell)]),
            tag("text", said, x=28.0, y=height + 4, class_="tick"),
        ]
    label = f"{panel.name}: no cell is usable"
    return svg(WIDTH, height + 18, tag("g", *drawn, class_="cells"), label=label, class_="map")


def draw_numbers(cell: Cell, study: Study, numbered: Mapping[int, int]) -> Markup:
    """Return the metrics of the only cell that there is, as a table; its test figures stand at the top of the page."""
    known = {name for row in cell.rows for name in row.metrics if not name.startswith(("test/", f"{GUESS}/"))}
    ordered = sorted(known, key=lambda name: (name != study.metric, not name.startswith("val/"), name))
    measured = [(name, cell.measuring(name)) for name in ordered]
    spread = any(each.interval for _, each in measured)
    rows = [[metric_title(name), _plain(each.mean), *([_span(each.interval)] * spread)] for name, each in measured]
    heads = ["metric", "mean" if spread else "value", *["95% interval"] * spread]
    return tag(
        "table",
        tag("thead", tag("tr", *(tag("th", head, scope="col") for head in heads))),
        tag("tbody", *(tag("tr", *(tag("td", value) for value in row)) for row in rows)),
        data_c=numbered[id(cell)],
        aria_label=f"the only cell: {result(cell, study)}",
    )


def _plain(value: float | None) -> str:
    return "—" if value is None else figure(value, 4)


def _span(interval: tuple[float, float] | None) -> str:
    return " … ".join(figure(end) for end in interval) if interval else "—"


def draw_dots(panel: Panel, study: Study, numbered: Mapping[int, int]) -> Markup:
    """Return the cells of a panel without a numeric axis as dots with intervals, a line each, best first."""
    usable = sorted((cell for cell in panel.cells if cell.usable), key=lambda cell: cell.score)[:MOST]
    lows = [cell.interval[0] if cell.interval else cell.mean or 0.0 for cell in usable]
    highs = [cell.interval[1] if cell.interval else cell.mean or 0.0 for cell in usable]
    ends = (min(lows), max(highs))
    room = (ends[1] - ends[0]) * 0.05 or abs(ends[0]) * 0.05 or 0.5
    x = Ruler((ends[0] - room, ends[1] + room), 12.0, WIDTH - 12, pad=0, round_ticks=True)
    places = Positions(panel, study)
    height, drawn = 8.0, []
    for cell, low, high in zip(usable, lows, highs, strict=True):
        height += 30
        drawn += [
            tag("text", f"{places.of(cell)}: {figure(cell.mean or 0.0)}", x=12.0, y=height - 12, class_="tick"),
            tag("path", class_="bars", d=f"M{px(x.at(low))} {px(height)}H{px(x.at(high))}"),
            tag("path", class_="dots", d=dots([(x.at(cell.mean or 0.0), height)])),
            _hit(cell, x.at(cell.mean or 0.0), height, f"{places.of(cell)}: {result(cell, study)}", numbered[id(cell)]),
        ]
    ticks = [tag("text", label, x=at, y=height + 26, class_="tick mid") for at, label in apart(x.ticks(5))]
    axis = tag("text", metric_title(study.metric), x=WIDTH / 2, y=height + 42, class_="title mid")
    base = tag("path", class_="grid", d=f"M12 {px(height + 12)}H{px(WIDTH - 12)}")
    named = f"{metric_title(study.metric)} of {panel.name}"
    return svg(WIDTH, height + 50, base, tag("g", *drawn, class_="cells"), *ticks, axis, label=named, class_="map")

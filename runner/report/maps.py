"""The map of a panel: a coloured cell at each rate and decay, in true logarithmic coordinates, and the ridge.

In these coordinates the ridge's slope is what the analysis estimates: log weight decay against log learning rate.
Glyphs and hatching say what colour alone would not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from thalweg.runner.analysis import Answer, Coupling, RowFit, Warmup
from thalweg.runner.cells.cells import Cell, Panel
from thalweg.runner.cells.health import Health
from thalweg.runner.report.chart import LEFT, TOP, Frame, Scores, cross, path, svg
from thalweg.runner.report.markup import Markup, join, px, tag
from thalweg.runner.report.ruler import Ruler, numbers
from thalweg.runner.report.titles import Positions, decay_key, metric_title, result, short_title, title
from thalweg.runner.show.numbers import figure, short
from thalweg.runner.study.study import Study

WIDTH, HEIGHT = 400.0, 350.0
AREA = (LEFT, WIDTH - 8, TOP, HEIGHT - 36)  # left, right, top, bottom
Box = tuple[float, float, float, float]  # left, top, width, height


def draw_map(
    panel: Panel,
    answers: Sequence[Answer],
    study: Study,
    numbered: Mapping[int, int],
    *,
    among: Sequence[Cell] = (),
) -> Markup:
    """Return the map. The panel must have two numeric axes; `numbered` gives a cell's number by its id().

    among: all cells that share the panel's scale of colours, where it is not its own.
    """
    frame, key = frame_of(panel, study)
    scores = Scores.of(among or panel.cells)
    boxes = _boxes(panel, frame, key)
    places = Positions(panel, study)
    cells = [
        _cell(cell, boxes[id(cell)], scores, numbered[id(cell)], f"{places.of(cell)}: {result(cell, study)}")
        for cell in panel.cells
    ]
    named = f"Map of {metric_title(study.metric)} by {short_title(panel.y)} and {short_title(key)}, {panel.name}"
    return svg(
        WIDTH,
        HEIGHT,
        frame.draw(title(panel.y), title(key), y_fractions=False),
        tag("g", *cells, class_="cells"),
        _glyphs(panel, boxes),
        tag("g", *(_seeds(cell, boxes[id(cell)], scores) for cell in panel.cells), class_="seeds") if scores else "",
        *(_over(answer, frame) for answer in answers),
        _best(panel, boxes),
        _scale(panel, scores, metric_title(study.metric)),
        label=named,
        class_="map",
    )


def frame_of(panel: Panel, study: Study) -> tuple[Frame, str]:
    """Return the rulers of a panel's map and the key of the vertical one."""
    left, right, top, bottom = AREA
    key = decay_key(panel, study) or ""
    x = Ruler(numbers(panel.row_values), left, right)
    y = Ruler(numbers(cell.coordinate(key) for cell in panel.cells), bottom, top, pad=0)
    step = _pitch(panel, key, y)
    y.low, y.high = y.low - step / 2, y.high + step / 2
    return Frame(x, y, WIDTH, HEIGHT), key


def _pitch(panel: Panel, key: str, ruler: Ruler) -> float:
    """The scaled distance between neighbouring cells of one rate: the height of a cell at the edge."""
    rate = panel.row_values[0]
    values = sorted(v for y, x in panel.grid if y == rate for v in numbers([panel.grid[y, x].coordinate(key)]))
    if ruler.log:
        values = [math.log10(v) for v in values if v > 0]
    return values[1] - values[0] if len(values) > 1 else 1.0


def _boxes(panel: Panel, frame: Frame, key: str) -> dict[int, Box]:
    """id of a cell -> where it is drawn."""
    across = frame.x.spans(numbers(panel.row_values))
    boxes = {}
    for rate in numbers(panel.row_values):
        column = [panel.grid[rate, x] for x in panel.column_values if (rate, x) in panel.grid]
        upward = frame.y.spans(numbers(cell.coordinate(key) for cell in column))
        left, right = across[rate]
        for cell in column:
            low, high = upward[float(cell.coordinate(key))]
            boxes[id(cell)] = (left, high, right - left, low - high)
    return boxes


def _cell(cell: Cell, box: Box, scores: Scores | None, number: int, said: str) -> Markup:
    left, top, width, height = box
    coloured = scores and cell.health in (Health.USABLE, Health.GUESS)
    fill = scores.fill(cell.score) if scores and coloured else "none" if _empty(cell) else "url(#hatch)"
    return tag(
        "rect",
        x=left,
        y=top,
        width=max(width - 0.6, 1.0),
        height=max(height - 0.6, 1.0),
        fill=fill,
        class_=None if cell.usable else "off",
        data_c=number,
        role="button",
        tabindex=-1,
        aria_label=said,
    )


def _empty(cell: Cell) -> bool:
    return cell.mean is None and not cell.diverged and not cell.failed


def _glyphs(panel: Panel, boxes: Mapping[int, Box]) -> Markup:
    """What is no plain result: a cross for diverged, half of one for some seeds, a bar for a guess, a dot for none."""
    crosses, strokes, bars = list[str](), list[str](), list[str]()
    points, stopped = list[str](), list[str]()
    for cell in panel.cells:
        left, top, width, height = boxes[id(cell)]
        x, y, size = left + width / 2, top + height / 2, min(width, height, 14) / 4
        if cell.diverged and cell.diverged == len(cell.rows):
            crosses.append(cross(x, y, size))
        elif cell.health is Health.GUESS:
            bars.append(f"M{px(x - size)} {px(y)}h{px(2 * size)}")
        elif cell.diverged or cell.failed or (cell.mean is not None and not cell.usable):
            strokes.append(f"M{px(x - size)} {px(y + size)}l{px(2 * size)} {px(-2 * size)}")
        elif cell.mean is None:
            (stopped if cell.pruned else points).append(f"M{px(x)} {px(y)}h0")
    return join(
        tag("path", class_="glyph", d="".join((*crosses, *strokes))) if crosses or strokes else "",
        tag("path", class_="glyph pale", d="".join(bars)) if bars else "",
        tag("path", class_="glyph point", d="".join(points)) if points else "",
        tag("path", class_="glyph point pale", d="".join(stopped)) if stopped else "",
    )


def _seeds(cell: Cell, box: Box, scores: Scores | None) -> Markup:
    """A dot for each replicate of a cell, coloured by its own result."""
    if scores is None or cell.n < 2 or not cell.usable:
        return Markup("")
    left, top, width, height = box
    step, radius = width / cell.n, min(width / cell.n / 2.6, height / 2.6, 3.4)
    return join(
        *(
            tag("circle", cx=left + step * (i + 0.5), cy=top + height / 2, r=radius, fill=scores.fill(score))
            for i, score in enumerate(cell.scores)
        )
    )


def _best(panel: Panel, boxes: Mapping[int, Box]) -> Markup:
    if panel.best is None:
        return Markup("")
    left, top, width, height = boxes[id(panel.best)]
    shape = {"x": left, "y": top, "width": width - 0.6, "height": height - 0.6}
    return join(*(tag("rect", class_=class_, **shape) for class_ in ("best outer", "best")))


def _over(answer: Answer, frame: Frame) -> Markup:
    """What an answer draws over the map: a coupling its ridge, warmup the largest rate that does not spike."""
    if isinstance(answer, Coupling):
        return _ridge(answer, frame)
    if not isinstance(answer, Warmup):
        return Markup("")
    known = [(level.spike_free.estimate, level.warmup) for level in answer.levels if level.spike_free.side != "<"]
    points = [(frame.x.at(rate), frame.y.at(steps)) for rate, steps in known if rate is not None]
    lines = (tag("path", class_=class_, d=path(points)) for class_ in ("halo", "line"))
    return tag("g", *lines, *(tag("circle", class_="kept", cx=x, cy=y, r=3.2) for x, y in points), class_="ridge")


def _ridge(answer: Coupling, frame: Frame) -> Markup:
    """The best decay of each rate with its interval, the slope's interval as a band, the expected slope dashed."""
    kept = [row for row in answer.rows if row.kept and row.wd is not None and row.wd > 0]
    points = [_point(row, frame) for row in kept]
    whiskers = "".join(
        f"M{px(frame.x.at(row.lr))} {px(frame.y.at(row.low))}V{px(frame.y.at(row.high))}"
        for row in kept
        if row.low and row.high
    )
    others = [row for row in answer.rows if not row.kept and row.wd is not None]
    return tag(
        "g",
        _band(answer, kept, frame),
        tag("path", class_="halo", d=path(points) + whiskers),
        tag("path", class_="line", d=path(points)),
        tag("path", class_="line", d=whiskers) if whiskers else "",
        *(tag("circle", class_="kept", cx=x, cy=y, r=3.2) for x, y in points),
        *(_dropped(row, frame) for row in others),
        class_="ridge",
    )


def _point(row: RowFit, frame: Frame) -> tuple[float, float]:
    return frame.x.at(row.lr), frame.y.at(row.wd or 0.0)


def _dropped(row: RowFit, frame: Frame) -> Markup:
    """A bound as an arrowhead that points to where the truth lies; any other row that is left out, a ring."""
    x, y = _point(row, frame)
    if not row.side:
        return tag("circle", class_="dropped", cx=x, cy=y, r=2.6)
    way = -1 if row.side == ">" else 1
    return tag(
        "path",
        class_="dropped",
        d=f"M{px(x - 4)} {px(y - 2 * way)}L{px(x)} {px(y + 4 * way)}L{px(x + 4)} {px(y - 2 * way)}z",
    )


def _band(answer: Coupling, kept: list[RowFit], frame: Frame) -> Markup:
    """Lines of the slope's bounds through the middle of the rows, filled between; and the slope expected."""
    slope = answer.slope
    if len(kept) < 2 or not frame.x.log or not frame.y.log:
        return Markup("")
    logs = [(math.log10(row.lr), math.log10(row.wd or 1.0)) for row in kept]
    middle = sum(x for x, _ in logs) / len(logs), sum(y for _, y in logs) / len(logs)
    ends = logs[0][0], logs[-1][0]

    def line(s: float) -> list[tuple[float, float]]:
        return [(frame.x.at(10**x), frame.y.at(10 ** (middle[1] + s * (x - middle[0])))) for x in ends]

    parts = []
    if slope.estimate is not None and slope.low is not None and slope.high is not None:
        low, high = line(slope.low), line(slope.high)
        parts.append(tag("path", class_="band", d=path([*low, *reversed(high)]) + "z"))
    if answer.expect is not None:
        parts.append(tag("path", class_="expected", d=path(line(answer.expect.slope))))
    return join(*parts)


def _scale(panel: Panel, scores: Scores | None, titled: str) -> Markup:
    """The colour bar above the map with what it shows, from the worst that is told apart to the best."""
    if scores is None or not panel.cells:
        return Markup("")
    loss, rising = panel.cells[0].by_factors, panel.cells[0].direction == "max"
    ends = [math.exp(s) if loss else -s if rising else s for s in (scores.worst, scores.best)]
    worst, best = short(ends[0]), figure(ends[1])
    right, wide = WIDTH - 8, 90.0
    best_x = right - 7 * len(best) - 4
    return join(
        tag("text", titled, x=LEFT, y=9.5, class_="tick"),
        tag("text", f"{'≥ ' if loss else ''}{worst}", x=best_x - wide - 5, y=9.5, class_="tick end"),
        tag("rect", x=best_x - wide, y=2.0, width=wide, height=8.0, fill="url(#ramp)"),
        tag("text", best, x=best_x + 5, y=9.5, class_="tick strong"),
    )

"""The pictures of a study by themselves, as PNG files: the slopes, and of each panel its map or lines and its findings.

They are the report's own, for viewers such as W&B that show images beside others'.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from thalweg.runner.analysis import Answer, Coupling
from thalweg.runner.report.answer import NAMED, signed, slope_text
from thalweg.runner.report.chart import dots, svg
from thalweg.runner.report.markup import Markup, px, tag
from thalweg.runner.report.payload import number_cells
from thalweg.runner.report.raster import png
from thalweg.runner.report.ruler import Ruler
from thalweg.runner.report.sections import draw_findings, draw_grid
from thalweg.runner.view import StudyView

WIDTH, ROW, TOP = 760.0, 38.0, 52.0
STRIP = (190.0, 510.0)  # where the slopes lie
FARTHEST = 4.0  # a slope or bound beyond is drawn there
LETTERS = 26  # of a panel's name


def pictures(view: StudyView) -> dict[str, bytes]:
    """Return name -> PNG: `slopes`, `map/PANEL`, and what each answer's findings look like, as `warmup/PANEL 2`."""
    return {name: png(picture, name.partition("/")[2]) for name, picture in _drawn(view)}


def _drawn(view: StudyView) -> Iterator[tuple[str, Markup]]:
    couplings = [answer for answer in view.answers if isinstance(answer, Coupling)]
    if couplings:
        yield "slopes", draw_slopes(couplings)
    numbered = number_cells(view.panels)
    for panel in view.panels:
        answers = [answer for answer in view.answers if answer.panel == panel.name]
        grid = draw_grid(panel, answers, view.study, numbered) if panel.trained else []
        kind = "map" if panel.x and panel.y else "cells"
        yield from ((f"{kind}/{panel.name}", picture) for picture, _ in grid[:1])
    for answer in view.answers:
        yield from _findings(answer)


def _findings(answer: Answer) -> Iterator[tuple[str, Markup]]:
    drawn = [picture for picture, _ in draw_findings(answer) if picture.startswith("<svg")]
    for number, picture in enumerate(drawn, start=1):
        yield f"{answer.kind}/{answer.panel}{f' {number}' if len(drawn) > 1 else ''}", picture


def draw_slopes(answers: Sequence[Coupling]) -> Markup:
    """Return the slope of each panel as a dot on its interval, over the slope expected and those that have a name."""
    ends = [value for answer in answers for value in _ends(answer)]
    ruler = Ruler([min([-1.3, *ends]), max([1.3, *ends])], *STRIP, pad=0, round_ticks=True)
    height = TOP + ROW * len(answers)
    named = [
        tag("text", text, x=ruler.at(value), y=y, class_="tick mid")
        for value, words in NAMED
        for text, y in ((signed(value, 0), 12.0), (words, 25.0))
    ]
    lines = "".join(f"M{px(ruler.at(value))} 30V{px(height - 8)}" for value, _ in NAMED)
    rows = [each for number, answer in enumerate(answers) for each in _row(answer, ruler, TOP + ROW * number)]
    return svg(WIDTH, height, tag("path", class_="grid", d=lines), *named, *rows, label="slopes")


def _ends(answer: Coupling) -> list[float]:
    slope, expect = answer.slope, answer.expect
    found = [value for value in (slope.estimate, slope.low, slope.high) if value is not None]
    found += [expect.slope - expect.tolerance, expect.slope + expect.tolerance] if expect else []
    return [_near(value) for value in found]


def _row(answer: Coupling, ruler: Ruler, y: float) -> list[Markup]:
    slope, expect = answer.slope, answer.expect
    shown = answer.panel if len(answer.panel) <= LETTERS else f"{answer.panel[: LETTERS - 1]}…"
    drawn = [
        tag("text", shown, x=STRIP[0] - 12, y=y + 4, class_="end"),
        tag("text", slope_text(answer), x=STRIP[1] + 14, y=y - 2, class_="strong"),
        tag("text", answer.label, x=STRIP[1] + 14, y=y + 12, class_="tick"),
    ]
    if expect is not None:
        low, high = (ruler.at(_near(expect.slope + way * expect.tolerance)) for way in (-1, 1))
        drawn.insert(0, tag("rect", x=low, y=y - 10, width=high - low, height=20.0, fill="#e9edf2"))
    if slope.low is not None and slope.high is not None:
        low, high = ruler.at(_near(slope.low)), ruler.at(_near(slope.high))
        drawn.append(tag("path", class_="bold", d=f"M{px(low)} {px(y)}H{px(high)}"))
    if slope.estimate is not None:
        drawn.append(tag("path", class_="dots", d=dots([(ruler.at(_near(slope.estimate)), y)])))
    return drawn


def _near(value: float) -> float:
    return min(max(value, -FARTHEST), FARTHEST)

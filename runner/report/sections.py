"""The section of one panel: what it says, its pictures, and the frame of the loss curves that the script draws."""

from __future__ import annotations

from collections.abc import Mapping

from runner.analysis import Answer, Coupling, Sensitivity, Warmup
from runner.figures import figure, is_number
from runner.report.chart import Scores
from runner.report.findings import draw_sensitivity, draw_warmup
from runner.report.maps import draw_map, is_guess
from runner.report.markup import Markup, join, name, tag
from runner.report.slices import draw_collapse, draw_dots, draw_lines, draw_slices
from runner.report.words import metric_title, place
from runner.summary import Declared, Panel, near_optimal


def draw_panel(
    panel: Panel, answer: Answer | None, study: Declared, numbered: Mapping[int, int], anchor: str
) -> Markup:
    """Return the section of one panel: what it says, its pictures, the curves of chosen cells."""
    said = [tag("p", text, class_="said") for text in _said(panel, answer, study)]
    figures = _figures(panel, answer, study, numbered) if Scores.of(panel.cells) or panel.x else []
    best = numbered[id(panel.best)] if panel.best else ""
    curves = tag(
        "figure",
        tag("div", class_="plot"),
        tag(
            "figcaption",
            "Loss curves. ",
            tag("span", "Point at a cell to see its trials, click to keep it.", class_="hint"),
            tag("ul", class_="key"),
        ),
        class_="curves",
        data_best=str(best),
        hidden=True,
    )
    return tag(
        "section",
        tag(
            "h3",
            name(panel.name),
            " ",
            tag("a", "↑", href="#question", class_="up", aria_label="to the answer"),
            id=anchor,
        ),
        *said,
        tag("div", *figures[:1], curves, *figures[1:], class_="figures"),
        *([_collapse(panel, study)] if isinstance(answer, Coupling) and panel.x and panel.best else []),
        class_="panel",
        aria_labelledby=anchor,
    )


def _said(panel: Panel, answer: Answer | None, study: Declared) -> list[Markup]:
    said = [join(answer.verdict)] if answer else []
    if isinstance(answer, Coupling) and answer.dropped:
        reasons = ", ".join(f"{number} {reason}" for reason, number in answer.dropped.items())
        said.append(join(f"{len(answer.kept)} of {len(answer.rows)} learning rates count; left out: {reasons}."))
    found = near_optimal(panel.cells)
    if found is None or found.best.mean is None:
        return [*said, Markup("No cell has a usable result yet.")]
    spread = found.best.interval
    interval = f" (95% {figure(spread[0])} to {figure(spread[1])})" if spread else ""
    end = "Lowest" if study.direction == "min" else "Highest"
    best = (
        f"{end} {metric_title(study.metric)}: {figure(found.best.mean)}{interval} at {place(found.best, panel, study)}"
    )
    near = len(found.cells) - 1
    as_good = f"; {near} of {found.of - 1} other usable cells are as good within the noise" if found.margin else ""
    return [*said, join(f"{best}{as_good}.")]


def _figures(panel: Panel, answer: Answer | None, study: Declared, numbered: Mapping[int, int]) -> list[Markup]:
    drawn: list[Markup] = []
    if panel.x and panel.y:
        coupling = answer if isinstance(answer, Coupling) else None
        drawn.append(_figure(draw_map(panel, coupling, study, numbered), _map_caption(panel, coupling)))
        if panel.best:
            drawn.append(
                _figure(
                    draw_slices(panel, study), "Cuts through the best cell, with 95% intervals; grey: all other cuts."
                )
            )
    elif panel.best:
        numeric = [key for key in panel.axes if all(is_number(cell.axes.get(key)) for cell in panel.cells)]
        if numeric:
            drawn.append(_figure(draw_lines(panel, study, numeric[0], numbered), "Means with 95% intervals."))
        else:
            drawn.append(_figure(draw_dots(panel, study, numbered), "Means with 95% intervals, best first."))
    if isinstance(answer, Warmup):
        drawn += [_figure(picture, caption) for picture, caption in draw_warmup(answer)]
    if isinstance(answer, Sensitivity) and answer.curves:
        drawn.append(_figure(draw_sensitivity(answer), "What a rate that is not the best costs on average."))
    return drawn


def _figure(picture: Markup, caption: str | Markup) -> Markup:
    return tag("figure", picture, tag("figcaption", caption))


def _map_caption(panel: Panel, answer: Coupling | None) -> Markup:
    """The meaning of the marks that occur."""
    cells = panel.cells
    said = ["Framed: the best cell"]
    if answer and answer.kept:
        said.append("line: the best decay of each rate, with its interval")
    if answer and answer.slope.estimate is not None and answer.slope.low is not None:
        said.append("band: the slope’s interval")
    if answer and answer.expect and len(answer.kept) > 1:
        said.append("dashed: the slope expected")
    if answer and any(row.side for row in answer.rows if not row.kept):
        said.append("arrowhead: a bound, not an estimate")
    if answer and any(not row.side and row.wd is not None for row in answer.rows if not row.kept):
        said.append("ring: a rate that does not count")
    if any(cell.diverged == len(cell.rows) for cell in cells):
        said.append("hatched ×: diverged")
    if any(0 < cell.diverged < len(cell.rows) for cell in cells):
        said.append("hatched /: some seeds diverged")
    if any(cell.mean is None and not cell.diverged for cell in cells):
        said.append("·: not trained")
    if any(is_guess(cell) for cell in cells):
        said.append("–: no better than a guess")
    return join(Markup("; ".join(said)), ".")


def _collapse(panel: Panel, study: Declared) -> Markup:
    pictures = [tag("figure", picture) for picture in draw_collapse(panel, study)]
    note = (
        "Each line is a learning rate, small ones dark. The picture in which the lines coincide shows what matters."
        " A diagnostic to look at: the slope above is estimated row by row, not from this."
    )
    return tag(
        "details",
        tag("summary", tag("h4", "Does the grid collapse onto one curve?")),
        tag("p", note, class_="note"),
        tag("div", *pictures, class_="figures"),
        class_="collapse",
        open=True,
    )

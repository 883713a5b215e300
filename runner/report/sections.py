"""The section of one panel: what it says, its pictures, and the frame of the loss curves that the script draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from thalweg.runner.analysis import Answer, Coupling, Sensitivity, Warmup
from thalweg.runner.cells.cells import Cell, Panel
from thalweg.runner.cells.health import Health
from thalweg.runner.report.findings import draw_sensitivity, draw_warmup
from thalweg.runner.report.maps import draw_map
from thalweg.runner.report.markup import Markup, name, tag
from thalweg.runner.report.slices import draw_collapse, draw_dots, draw_lines, draw_lost, draw_numbers, draw_slices
from thalweg.runner.report.titles import metric_title, place
from thalweg.runner.show.numbers import as_good, figure, is_number
from thalweg.runner.study.study import Study


def draw_wide(answer: Answer, anchor: str) -> Markup:
    """Return the section of an answer about several panels together."""
    pictures = [_figure(picture, caption) for picture, caption in draw_findings(answer)]
    return tag(
        "section",
        tag("h3", "All panels together", id=anchor),
        tag("p", answer.verdict, class_="said"),
        tag("div", *pictures, class_="figures"),
        class_="panel",
        aria_labelledby=anchor,
    )


def draw_panel(
    panel: Panel,
    answers: Sequence[Answer],
    study: Study,
    numbered: Mapping[int, int],
    *,
    anchor: str,
    among: Sequence[Cell],
) -> Markup:
    """Return the section of one panel: what it says, its pictures, the curves of chosen cells.

    among: the cells that the colours of its map tell apart.
    """
    coupling = next((answer for answer in answers if isinstance(answer, Coupling)), None)
    grid = draw_grid(panel, answers, study, numbered, among)
    figures = [*grid[:1], *(pair for answer in answers for pair in draw_findings(answer)), *grid[1:]]
    drawn = [_figure(picture, caption) for picture, caption in figures]
    up = tag("a", "↑", href="#question", class_="up", aria_label="to the answer")
    return tag(
        "section",
        tag("h3", name(panel.name), " ", up, id=anchor),
        *(tag("p", answer.verdict, class_="said") for answer in answers),
        tag("p", _best(panel, study), class_="said"),
        tag("div", *drawn[:1], draw_curves(panel.best or _longest(panel), numbered), *drawn[1:], class_="figures"),
        *([_collapse(panel, study)] if coupling and panel.x and panel.best else []),
        class_="panel",
        aria_labelledby=anchor,
    )


def _longest(panel: Panel) -> Cell | None:
    """Where nothing can be chosen: the cell that came farthest before it diverged."""
    lost = [cell for cell in panel.cells if any(row.diverged_step is not None for row in cell.rows)]
    return max(lost, key=lambda cell: max(row.diverged_step or 0 for row in cell.rows), default=None)


def draw_curves(best: Cell | None, numbered: Mapping[int, int]) -> Markup:
    """Return the frame of the loss curves, which the script draws; those of the best cell at first."""
    hint = tag("span", "Point at a cell anywhere to see its trials, click to keep it.", class_="hint")
    return tag(
        "figure",
        tag("div", class_="plot"),
        tag("figcaption", tag("span", "Loss curves. ", class_="what"), hint, tag("ul", class_="key")),
        class_="curves",
        data_best=str(numbered[id(best)] if best else ""),
        hidden=True,
    )


def _best(panel: Panel, study: Study) -> str:
    found = panel.near
    if found is None or found.best.mean is None:
        return "No cell here can be chosen." if panel.trained else "Nothing is trained here yet."
    spread = found.best.interval
    interval = f" (95% {figure(spread[0])} to {figure(spread[1])})" if spread else ""
    end = "Lowest" if study.direction == "min" else "Highest"
    best = f"{end} {metric_title(study.metric)}: {figure(found.best.mean)}{interval}"
    if len(panel.cells) == 1:
        return f"{metric_title(study.metric).capitalize()}: {figure(found.best.mean)}{interval}."
    where = f", at {place(found.best, panel, study)}"
    others = f"; {as_good(len(found.cells) - 1, found.of - 1)}" if found.margin else ""
    return f"{best}{where}{others}."


def draw_grid(
    panel: Panel, answers: Sequence[Answer], study: Study, numbered: Mapping[int, int], among: Sequence[Cell] = ()
) -> list[tuple[Markup, str]]:
    """The pictures of the cells themselves, each with its caption: a map and cuts, lines, or dots."""
    if panel.x and panel.y:
        scale = {0: "", len(panel.cells): " Colours: of this panel alone."}.get(
            len(among), " Colours: one scale for all panels of this grid."
        )
        picture = draw_map(panel, answers, study, numbered, among=among)
        drawn = [(picture, f"{_map_caption(panel, answers)}{scale}".strip())]
        if panel.best:
            cuts = "A cut through the best cell, with 95% intervals; grey: all other cuts."
            drawn += [(cut, cuts) for cut in draw_slices(panel, study)]
        return drawn
    if len(panel.cells) == 1 and panel.best:
        return [(draw_numbers(panel.best, study, numbered), "")]
    if panel.best is None:
        return [(draw_lost(panel, study, numbered), "×: this cell cannot be chosen.")] if panel.trained else []
    numeric = [key for key in panel.axes if all(is_number(cell.axes.get(key)) for cell in panel.cells)]
    if numeric:
        return [(draw_lines(panel, study, numeric[0], numbered), "Means with 95% intervals; ×: diverged.")]
    intervals = " with 95% intervals" if any(cell.interval for cell in panel.cells) else ""
    return [(draw_dots(panel, study, numbered), f"Means{intervals}, the best first.")]


def draw_findings(answer: Answer) -> list[tuple[Markup, str]]:
    """The pictures of an answer's findings, each with its caption; a coupling's are in the map."""
    if isinstance(answer, Warmup):
        return draw_warmup(answer)
    if isinstance(answer, Sensitivity) and answer.curves:
        return [
            (
                draw_sensitivity(answer),
                "The average cost of a learning rate that is not the best, with 95% intervals.",
            )
        ]
    return []


def _figure(picture: Markup, caption: str) -> Markup:
    return tag("figure", picture, tag("figcaption", caption) if caption else "")


def _map_caption(panel: Panel, answers: Sequence[Answer]) -> str:
    """The meaning of the marks that occur."""
    said = ["Framed: the best cell"] if panel.best else []
    for answer in answers:
        if isinstance(answer, Coupling):
            said += _ridge_caption(answer)
        if isinstance(answer, Warmup):
            said.append("line: the largest learning rate without a spike")
    cells = panel.cells
    marks = {
        "hatched ×: diverged": any(cell.diverged == len(cell.rows) for cell in cells),
        "hatched /: some seeds diverged": any(0 < cell.diverged < len(cell.rows) for cell in cells),
        "·: not trained": any(cell.mean is None and not cell.diverged and not cell.pruned for cell in cells),
        f"pale ·: {Health.PRUNED}": any(cell.pruned for cell in cells),
        f"–: {Health.GUESS}": any(cell.health is Health.GUESS for cell in cells),
    }
    told = "; ".join([*said, *(mark for mark, occurs in marks.items() if occurs)])
    return f"{told}." if told else ""


def _ridge_caption(answer: Coupling) -> list[str]:
    dropped = [row for row in answer.rows if not row.kept and row.wd is not None]
    marks = {
        "line: the best weight decay at each learning rate, with its interval": bool(answer.kept),
        "band: the slope’s interval": answer.slope.low is not None,
        "dashed: the slope expected": answer.expect is not None and len(answer.kept) > 1,
        "arrowhead: a bound, not an estimate": any(row.side for row in dropped),
        "ring: a learning rate that does not count": any(not row.side for row in dropped),
    }
    return [mark for mark, occurs in marks.items() if occurs]


def _collapse(panel: Panel, study: Study) -> Markup:
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

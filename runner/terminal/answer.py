"""The answer of a study: its maps and verdicts, or from four panels on a line each. Draws, decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.segment import Segments
from rich.table import Table
from rich.text import Text

from thalweg.runner.analysis import Answer, Coupling
from thalweg.runner.cells.cells import Cell, Panel
from thalweg.runner.show.numbers import brief, count, figure, is_number, labels, leaf, short, spoken
from thalweg.runner.study.study import Study
from thalweg.runner.terminal.map import NOT_USED, draw
from thalweg.runner.terminal.text import clean, listing, row, table
from thalweg.runner.terminal.verdict import show_numbers, show_rows, show_verdicts
from thalweg.runner.view import StudyView
from thalweg.runner.view.costs import costs_said

A_LINE_EACH = 4
"""From this many panels on, a study is shown as a line a panel."""
LOW, HIGH = "lowest", "highest"


@dataclass(frozen=True)
class How:
    """How an answer is shown: panels that are named, with their maps; maps of all; or every row of a coupling."""

    panels: tuple[str, ...] = ()
    maps: bool = False
    each_row: bool = False


def show_answer(out: Console, view: StudyView, how: How = How()) -> None:
    """Print what the trials so far say: maps with a verdict each, or a line a panel when there are many.

    Raises UsageError where a panel is named that the study does not have.
    """
    panels = view.chosen(how.panels)
    if not view.ended:
        out.print(Text("no results yet"))
        return
    out.print(Text(view.experiment))
    named = [panel.name for panel in panels]
    answers = [each for each in view.answers if not how.panels or each.panel in named]
    if how.each_row:
        show_rows(out, answers)
    elif len(view.panels) >= A_LINE_EACH and not how.maps and not how.panels:
        show_numbers(out, answers) if answers else out.print(_lines(panels, view.study))
    else:
        _show_panels(out, panels, answers, view.study)
    if not how.panels and not how.each_row:
        _show_costs(out, view)
    show_notes(out, view.notes)


def _show_costs(out: Console, view: StudyView) -> None:
    """Print what the axes cost where there are three and more."""
    for space in view.spaces:
        lead = f"{space.name}: " if len(view.spaces) > 1 else ""
        out.print(Text(clean(f"{lead}{costs_said(space.costs, view.study.metric, spoken)}")))


def show_notes(out: Console, notes: Iterable[str]) -> None:
    """Print what a reader should know, a line each."""
    for note in notes:
        out.print(Text(clean(note)))


def _show_panels(out: Console, panels: Sequence[Panel], answers: Sequence[Answer], study: Study) -> None:
    slopes = {each.panel: each for each in answers if isinstance(each, Coupling)}
    for panel in panels:
        _show_panel(out, panel, slopes.get(panel.name), study)
    others = [each for each in answers if not isinstance(each, Coupling)]
    if others:
        show_verdicts(out, others)


def _show_panel(out: Console, panel: Panel, found: Coupling | None, study: Study) -> None:
    drawn = panel.x is not None
    what = f"mean {study.metric} over {count(max(len(cell.rows) for cell in panel.cells), study.replicate or 'trial')}"
    out.print(Text.assemble((clean(panel.name), "bold"), f"   {clean(what)}" if drawn else ""))
    if drawn:
        for line in draw(panel, found, out.width):
            out.print(line, no_wrap=True, overflow="ignore", crop=False)
    else:
        out.print(cells_table(panel, study, out.width))
    if panel.best:
        out.print(Text(clean(_best(panel, study))))
    elif panel.trained + panel.pruned == panel.wanted:
        out.print(Text("Nothing here can be taken: recommend says why, and what to try."))
    if found:
        out.print(Text(clean(found.verdict)))
    out.print()


def _best(panel: Panel, study: Study) -> str:
    assert panel.best is not None
    assert panel.best.mean is not None
    end = LOW if study.direction == "min" else HIGH
    return f"Best ({end} mean {study.metric}): {figure(panel.best.mean)} at {place(panel.best, panel, study, spoken)}."


def _lines(cut: Sequence[Panel], study: Study) -> Table:
    """The best cell of each panel, for a study that asks nothing."""
    made = table("panel", study.metric.rpartition("/")[2], "at", right={study.metric.rpartition("/")[2]})
    for panel in cut:
        best = panel.best
        known = best is not None and best.mean is not None
        row(
            made,
            panel.name,
            figure(best.mean or 0.0) if best and known else None,
            _inside(best, panel, study) if best else None,
        )
    return made


def show_cells(out: Console, view: StudyView) -> None:
    """Print every cell, panel by panel."""
    for panel in view.panels:
        if len(view.panels) > 1:
            out.print(Text(clean(panel.name), "bold"))
        out.print(cells_table(panel, view.study, out.width))
    show_notes(out, view.notes)


def cells_table(panel: Panel, study: Study, width: int) -> Table | Segments:
    """A line a cell: its axes, replicates, mean, 95% t-interval, and how many diverged or failed."""
    candidates = dict.fromkeys([*panel.axes, *(study.analysis.keys.values() if study.analysis else ())])
    keys = [key for key in candidates if len({cell.coordinate(key) for cell in panel.cells}) > 1]
    failed = any(cell.failed for cell in panel.cells)
    lost = any(cell.health in NOT_USED for cell in panel.cells)
    numbers = ["n", study.metric, "95% interval", "diverged", *["failed"] * failed]
    heads = [leaf(key) for key in keys]
    named = {key: labels((cell.coordinate(key) for cell in panel.cells), fractions=not _is_decay(key)) for key in keys}
    rows = []
    for cell in panel.cells:
        mean = None if cell.mean is None else figure(cell.mean, 4)
        values = [cell.n, mean, interval(cell), cell.diverged or "", *[cell.failed or ""] * failed]
        values += [cell.health if cell.health in NOT_USED else ""] * lost
        rows.append([*(named[key][cell.coordinate(key)] for key in keys), *values])
    return listing([*heads, *numbers, *["not used"] * lost], {*heads, *numbers}, rows, width)


def interval(cell: Cell) -> str | None:
    """The 95% t-interval of a cell's mean as text; None where there is none."""
    return " … ".join(figure(bound) for bound in cell.interval) if cell.interval else None


def place(cell: Cell, panel: Panel, study: Study, called: Callable[[str], str] = brief) -> str:
    """Where a cell lies, in the analysis' words (lr 1/8, wd 0.04) or else by its axes."""
    return ", ".join(f"{called(key)} {text}" for key, text in _named(cell, panel, study)) or "its only cell"


def _inside(cell: Cell, panel: Panel, study: Study) -> str:
    """Where a cell lies in its panel, whose name says the rest."""
    known = [key for key in panel.axes if panel.x and key not in (panel.y, panel.x)]
    return ", ".join(f"{brief(key)} {text}" for key, text in _named(cell, panel, study) if key not in known)


def _coordinates(cell: Cell, panel: Panel, study: Study) -> str:
    return ", ".join(text for _, text in _named(cell, panel, study))


def _named(cell: Cell, panel: Panel, study: Study) -> list[tuple[str, str]]:
    """The keys that say where a cell lies, and its values of them as text."""
    analysed = tuple(study.analysis.keys.values()) if study.analysis and study.analysis.against else ()
    keys = analysed if all(cell.coordinate(key) is not None for key in analysed) and analysed else panel.axes
    named = []
    for key in keys:
        value = cell.coordinate(key)
        if key in cell.axes and key in panel.axes and not _is_decay(key):
            named.append((key, labels(each.axes[key] for each in panel.cells if key in each.axes)[value]))
        elif value is not None:
            named.append((key, short(float(value), 2) if is_number(value) else str(value)))
    return named


def _is_decay(key: str) -> bool:
    """Whether a key is read as a decimal even where all its values are powers of two."""
    return key.endswith("weight_decay")

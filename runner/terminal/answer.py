"""The answer of a study: its maps and sentences, or from four panels on a line each. Draws, decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from runner.figures import count, figure, labels, short
from runner.summary import Cell, Declared, Panel, panels
from runner.table import Row
from runner.terminal.map import draw
from runner.terminal.text import clean, row, table
from runner.valley import Valley, brief, decay_text, leaf, movement, sentence, span, valley

A_LINE_EACH = 4
"""From this many panels on, a study is shown as a line a panel."""
LOW, HIGH = "lowest", "highest"


def show_answer(out: Console, rows: Iterable[Row], study: Declared, *, maps: bool = False) -> None:
    """Print what the trials so far say: maps with a sentence each, or a line a panel when there are many."""
    cut = panels(rows, study)
    found = [valley(panel, study) for panel in cut]
    if not any(panel.trained for panel in cut):
        out.print(Text("no results yet"))
        return
    if len(cut) >= A_LINE_EACH and not maps:
        _show_lines(out, cut, found, study)
    else:
        for panel, its in zip(cut, found, strict=True):
            _show_panel(out, panel, its, study)
    for note in _notes(cut, study):
        out.print(Text(note))


def _show_panel(out: Console, panel: Panel, found: Valley | None, study: Declared) -> None:
    drawn = panel.x is not None
    what = f"mean {study.metric} over {count(max(len(cell.rows) for cell in panel.cells), study.replicate or 'trial')}"
    out.print(Text.assemble((clean(panel.name), "bold"), f"   {clean(what)}" if drawn else ""))
    if drawn:
        for line in draw(panel, found, out.width):
            out.print(line, no_wrap=True, overflow="ignore", crop=False)
    else:
        out.print(cells_table(panel, study))
    if panel.best:
        out.print(Text(clean(_best(panel, study))))
    if found:
        said = sentence(found)
        out.print(Text(clean(f"{said[0].upper()}{said[1:]}.")))
    if panel.expect:
        out.print(Text(f"Expected beforehand: slope {expected(panel)}."))
    out.print()


def _best(panel: Panel, study: Declared) -> str:
    assert panel.best is not None
    assert panel.best.mean is not None
    end = LOW if study.direction == "min" else HIGH
    return f"Best ({end} mean {study.metric}): {figure(panel.best.mean)} at {place(panel.best, panel, study)}."


def _show_lines(out: Console, cut: Sequence[Panel], found: Sequence[Valley | None], study: Declared) -> None:
    wd = brief((study.analysis and study.analysis.against) or cut[0].x or "")
    lr = brief((study.analysis and study.analysis.lr) or cut[0].y or "")
    expects = any(panel.expect for panel in cut)
    columns = ["panel", study.metric.rpartition("/")[2], f"at {lr}, {wd}", f"best {wd}", f"as {lr}"]
    made = table(*columns, "rows", *["expect"] * expects, right={columns[1]})
    for panel, its in zip(cut, found, strict=True):
        best = panel.best
        values = [
            panel.name,
            None if best is None or best.mean is None else figure(best.mean),
            None if best is None else _coordinates(best, panel, study),
            movement(its) if its else None,
            span(its) if its else None,
            f"{len(its.counted)}/{len(panel.row_values)}" if its else None,
        ]
        row(made, *values, *[expected(panel)] * expects)
    out.print(made)
    for panel, its in zip(cut, found, strict=True):
        if its and not its.known:
            out.print(Text(clean(f"{panel.name}: {sentence(its)}.")))


def _notes(cut: Sequence[Panel], study: Declared) -> list[str]:
    """What a reader should know before believing the answer."""
    notes = []
    trained, wanted = sum(panel.trained for panel in cut), sum(panel.wanted for panel in cut)
    if trained < wanted:
        notes.append(f"So far: {trained:,} of {count(wanted, 'trial')}; what is shown may change.")
    if len(cut) > 1:
        stated = sum(panel.expect is not None for panel in cut)
        which = "each" if stated == len(cut) else f"{stated} of them"
        beforehand = f"; {which} had an expected slope written down beforehand" if stated else ""
        notes.append(f"{len(cut)} panels were compared, {len(cut)} chances to be fooled{beforehand}.")
    if study.hypothesis:
        notes.append(f"Expected beforehand: {clean(study.hypothesis)}")
    if study.refinements:
        notes.append(looks(study.refinements))
    return notes


def looks(refinements: int) -> str:
    """How often trials were added after a look at results, and what that does to intervals."""
    times = {1: "once", 2: "twice"}.get(refinements, f"{refinements} times")
    return f"Refined {times} after a look at the results: intervals are adaptive, and may be too narrow."


def show_cells(out: Console, cut: Sequence[Panel], study: Declared) -> None:
    """Print every cell, panel by panel."""
    for panel in cut:
        if len(cut) > 1:
            out.print(Text(clean(panel.name), "bold"))
        out.print(cells_table(panel, study))


def cells_table(panel: Panel, study: Declared) -> Table:
    """A line a cell: its axes, replicates, mean, 95% t-interval, and how many diverged or failed."""
    candidates = dict.fromkeys([*panel.axes, *(study.analysis.keys.values() if study.analysis else ())])
    keys = [key for key in candidates if len({cell.coordinate(key) for cell in panel.cells}) > 1]
    failed = any(cell.failed for cell in panel.cells)
    numbers = ["n", study.metric, "95% interval", "diverged", *["failed"] * failed]
    heads = [leaf(key) for key in keys]
    made = table(*heads, *numbers, right={*heads, *numbers})
    named = {key: labels((cell.coordinate(key) for cell in panel.cells), fractions=not _is_decay(key)) for key in keys}
    for cell in panel.cells:
        mean = None if cell.mean is None else figure(cell.mean, 4)
        values = [cell.n, mean, interval(cell), cell.diverged or "", *[cell.failed or ""] * failed]
        row(made, *(named[key][cell.coordinate(key)] for key in keys), *values)
    return made


def interval(cell: Cell) -> str | None:
    """The 95% t-interval of a cell's mean as text; None where there is none."""
    return " … ".join(figure(bound, 4) for bound in cell.interval) if cell.interval else None


def place(cell: Cell, panel: Panel, study: Declared) -> str:
    """Where a cell lies, in the analysis' words (lr 1/8, wd .04) or else by its axes."""
    return ", ".join(f"{brief(key)} {text}" for key, text in _named(cell, panel, study)) or "its only cell"


def _coordinates(cell: Cell, panel: Panel, study: Declared) -> str:
    return ", ".join(text for _, text in _named(cell, panel, study))


def _named(cell: Cell, panel: Panel, study: Declared) -> list[tuple[str, str]]:
    """The keys that say where a cell lies, and its values of them as text."""
    analysed = tuple(study.analysis.keys.values()) if study.analysis and study.analysis.against else ()
    keys = analysed if all(cell.coordinate(key) is not None for key in analysed) and analysed else panel.axes
    named = []
    for key in keys:
        value = cell.coordinate(key)
        if key in cell.axes and key in panel.axes and not _is_decay(key):
            named.append((key, labels(each.axes[key] for each in panel.cells)[value]))
        elif value is not None:
            named.append((key, decay_text(float(value))))
    return named


def _is_decay(key: str) -> bool:
    """Whether a key is read as a decimal even where all its values are powers of two."""
    return key.endswith("weight_decay")


def expected(panel: Panel) -> str:
    """The slope that was written down beforehand, with its tolerance; a dash if none was."""
    if panel.expect is None:
        return "—"
    return f"{short(panel.expect.slope)}±{short(panel.expect.tolerance)}"

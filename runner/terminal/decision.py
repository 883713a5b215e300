"""What to take from a study and what to add to it, as text. Draws, decides nothing."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from thalweg.runner.base.canonical import Scalar
from thalweg.runner.cells.cells import Cell, Panel
from thalweg.runner.decide import Bound, Candidate, Move, Recommendation, Stuck, difference, nothing_more
from thalweg.runner.show.numbers import as_good, count, duration, figure, labels, spoken
from thalweg.runner.study.study import Study
from thalweg.runner.terminal.answer import place, show_notes
from thalweg.runner.terminal.text import clean, row, table
from thalweg.runner.view import StudyView

LABEL = 13


def show_recommendations(out: Console, view: StudyView) -> None:
    """Print what to take of each panels that can be compared, how sure that is, and what would make it surer."""
    found = view.recommendations
    if not found:
        out.print(Text(clean(_nothing(view))))
    show_stuck(out, view.stuck)
    for each in found:
        if len(found) > 1:
            out.print(Text(clean(f"{_where(each)}:"), "bold"))
        _show_one(out, each, view.study)
    if nothing_more := _nothing_more(view):
        out.print(Text(clean(nothing_more)))
    show_notes(out, view.notes)


def _where(found: Recommendation) -> str:
    """Of which panels it is: of which data, and where on keys that never differ alone."""
    return ", ".join(filter(None, (f"On {found.data}", found.apart)))


def _show_one(out: Console, found: Recommendation, study: Study) -> None:
    chosen = found.chosen
    _line(out, "take", _taken(chosen, study), style="bold")
    _line(out, "as good", _as_good(chosen, study))
    for bound in found.bounds:
        _line(out, "learning rate" if bound.kind == "largest rate" else "warmup", _bound(bound, chosen.panel))
    if found.test:
        values = ", ".join(f"{name.partition('/')[2].replace('_', ' ')} {_mean(cell)}" for name, cell in found.test)
        _line(out, "test", f"{values}: read for this cell alone, after it was chosen")
    if len(found.candidates) > 1:
        _others(out, found.candidates, study)
    if found.moves:
        out.print()
        out.print(Text("What would make this surer:", "bold"))
        show_moves(out, found.moves)
    if found.rivals:
        panels = count(found.rivals, "other panel")
        out.print(
            Text(f"{panels[0].upper()}{panels[1:]} may be as good: more seeds there would tell (refine --panel NAME).")
        )
    out.print()


def show_stuck(out: Console, lost: Sequence[Stuck]) -> None:
    """Print which panels have nothing to take, why, and the rates to try there."""
    for each in lost:
        out.print(Text(clean(f"{each.panel.name}: nothing to take: {each.why}."), "bold"))
    asked = [move for each in lost for move in each.moves]
    if asked:
        out.print(Text("What to try first:", "bold"))
        show_moves(out, asked)
        out.print()


def show_moves(out: Console, moves: Sequence[Move]) -> None:
    """Print moves, a paragraph each: what, how many trials, why, and what they are expected to change."""
    for panel in dict.fromkeys(move.panel for move in moves):
        if panel:
            out.print(Text(clean(panel), "bold"))
        for move in (each for each in moves if each.panel == panel):
            what = f"{move.what} ({count(len(move.members), 'trial')})" if panel else move.what
            _line(out, move.kind, f"{what}: {move.why}; {move.effect}")


def cost(moves: Sequence[Move], seconds_a_trial: float | None) -> str:
    """How many trials moves add, and about how long one core trains them."""
    trials = sum(len(move.members) for move in moves)
    about = f", about {duration(trials * seconds_a_trial)} of one core" if seconds_a_trial else ""
    return f"{count(trials, 'trial')}{about}"


def _line(out: Console, label: str, text: str, style: str = "") -> None:
    """A labelled paragraph, folded under its label's right."""
    wrapped = Text(clean(text), style).wrap(out, out.width - LABEL - 1)
    for number, part in enumerate(wrapped):
        part.rstrip()
        out.print(Text.assemble((f"{label if number == 0 else '':<{LABEL}} ", "dim"), part))


def _taken(chosen: Candidate, study: Study) -> str:
    best = chosen.near.best
    where = f"{chosen.panel.name}: " if len(study.blocks) > 1 else ""
    seeds = count(best.n, study.replicate or "trial")
    return f"{where}{place(best, chosen.panel, study, spoken)}   {study.metric} {_mean(best)}, {seeds}"


def _mean(cell: Cell) -> str:
    """The mean of a cell with its 95% interval, where it has one."""
    if cell.mean is None:
        return "—"
    between = f" [{', '.join(figure(end) for end in cell.interval)}]" if cell.interval else ""
    return f"{figure(cell.mean)}{between}"


def _as_good(chosen: Candidate, study: Study) -> str:
    near = chosen.near
    if near.margin is None:
        return f"not known: {count(near.best.n, study.replicate or 'trial')} a cell does not show how much seeds differ"
    spans = "; ".join(_span(key, low, high, chosen.panel) for key, low, high in chosen.spans)
    within = difference(near.margin, near.best)
    if near.of == 1:
        return as_good(0, 0)
    if len(near.cells) == 1:
        return f"{as_good(0, near.of - 1)}: more than the noise of {within} apart"
    return f"{len(near.cells):,} of {near.of:,} usable cells, within the noise ({within}): {spans}"


def _span(key: str, low: Scalar, high: Scalar, panel: Panel) -> str:
    named = labels(cell.axes[key] for cell in panel.cells if key in cell.axes)
    return f"{spoken(key)} {named[low]}" + (f" … {named[high]}" if high != low else "")


def _bound(bound: Bound, panel: Panel) -> str:
    named = labels(cell.axes[bound.key] for cell in panel.cells if bound.key in cell.axes)
    if bound.value is None and bound.kind == "largest rate":
        return f"none is safe: {bound.why} at the learning rate to take"
    if bound.value is None:
        return f"no length is enough at this learning rate: {bound.why}"
    value = named[bound.value]
    if bound.kind == "smallest warmup":
        shorter = f", more than {named[bound.next]}" if bound.next is not None else ""
        return f"enough at this learning rate: {value}{shorter}; {bound.why}"
    reach = f"up to {value}" if bound.next is not None else f"up to {value} at least"
    return f"trains {reach}, if nothing else is changed: {bound.why}{_chance(bound)}"


def _chance(bound: Bound) -> str:
    if not bound.chance:
        return ""
    return f"; with {count(bound.n, 'seed')} the true failure rate could still be {100 * bound.chance:.0f}%"


def _others(out: Console, candidates: Sequence[Candidate], study: Study) -> None:
    made = table("panel", study.metric, "worse by", "as good", "at", right={study.metric, "worse by", "as good"})
    tied = candidates[0].near.margin
    for each in candidates[1:]:
        best = each.near.best
        behind = (
            f"{difference(each.behind, best)}{' (within noise)' if tied is not None and each.behind <= tied else ''}"
        )
        mean = None if best.mean is None else figure(best.mean)
        row(made, each.panel.name, mean, behind, len(each.near.cells), place(best, each.panel, study))
    out.print()
    out.print(made)


def _nothing(view: StudyView) -> str:
    if not view.ended:
        return "nothing is trained yet, so there is nothing to recommend"
    trained = sum(row.has_ended for row in view.rows if not row.outside)
    return f"nothing to recommend: none of {count(trained, 'trial')} ended with a usable {view.study.metric}"


def _nothing_more(view: StudyView) -> str:
    """Why no trial would make the choice surer, where that is so."""
    found = view.recommendations
    unsure = any(each.moves or each.rivals for each in found) or any(each.chosen.near.margin is None for each in found)
    if not found or view.unfinished is not None or unsure:
        return ""
    return f"Nothing more is proposed: {nothing_more([each.chosen.panel for each in found], view.study)}."

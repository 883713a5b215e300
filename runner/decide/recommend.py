"""What to take from a study: the cell chosen on validation, all that are as good, and how far the rate and warmup go.

A bound says what was seen, not what is safe for ever: its chance of being wrong is stated with it. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from thalweg.runner.base.canonical import Scalar
from thalweg.runner.cells.cells import Cell, NearOptimal, Panel, ranked
from thalweg.runner.cells.health import Health
from thalweg.runner.decide.ladder import Ladder, ladders, number
from thalweg.runner.decide.moves import Move, moves, rate_of, unfinished
from thalweg.runner.facts.row import Row, lookup
from thalweg.runner.show.numbers import count, is_number, labels
from thalweg.runner.study.study import Study

WARMUP = "schedule.warmup"
"""The axis of warmup where a study's questions do not name it."""

ENDED = {
    Health.GUESS: f"they ended {Health.GUESS}",
    Health.UNHEALTHY: f"they ended with an {Health.UNHEALTHY}",
    Health.FAILED: "they failed",
    Health.PRUNED: "they were stopped early, so that nothing is known of it",
}


@dataclass(frozen=True)
class Bound:
    """How far an axis goes, all else as in the chosen cell.

    value: the last one tested that does; None where none does, for the reason that `why` gives. next: the nearest one
    beyond that does not; None where none was tested, so that the bound may lie further out. n: trials seen at `value`.
    chance: 95% upper bound on the share of seeds that would not, as none of n did not. Both values are tested ones:
    the bound lies between them.
    """

    key: str
    kind: Literal["largest rate", "smallest warmup"]
    value: Scalar | None
    next: Scalar | None
    n: int
    chance: float | None
    why: str


@dataclass(frozen=True)
class Candidate:
    """What one panel offers: its near-optimal set, and the span of each axis over it."""

    panel: Panel
    near: NearOptimal
    behind: float  # in score, of its best to the best of all
    spans: tuple[tuple[str, Scalar, Scalar], ...]


@dataclass(frozen=True)
class Recommendation:
    """What to take of panels that can be compared, how sure that is, and what would make it surer.

    data: its name. apart: where these panels lie on keys that never differ alone. candidates: best panel first.
    rivals: how many other panels cannot be told from the first. moves: of the first panel.
    """

    data: str
    apart: str
    candidates: tuple[Candidate, ...]
    bounds: tuple[Bound, ...]
    test: tuple[tuple[str, Cell], ...]  # of the chosen cell alone
    moves: tuple[Move, ...]
    rivals: int

    @property
    def chosen(self) -> Candidate:
        """The panel with the best cell."""
        return self.candidates[0]


def on_validation(metric: str) -> str:
    """The metric to decide by: a study may ask about training, but what to take is a question about new data."""
    return metric.replace("train/", "val/")


def recommend(panels: Sequence[Panel], rows: Sequence[Row], study: Study) -> list[Recommendation]:
    """Choose on the mean of the study's metric over replicates, among panels that can be compared with each other.

    Not compared are panels of different data, and those that differ in keys of which nobody can say which one made the
    difference. Test metrics are read for the chosen cells alone.
    """
    whole = unfinished(row for row in rows if not row.outside) is None
    comparable: dict[tuple[str, str, str], list[tuple[Panel, NearOptimal]]] = {}
    for panel in panels:
        if (near := panel.near) is not None:
            of = panel.data, panel.block if panel.entangled else "", panel.apart
            comparable.setdefault(of, []).append((panel, near))
    return [_recommend(usable, study, whole) for usable in comparable.values()]


def _recommend(usable: list[tuple[Panel, NearOptimal]], study: Study, whole: bool) -> Recommendation:
    first = ranked(near.best for _, near in usable)[0]
    usable.sort(key=lambda pair: (pair[1].best is not first, pair[1].best.score))
    candidates = tuple(
        Candidate(panel, near, near.best.score - usable[0][1].best.score, _spans(panel, near)) for panel, near in usable
    )
    chosen = candidates[0]
    best, noise = chosen.near.best, chosen.near.margin or 0.0
    return Recommendation(
        data=str(lookup(best.rows[0].config, "dataset.name")),
        apart=chosen.panel.apart,
        candidates=candidates,
        bounds=_bounds(chosen, study),
        test=tuple((name, best.measuring(name)) for name in best.test_metrics),
        moves=tuple(moves([chosen.panel], study)) if whole else (),
        rivals=sum(each.behind <= noise for each in candidates[1:]),
    )


def _spans(panel: Panel, near: NearOptimal) -> tuple[tuple[str, Scalar, Scalar], ...]:
    """Smallest and largest value of each numeric axis over the near-optimal set; others where they agree."""
    spans = []
    for key in panel.axes:
        values = [cell.axes[key] for cell in near.cells if key in cell.axes]
        numbers = [value for value in values if is_number(value)]
        if values and len(numbers) == len(values):
            spans.append((key, min(numbers), max(numbers)))
    return tuple(spans)


def _bounds(chosen: Candidate, study: Study) -> tuple[Bound, ...]:
    warmup = next((each.warmup for each in study.analyses if each.warmup), WARMUP)
    found = [_largest_rate(chosen, rate_of(study)), _smallest_warmup(chosen, warmup)]
    return tuple(bound for bound in found if bound is not None)


def _through_best(chosen: Candidate, key: str) -> Ladder | None:
    """The cells that differ from the chosen one in `key` alone; None if it is no numeric axis of the panel."""
    if key not in chosen.panel.axes:
        return None
    best = chosen.near.best
    for line in ladders(chosen.panel.cells, key, chosen.panel.axes):
        rungs = (*line.cells, line.zero) if line.zero else line.cells
        if any(cell is best for cell in rungs):
            return replace(line, cells=tuple(sorted(rungs, key=line.at)), zero=None)
    return None


def _largest_rate(chosen: Candidate, key: str) -> Bound | None:
    """The largest rate such that at it, and at every one tested between, each seed trained."""
    line = _through_best(chosen, key)
    if line is None:
        return None
    at = next(i for i, cell in enumerate(line.cells) if cell is chosen.near.best)
    if chosen.near.best.stuck:
        return Bound(key, "largest rate", None, None, line.cells[at].n, None, _failed(line.cells[at]))
    while at + 1 < len(line.cells) and line.cells[at + 1].usable and not line.cells[at + 1].stuck:
        at += 1
    last, beyond = line.cells[at], line.cells[at + 1] if at + 1 < len(line.cells) else None
    seeds = count(last.n, "seed")
    if beyond is None:
        larger = any(is_number(rate := cell.coordinate(key)) and rate > line.at(last) for cell in chosen.panel.cells)
        elsewhere = " with all else as it is" if larger else ""
        why = f"{seeds} trained there, and no larger learning rate was tested{elsewhere}"
    else:
        value = labels(cell.axes[key] for cell in line.cells)[beyond.axes[key]]
        why = f"{seeds} trained there; {_failed(beyond)} at {value}"
    further = None if beyond is None or beyond.health is Health.PRUNED else beyond.axes[key]
    return Bound(key, "largest rate", last.axes[key], further, last.n, _chance(last.n), why)


def _smallest_warmup(chosen: Candidate, key: str) -> Bound | None:
    """The smallest warmup from which on every longer one tested is as good as the best at this rate."""
    line = _through_best(chosen, key)
    best = line.best if line else None
    if line is None or best is None or chosen.near.margin is None:
        return None
    limit = best.score + chosen.near.margin
    at = len(line.cells)
    while at and line.cells[at - 1].usable and line.cells[at - 1].score <= limit:
        at -= 1
    if at == len(line.cells):
        why = "even the longest one tested is clearly worse than the best result at this learning rate"
        return Bound(key, "smallest warmup", None, None, best.n, None, why)
    enough, shorter = line.cells[at], line.cells[at - 1] if at else None
    why = "longer ones are not clearly better or worse"
    if shorter is None and number(enough, key):
        why = f"{why}, and a shorter one was not tested"
    if shorter is not None and shorter.health is Health.PRUNED:
        why, shorter = f"{why}, and a shorter one was stopped early", None
    below = None if shorter is None else shorter.axes[key]
    return Bound(key, "smallest warmup", enough.axes[key], below, enough.n, None, why)


def _failed(cell: Cell) -> str:
    """What became of a cell that did not train."""
    if cell.diverged:
        return f"{cell.diverged} of {len(cell.rows)} diverged"
    if cell.usable:
        return f"{cell.stuck} of {count(cell.n, 'seed')} ended {Health.GUESS}"
    return ENDED.get(cell.health, "none was trained yet")


def _chance(n: int) -> float:
    """Largest probability of failure that n trials without one leave possible, at 95% (Clopper-Pearson)."""
    return 1.0 - math.pow(0.05, 1.0 / n)

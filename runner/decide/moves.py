"""The three moves that make a study tell more: widen an axis, halve a coarse step, add seeds.

Each answers one reason why a best cell is not known better: the grid ends there, its step is coarse, or the seeds
scatter. Where a finer or wider grid would not help, none is proposed. The same rows give the same moves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from thalweg.runner.base.canonical import Scalar
from thalweg.runner.cells.cells import Cell, NearOptimal, Panel, ranked
from thalweg.runner.cells.student import t95
from thalweg.runner.decide.ladder import (
    Ladder,
    Limits,
    between,
    beyond,
    is_logarithmic,
    ladder,
    ladders,
    limits,
    number,
    typed,
)
from thalweg.runner.decide.points import member_at, members_of
from thalweg.runner.decide.rescue import rescue
from thalweg.runner.facts.row import Row, lookup
from thalweg.runner.show.numbers import count, is_number, labels, short, spoken
from thalweg.runner.study.study import Block, Member, Study

Kind = Literal["finish", "widen", "halve", "seeds"]
RATE = "optimizer.lr"
"""The axis of the learning rate where a study's questions do not name it."""
KINDS: tuple[Kind, ...] = ("widen", "halve", "seeds")
"""The moves, in the order of what they are worth: a bound is no estimate, and a seed sharpens only what is there."""
STEPS_OUT = 2
"""Points added past an edge: one that only shows the optimum beyond would leave it at the edge again."""
MOST_CELLS = 16
"""Cells that get more seeds: the best ones, where more are as good within the noise."""
FEWEST_SEEDS = 3
MOST = 700.0
"""Beyond this difference of logarithms a share is beyond all floats."""
WELL_KNOWN = "the best lies inside the grid, close to its neighbours, and no other is as good"
NO_AXIS = "there is no axis of numbers to widen or to halve"
DRAWN = (
    "no two points lie side by side on an axis, so that there is none to widen or to halve; more points may find more"
)
INSIDE = "then the grid should hold the best one"
FAR_APART = "a value next to the best one is clearly worse, and far from it"


@dataclass(frozen=True)
class Move:
    """Trials worth adding to one panel. `why` is the reason, `effect` what they are expected to change."""

    kind: Kind
    panel: str
    key: str
    what: str
    why: str
    effect: str
    members: tuple[Member, ...]

    @property
    def document(self) -> dict[str, Any]:
        """What it is, without its trials, as JSON values."""
        keys = ("kind", "panel", "key", "what", "why", "effect")
        return {**{key: getattr(self, key) for key in keys}, "trials": len(self.members)}


def unfinished(rows: Iterable[Row]) -> Move | None:
    """Return the declared trials that were never trained, which come before any other; None if there are none."""
    left = [row for row in rows if row.outcome is None and not row.outside]
    if not left:
        return None
    why = "declared, and not trained yet"
    return Move("finish", "", "", count(len(left), "trial"), why, "the study is whole", tuple(members_of(left)))


def moves(panels: Sequence[Panel], study: Study, kinds: Sequence[Kind] = KINDS) -> list[Move]:
    """Return the moves of every panel, panel by panel. Trials are proposed once.

    A panel without a usable cell has one: other rates.
    """
    seen = {row.trial_id for panel in panels for cell in panel.cells for row in cell.rows}
    blocks = {block.name: block for block in study.blocks}
    found = []
    for panel in panels:
        block = blocks.get(panel.block)
        asked = _rescues(panel, study, block, seen) if panel.best is None else _Panel(panel, study, block, seen).moves()
        found += [move for move in asked if move.members and move.kind in kinds]
    return found


def nothing_more(panels: Sequence[Panel], study: Study) -> str:
    """Why no trial is proposed for panels that have a best, in words that are true of all; "" where none has one."""
    blocks = {block.name: block for block in study.blocks}
    found = [_Panel(panel, study, blocks.get(panel.block), set()) for panel in panels if panel.best is not None]
    ends = dict.fromkeys(spoken(key) for each in found for key in each.ends())
    axes = [(key, values) for each in found for key, values in each.axes().items()]
    two = dict.fromkeys(spoken(key) for key, values in axes if len(values) == 2)
    said = [f"no value lies beyond: {', '.join(ends)}"] if ends else []
    said += [f"an axis of two values is a comparison, and is not widened: {', '.join(sorted(two))}"] if two else []
    if not said and found:
        said = [NO_AXIS if not axes else WELL_KNOWN if any(each.has_ladder() for each in found) else DRAWN]
    return "; ".join(said)


@dataclass(frozen=True)
class Stuck:
    """A panel that trained and has no usable cell: what was seen there, and the rates to try first, if any."""

    panel: Panel
    why: str
    moves: tuple[Move, ...]


def stuck(panels: Sequence[Panel], rows: Iterable[Row], study: Study) -> list[Stuck]:
    """Return the panels that trained and have nothing to take. Nothing is to be tried before a study is whole."""
    whole = unfinished(rows) is None
    seen = ((panel, rescue(panel.cells, rate_of(study))) for panel in panels)
    return [
        Stuck(panel, found.why, tuple(moves([panel], study)) if whole else ())
        for panel, found in seen
        if found is not None
    ]


def rate_of(study: Study) -> str:
    """The key of the learning rate, as the study's questions name it."""
    return next((each.lr for each in study.analyses), RATE)


def _rescues(panel: Panel, study: Study, block: Block | None, seen: set[str]) -> Iterator[Move]:
    key = rate_of(study)
    found = rescue(panel.cells, key)
    if found is None or found.side is None:
        return
    of_rate = [cell for cell in panel.cells if cell.coordinate(key) == found.like]
    tried = [(row, {key: point}) for point in found.points for cell in of_rate for row in cell.rows]
    made = [member for row, moved in tried if (member := _fresh(row, block, moved, seen))]
    if made:
        effect = "then a learning rate that trains should be found"
        yield Move("widen", panel.name, key, _points(key, made, panel.cells), found.why, effect, tuple(made))


def _fresh(like: Row, block: Block | None, moved: Mapping[str, Scalar], seen: set[str]) -> Member | None:
    """The trial that differs from another in what is moved; None where none can be, or it is there already."""
    member = member_at(like, block, moved)
    if member is None or member.trial.id in seen:
        return None
    seen.add(member.trial.id)
    return member


def _points(key: str, made: Sequence[Member], beside: Iterable[Cell]) -> str:
    """The new values as those beside them are read: few of them one by one, many as their span."""
    values = sorted({value for member in made if is_number(value := member.axes[key])})
    named = labels(dict.fromkeys([*values, *(v for cell in beside if is_number(v := cell.coordinate(key)))]))
    listed = [named[value] for value in values]
    return f"{spoken(key)} {', '.join(listed) if len(listed) <= 4 else f'{listed[0]} … {listed[-1]}'}"


@dataclass
class _Panel:
    panel: Panel
    study: Study
    block: Block | None
    seen: set[str]
    near: NearOptimal = field(init=False)
    undecided: dict[int, Cell] = field(default_factory=dict)  # by identity: cells that only seeds tell apart
    _ends: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        near = self.panel.near
        assert near is not None
        self.near = near
        if len(near.cells) > 1 or near.margin is None:
            self.undecided = {id(cell): cell for cell in near.cells}

    def axes(self) -> dict[str, set[Scalar]]:
        """The numeric axes, and their values."""
        keys = [key for key in self.panel.axes if _varies(self.panel.cells, key)]
        return {key: {cell.axes[key] for cell in self.panel.cells} for key in keys}

    def has_ladder(self) -> bool:
        """Whether the best cell stands among others on an axis."""
        lines = (line for key in self.axes() for line in ladders(self.panel.cells, key, self.panel.axes))
        return any(len(line.cells) > 1 and any(cell is self.near.best for cell in line.cells) for line in lines)

    def ends(self) -> list[str]:
        """The axes that are to be widened where no trial can be."""
        list(self.moves())
        return self._ends

    def moves(self) -> Iterator[Move]:
        inner = self.panel.x or next(iter(self.axes()), None)
        if inner:
            lines = [(line, limits(line, self.near.margin)) for line in self._lines(inner)]
            yield from self._widen([(line, at) for line, at in lines if at and at.edge], inner)
            yield from self._halve([(line, at) for line, at in lines if at and at.coarse], inner)
            for _, at in lines:
                self._leave_to_seeds(at)
        if self.panel.y:
            yield from self._along_ridge(self.panel.y, inner or "")
        yield from self._seeds()

    def _lines(self, key: str) -> list[Ladder]:
        """The ladders whose best matters: those that count in the slope of the valley, where a question is about it;
        else those that the replicates cannot tell from the best, which alone matters where these tell nothing."""
        found = [(line, line.best) for line in ladders(self.panel.cells, key, self.panel.axes) if line.best is not None]
        best = self.near.best
        if any(analysis.kind == "coupling" for analysis in self.study.analyses):
            if not best.by_factors:
                return [line for line, _ in found]
            counts = _counts([own.score - best.score for _, own in found])
            return [line for (line, _), counted in zip(found, counts, strict=True) if counted]
        return [line for line, own in found if own is best or own.score <= best.score + (self.near.margin or 0.0)]

    def _leave_to_seeds(self, at: Limits | None) -> None:
        if at is not None and at.tied:
            self.undecided |= {id(cell): cell for cell in (at.best, *at.tied)}

    def _widen(self, lines: Sequence[tuple[Ladder, Limits]], key: str) -> Iterator[Move]:
        for side in ("below", "above"):
            of_side = [(line, at) for line, at in lines if at.edge == side]
            made = [
                member
                for line, at in of_side
                for point in beyond(line, side, STEPS_OUT)
                for member in self._at(at.best, {key: point})
            ]
            self._ends += [key] if of_side and not made else []
            if made:
                end = "smallest" if side == "below" else "largest"
                where = f" at {count(len(of_side), _rows(self.panel))}" if self.panel.y else ""
                why = f"the {end} value tried is the best one{where}"
                yield self._move("widen", key, _points(key, made, self.panel.cells), why, INSIDE, made)

    def _halve(self, lines: Sequence[tuple[Ladder, Limits]], key: str) -> Iterator[Move]:
        middles = [(at.best, self._middle(line, at.best, beside)) for line, at in lines for beside in at.coarse]
        made = [member for best, point in middles for member in self._at(best, {key: point})]
        if made:
            yield self._move("halve", key, _points(key, made, self.panel.cells), FAR_APART, _closer(key), made)

    def _along_ridge(self, key: str, inner: str) -> Iterator[Move]:
        """The same along the rates: a rung is the best cell of its row, any of them where none is usable."""
        rows: dict[Scalar, list[Cell]] = {}
        for cell in self.panel.cells:
            rows.setdefault(cell.axes[key], []).append(cell)
        rungs = [next(iter(ranked(cells)), cells[0]) for cells in rows.values()]
        ridge = ladder(key, rungs, is_logarithmic(number(cell, key) for cell in rungs))
        at = limits(ridge, self.near.margin)
        if at is None:
            return
        self._leave_to_seeds(at)
        of_row = [cell for cell in self.panel.cells if cell.axes[key] == at.best.axes[key]]
        if at.edge:
            points = beyond(ridge, at.edge, STEPS_OUT)
            made = [m for point in points for cell in of_row for m in self._at(cell, {key: point})]
            self._ends += [] if made else [key]
            why = f"the best {spoken(key)} is the {'largest' if at.edge == 'above' else 'smallest'} one tried"
            yield self._move("widen", key, _points(key, made, self.panel.cells), why, INSIDE, made)
        beside = _beside(of_row, at.best, inner)
        points = [self._middle(ridge, at.best, rung) for rung in at.coarse]
        made = [m for point in points for cell in beside for m in self._at(cell, {key: point})]
        if made:
            yield self._move("halve", key, _points(key, made, self.panel.cells), FAR_APART, _closer(key), made)

    def _seeds(self) -> Iterator[Move]:
        key = self.study.replicate
        if key is None or not self.undecided:
            return
        cells = sorted(self.undecided.values(), key=lambda cell: cell.score)[:MOST_CELLS]
        added = [list(self._more(cell, key)) for cell in cells]
        made = [member for members in added for member in members]
        n, more = cells[0].n, len(made) // len(cells)
        if self.near.margin is None:
            why, effect = "one seed does not show how much seeds differ", "the noise becomes known"
        else:
            more_rows = not {*self.undecided} <= {id(cell) for cell in self.near.cells}
            seeds, close = _span((cell.n for cell in cells), "seed"), count(len(self.undecided), "cell")
            why = f"with {seeds}, {close} are too close to say which is best"
            why += ", of all or of its row" if more_rows else ""
            effect = _sharper(self.near, n, n + more)
        yield self._move(
            "seeds", key, f"{_span(map(len, added))} more at {count(len(cells), 'cell')}", why, effect, made
        )

    def _more(self, cell: Cell, key: str) -> Iterator[Member]:
        """As many seeds again, at least so that there are a few; numbered after all that the panel has."""
        used = (row.axes.get(key, lookup(row.config, key)) for each in self.panel.cells for row in each.rows)
        first = max((int(value) for value in used if isinstance(value, int)), default=-1) + 1
        for seed in range(first, first + max(cell.n, FEWEST_SEEDS - cell.n)):
            yield from self._new(cell.rows[0], {key: seed})

    def _at(self, cell: Cell, moved: Mapping[str, float]) -> Iterator[Member]:
        """The replicates of a new point beside a cell."""
        settled = {key: typed(value, cell.axes[key]) for key, value in moved.items()}
        for row in cell.rows:
            yield from self._new(row, settled)

    def _new(self, like: Row, moved: Mapping[str, Scalar]) -> Iterator[Member]:
        if (member := _fresh(like, self.block, moved, self.seen)) is not None:
            yield member

    def _middle(self, of: Ladder, best: Cell, beside: Cell) -> float:
        low, high = sorted((of.at(best), of.at(beside)))
        return between(low, high, of.logarithmic)

    def _move(self, kind: Kind, key: str, what: str, why: str, effect: str, made: Sequence[Member]) -> Move:
        return Move(kind, self.panel.name, key, what, why, effect, tuple(made))


def _counts(above: Sequence[float]) -> list[bool]:
    """Which rows count at all in a slope, given how far their best lies above the best of all."""
    import numpy as np  # which most that decide go without

    from thalweg.runner.cells.nearness import near, reach

    far = np.array(above)
    return [bool(weight > 0) for weight in near(far, reach(far, np.ones(len(far))))]


def _rows(panel: Panel) -> str:
    """What a row of a panel is: most often a learning rate."""
    return spoken(panel.y) if panel.y and panel.y.endswith(".lr") else "row"


def difference(score: float, of: Cell) -> str:
    """A difference in score of cells like `of` as it is read: of a loss a share, of others the difference itself."""
    return f"{short(100 * math.expm1(min(score, MOST)), 2)}%" if of.by_factors else short(score, 2)


def _span(numbers: Iterable[int], noun: str = "") -> str:
    """From the least to the most of some numbers, with their noun: 3 seeds, 2 to 3 seeds."""
    found = sorted(set(numbers))
    least = f"{found[0]:,} to " if len(found) > 1 else ""
    return least + (count(found[-1], noun) if noun else f"{found[-1]:,}")


def _varies(cells: Sequence[Cell], key: str) -> bool:
    return all(is_number(cell.axes.get(key)) for cell in cells)


def _beside(row: Sequence[Cell], best: Cell, inner: str) -> list[Cell]:
    """The best of a row and its neighbours."""
    ranked = sorted(row, key=lambda cell: number(cell, inner))
    at = next(i for i, cell in enumerate(ranked) if cell is best)
    return ranked[max(0, at - 1) : at + 2]


def _sharper(near: NearOptimal, n: int, then: int) -> str:
    """What more seeds at the undecided cells are expected to do to the set that is as good as the best."""
    assert near.margin is not None
    freedom = max(1, near.freedom)
    margin = near.margin * math.sqrt(n / then) * t95(freedom + len(near.cells) * (then - n)) / t95(freedom)
    left = sum(cell.score <= near.best.score + margin for cell in near.cells)
    before, after = (difference(each, near.best) for each in (near.margin, margin))
    return f"the noise should fall from {before} to {after}, and about {left} of {len(near.cells)} cells stay as good"


def _closer(key: str) -> str:
    return f"the best {spoken(key)} is then known more closely"

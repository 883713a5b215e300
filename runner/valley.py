"""Where the valley of a panel runs: each row's best weight decay, and one measured sentence. No slope is estimated.

A best cell at the grid's edge or beside a cell that cannot be used is a bound; decay 0 is a cell of its own, not
the logarithm of 0; rows with fewer than four usable cells or far from the best row's loss do not count.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from runner.canonical import Scalar
from runner.figures import is_number, labels, short
from runner.summary import UNTRAINED_LOSS, Cell, Declared, Panel, chance_loss

FEWEST_CELLS = 4
FEWEST_ROWS = 4
FAR = 0.15
"""A row whose best log loss is this much above the best row's (16%) says little about where the valley is."""


class Where(Enum):
    """Why a row's best cell is an estimate or not; the value is the phrase shown for a number of such rows."""

    INSIDE = "inside the grid"
    EDGE = "on the grid's edge"
    BESIDE_DIVERGED = "beside a diverged cell"
    BESIDE_UNTRAINED = "beside a cell not trained yet"
    FEW = f"with fewer than {FEWEST_CELLS} usable cells"
    GUESS = "no better than guessing"
    FAR = "more than 16% above the best loss"


@dataclass(frozen=True)
class RowBest:
    """The best cell of one row. `side` is < or > where the true best lies at or beyond `wd` on that side."""

    y: Scalar
    cell: Cell
    wd: float
    where: Where
    side: str = ""

    @property
    def counts(self) -> bool:
        """Whether the row says where the valley is."""
        return self.where is Where.INSIDE


@dataclass(frozen=True)
class Valley:
    """The best cells of a panel's rows, rows ascending, and the names of what is traded against what."""

    panel: Panel
    rows: tuple[RowBest, ...]
    rate_key: str
    decay_key: str

    @property
    def counted(self) -> list[RowBest]:
        """The rows that say where the valley is."""
        return [row for row in self.rows if row.counts]

    @property
    def known(self) -> bool:
        """Whether rows enough count for a sentence about direction."""
        return len(self.counted) >= FEWEST_ROWS


def valley(panel: Panel, study: Declared) -> Valley | None:
    """Return the row-wise best of a panel with two numeric axes; None for others or before any row has a result."""
    if panel.y is None or panel.x is None or panel.best is None:
        return None
    key = (study.analysis and study.analysis.against) or panel.x
    if not all(is_number(cell.coordinate(key)) for cell in panel.cells):
        key = panel.x
    apart = study.analysis is not None or key.endswith("weight_decay")
    rows = []
    for y in panel.row_values:
        cells = [panel.grid[y, x] for x in panel.column_values if (y, x) in panel.grid]
        found = _row_best(y, cells, key, apart)
        if found:
            rows.append(found)
    return Valley(panel, tuple(_drop_far(rows)), panel.y, key)


def sentence(found: Valley) -> str:
    """Say in one sentence how each row's best moves along the panel, or why that is not known."""
    rate, decay = leaf(found.rate_key), leaf(found.decay_key)
    if not found.known:
        return _unknown(found, decay)
    kept = found.counted
    named = labels(found.panel.row_values)
    span = f"from {rate} {named[kept[0].y]} to {named[kept[-1].y]} the best {decay}"
    return f"{span} {_movement(found)} ({_tally(found)})"


def movement(found: Valley) -> str:
    """The change of the best alone, for a table: 1.3→6.2e-4; a dash where it is not known."""
    if not found.known:
        return "—"
    return f"{decay_text(found.counted[0].wd)}→{decay_text(found.counted[-1].wd)}"


def span(found: Valley) -> str:
    """The rows that `movement` speaks of: 1/256→8; a dash where it is not known."""
    named = labels(found.panel.row_values)
    return f"{named[found.counted[0].y]}→{named[found.counted[-1].y]}" if found.known else "—"


def leaf(key: str) -> str:
    """The last part of a key in the words of a sentence."""
    return key.rpartition(".")[2].replace("weight_decay", "weight decay")


def brief(key: str) -> str:
    """The last part of a key as a heading: wd for weight decay."""
    return leaf(key).replace("weight decay", "wd")


def decay_text(value: float) -> str:
    """A best value with the two digits that a grid can justify."""
    return short(value, 2)


def _row_best(y: Scalar, cells: Sequence[Cell], key: str, apart: bool) -> RowBest | None:
    ranked = sorted(((float(cell.coordinate(key)), cell) for cell in cells), key=lambda pair: pair[0])
    ladder = [pair for pair in ranked if pair[0] > 0 or not apart]
    usable = [i for i, (_, cell) in enumerate(ladder) if cell.usable]
    if not usable:
        return None
    at = min(usable, key=lambda i: ladder[i][1].score)
    wd, cell = ladder[at]
    if _is_guess(cell):
        return RowBest(y, cell, wd, Where.GUESS)
    if len(usable) < FEWEST_CELLS:
        return RowBest(y, cell, wd, Where.FEW)
    none = next((c for value, c in ranked if apart and value == 0 and c.usable), None)
    if none is not None and none.score < cell.score:
        return RowBest(y, none, ladder[0][0], Where.EDGE, "<")
    where, side = _place(ladder, at)
    return RowBest(y, cell, wd, where, side)


def _place(ladder: Sequence[tuple[float, Cell]], at: int) -> tuple[Where, str]:
    """Whether the cell at that place is an estimate, a bound from above (<) or one from below (>)."""
    for neighbour, side in ((at + 1, ">"), (at - 1, "<")):
        if not 0 <= neighbour < len(ladder):
            return Where.EDGE, side
        beside = ladder[neighbour][1]
        if not beside.usable:
            ended = beside.diverged or beside.n
            return Where.BESIDE_DIVERGED if ended else Where.BESIDE_UNTRAINED, side
    return Where.INSIDE, ""


def _is_guess(cell: Cell) -> bool:
    chance = chance_loss(cell.rows[0].config, cell.metric)
    return chance is not None and math.exp(cell.score) >= UNTRAINED_LOSS * chance


def _drop_far(rows: Sequence[RowBest]) -> list[RowBest]:
    if not rows or not rows[0].cell.metric.endswith("loss"):
        return list(rows)
    limit = min(row.cell.score for row in rows) + FAR
    return [
        RowBest(row.y, row.cell, row.wd, Where.FAR) if row.counts and row.cell.score > limit else row for row in rows
    ]


def _movement(found: Valley) -> str:
    kept = found.counted
    first, last = kept[0].wd, kept[-1].wd
    low, high = min(row.wd for row in kept), max(row.wd for row in kept)
    step = _step(found.panel, found.decay_key)
    if low == high:
        return f"stays at {decay_text(low)}"
    if low > 0 and max(first, last) / min(first, last) <= step * 1.01:
        verb = "stays" if high / low <= step**2 * 1.01 else "moves"
        return f"{verb} between {decay_text(low)} and {decay_text(high)}"
    return f"{'falls' if last < first else 'rises'} from {decay_text(first)} to {decay_text(last)}"


def _step(panel: Panel, key: str) -> float:
    """The largest ratio between neighbouring columns of a row: moves no larger than this are the grid's."""
    step = 1.0
    for y in panel.row_values:
        values = sorted(float(panel.grid[y, x].coordinate(key)) for x in panel.column_values if (y, x) in panel.grid)
        positive = [value for value in values if value > 0]
        step = max([step, *(b / a for a, b in itertools.pairwise(positive))])
    return step


def _tally(found: Valley) -> str:
    total, kept = len(found.panel.row_values), len(found.counted)
    if kept == total:
        return f"{kept} of {total} rows inside the grid"
    return f"{kept} of {total} rows used; left out: {_reasons(found)}"


def _reasons(found: Valley) -> str:
    reasons = Counter(row.where for row in found.rows if not row.counts)
    parts = [f"{number} {where.value}" for where, number in reasons.most_common()]
    empty = len(found.panel.row_values) - len(found.rows)
    return ", ".join([*parts, *([f"{empty} without a usable cell"] if empty else [])])


def _unknown(found: Valley, decay: str) -> str:
    total, edge = len(found.panel.row_values), sum(row.where is Where.EDGE for row in found.rows)
    advice = _advice(found)
    if edge > total / 2:
        return f"optimum on the grid's edge in {edge} of {total} rows{advice}"
    kept = len(found.counted)
    reasons = _reasons(found)
    return (
        f"where the best {decay} runs is not known: {kept} of {total} rows can be used, {FEWEST_ROWS} are needed"
        f"{f' ({reasons})' if reasons else ''}{advice}"
    )


def _advice(found: Valley) -> str:
    """Which axis to widen, and where, if a row's best lies on an edge."""
    assert found.panel.x is not None
    sides = {row.side for row in found.rows if row.where is Where.EDGE}
    columns = [float(x) for x in found.panel.column_values if is_number(x) and x != 0]
    ends = {"<": ("below", min(columns, default=0.0)), ">": ("above", max(columns, default=0.0))}
    where = [f"{word} {short(end, 2)}" for side, (word, end) in ends.items() if side in sides]
    return f": widen {found.panel.x} {' and '.join(where)}" if where else ""

"""Rows folded over replicates: cells, panels and the near-optimal set. Pure; knows no store and no terminal.

One rule ranks cells, wherever a best one is named: the lowest mean over replicates (the highest, of what is best
large), as it is shown, among the cells that may be chosen (`health`) and have more than half of the replicates that
the fullest of them has. How far apart two are is a share of a loss, and the difference itself of anything else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from thalweg.optim.duration import unit_of
from thalweg.runner.base.canonical import Scalar, canonical_json
from thalweg.runner.cells.apart import alone, besides
from thalweg.runner.cells.health import Health, ceiling, guess_of, health, is_guess, is_loss, measured
from thalweg.runner.cells.noise import NEAR, interval, mean_of, pooled
from thalweg.runner.facts.coordinates import coordinate, has
from thalweg.runner.facts.observation import Outcome
from thalweg.runner.facts.row import Row, lookup
from thalweg.runner.show.numbers import is_number, labels
from thalweg.runner.study.study import Block, Expectation, Study
from thalweg.runner.study.trial import NOT_CONFIGURED


@dataclass(frozen=True)
class Cell:
    """The replicates of one point of a grid. Rows are in declared order.

    limit: the loss from which a replicate is not healthy, as the whole block's losses and a guess have it. signed: a
    loss of the block is 0 or less, so that its losses are compared by differences.
    """

    axes: Mapping[str, Scalar]  # without the replicate axis
    rows: tuple[Row, ...]
    metric: str
    direction: Literal["min", "max"]
    limit: float = math.inf
    signed: bool = False

    @cached_property
    def values(self) -> tuple[float, ...]:
        """The metric of each finished replicate."""
        return measured(self.rows, self.metric)

    @cached_property
    def n(self) -> int:
        """Number of replicates the mean is over."""
        return len(self.values)

    @cached_property
    def diverged(self) -> int:
        """Number of diverged replicates."""
        return sum(row.outcome is Outcome.DIVERGED for row in self.rows)

    @cached_property
    def failed(self) -> int:
        """Number of failed replicates."""
        return sum(row.outcome is Outcome.FAILED for row in self.rows)

    @property
    def pruned(self) -> bool:
        """Whether it has no result since the study's rule stopped it early."""
        return self.health is Health.PRUNED

    @cached_property
    def mean(self) -> float | None:
        """Mean of the metric over replicates; None if any diverged or none has finished."""
        return mean_of(self.values) if self.values and not self.diverged else None

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """The 95% t-interval of the mean over replicates; None without a mean or with a single replicate."""
        return None if self.mean is None else interval(self.values, self.metric)

    @cached_property
    def health(self) -> Health:
        """What became of it; only a usable cell can be chosen."""
        return health(self.rows, self.metric, self.limit)

    @cached_property
    def stuck(self) -> int:
        """Number of finished replicates that are by themselves no better than guessing."""
        return sum(is_guess([row], self.metric) for row in self.rows)

    @cached_property
    def usable(self) -> bool:
        """Whether the cell can be chosen."""
        return self.health is Health.USABLE

    @cached_property
    def scores(self) -> tuple[float, ...]:
        """The metric of each replicate on the scale that cells are compared on, lower is better: log of a loss."""
        return tuple(self._scored(value) for value in self.values)

    @cached_property
    def score(self) -> float:
        """The mean on the scale that cells are compared on, lower is better."""
        return self._scored(mean_of(self.values))

    @property
    def by_factors(self) -> bool:
        """Whether scores are logarithms, so that their differences are shares: of losses above 0, best small."""
        return is_loss(self.metric) and self.direction == "min" and not self.signed

    def _scored(self, value: float) -> float:
        if self.by_factors:
            return math.log(max(value, 1e-300))
        return value if self.direction == "min" else -value

    @property
    def test_metrics(self) -> list[str]:
        """The names of the metrics that were measured on the test split."""
        return sorted({name for row in self.rows for name in row.metrics if name.startswith("test/")})

    def measuring(self, metric: str) -> Cell:
        """The same replicates judged by another metric."""
        return replace(self, metric=metric, limit=math.inf, signed=False)

    def coordinate(self, key: str) -> Any:
        """The cell's value of an axis or of a configuration key; None if it has neither."""
        return self.axes[key] if key in self.axes else coordinate(self.rows[0].config, key)


@dataclass(frozen=True)
class Panel:
    """One grid of cells: a block, at one combination of its axes other than the two that are drawn.

    `axes` are the keys that vary over the block, in declared order; `y` and `x` those of rows and columns, None
    where fewer than two numeric axes vary. `entangled`: those among the axes that differ from panel to panel, and
    never without another key, so that a difference between such panels is nothing that one key did.
    """

    name: str
    block: str
    cells: tuple[Cell, ...]
    axes: tuple[str, ...] = ()
    y: str | None = None
    x: str | None = None
    entangled: tuple[str, ...] = ()
    expect: Expectation | None = None
    grid: Mapping[tuple[Scalar, Scalar], Cell] = field(default_factory=dict)

    @cached_property
    def row_values(self) -> tuple[Scalar, ...]:
        """The values of the row axis, ascending."""
        return tuple(sorted({y for y, _ in self.grid}, key=_order))

    @cached_property
    def column_values(self) -> tuple[Scalar, ...]:
        """The values of the column axis, ascending; 0 comes first."""
        return tuple(sorted({x for _, x in self.grid}, key=_order))

    @cached_property
    def near(self) -> NearOptimal | None:
        """The best cell with all that are as good; None where none is usable."""
        return near_optimal(self.cells)

    @property
    def best(self) -> Cell | None:
        """The cell that `ranked` puts first."""
        return self.near.best if self.near else None

    @property
    def data(self) -> str:
        """What its trials learn from, as text: results on other data are not to be compared with its own."""
        return canonical_json(lookup(self.cells[0].rows[0].config, "dataset"))

    @cached_property
    def apart(self) -> str:
        """Where it lies on the keys that never differ alone, as text: it is not compared with a panel elsewhere."""
        return _suffix(self.cells[0], self.entangled)

    @cached_property
    def scores(self) -> tuple[float, float] | None:
        """The lowest and the highest score of a usable cell; None where none is usable."""
        found = [cell.score for cell in self.cells if cell.usable]
        return (min(found), max(found)) if found else None

    @property
    def trained(self) -> int:
        """Number of trials that ended."""
        return sum(row.has_ended for cell in self.cells for row in cell.rows)

    @property
    def pruned(self) -> int:
        """Number of trials that the study's rule stopped early."""
        return sum(row.pruned is not None for cell in self.cells for row in cell.rows)

    @property
    def wanted(self) -> int:
        """Number of trials declared."""
        return sum(len(cell.rows) for cell in self.cells)


def fold(rows: Iterable[Row], study: Study) -> list[Cell]:
    """Fold rows over the replicate axis, in order of first appearance. Members outside the study are left out.

    Rows of one cell differ in nothing but their replicate, and cells in nothing but their axes: a key that only some
    of a study's declarations set is an axis too.
    """
    by_block: dict[str, list[Row]] = {}
    for row in rows:
        if not row.outside:
            by_block.setdefault(row.block, []).append(row)
    return [cell for members in by_block.values() for cell in _fold_block(members, study)]


def panels(rows: Iterable[Row], study: Study) -> list[Panel]:
    """Cut a study into panels: blocks in order, and within a block one for each combination of further axes."""
    by_block: dict[str, list[Cell]] = {}
    for cell in fold(rows, study):
        by_block.setdefault(cell.rows[0].block, []).append(cell)
    declared = {block.name: block for block in study.blocks}
    order = [name for name in declared if name in by_block] + [name for name in by_block if name not in declared]
    return [panel for name in order for panel in _block_panels(by_block[name], declared.get(name), study)]


def axis_keys(cells: Sequence[Cell], block: Block | None) -> list[str]:
    """Return the axes that vary over `cells`, in declared order.

    A derived key is one only where it tells cells apart that agree in all others: an earlier declaration derived it
    otherwise, or had it fixed.
    """
    derived = set(block.derive) if block else set()
    keys = dict.fromkeys(key for cell in cells for key in cell.axes)
    declared = [axis.key for axis in (*block.group_axes, *block.axes)] if block else []
    ordered = [key for key in declared if key in keys] + [key for key in keys if key not in declared]
    values = {key: [repr(cell.axes.get(key)) for cell in cells] for key in ordered}
    varying = [key for key in ordered if len(set(values[key])) > 1]
    taken = [key for key in varying if key not in derived]
    for key in varying:
        if key in derived and _points_of(values, [*taken, key]) > _points_of(values, taken):
            taken.append(key)
    return taken


def _points_of(values: Mapping[str, Sequence[str]], keys: Sequence[str]) -> int:
    """How many points of a grid some of its axes tell apart."""
    return len(set(zip(*(values[key] for key in keys), strict=True))) if keys else 1


@dataclass(frozen=True)
class NearOptimal:
    """The best cell and those that the replicates cannot tell from it.

    margin: a cell with as many replicates as the best, and a score at most this much above it, is in the set (95%,
    variance pooled over `pooled` cells near the best); None where cells have one replicate and the noise is unknown.
    """

    cells: tuple[Cell, ...]  # best first
    margin: float | None
    pooled: int
    of: int  # usable cells
    freedom: int = 0  # degrees of freedom of the pooled variance

    @property
    def best(self) -> Cell:
        """The chosen cell."""
        return self.cells[0]


def ranked(cells: Iterable[Cell]) -> list[Cell]:
    """Return the usable cells, the one to take first: by their means, those with too few replicates last."""
    usable = [cell for cell in cells if cell.usable]
    most = max((cell.n for cell in usable), default=0)
    return sorted(usable, key=lambda cell: (2 * cell.n <= most, cell.score))


def near_optimal(cells: Iterable[Cell]) -> NearOptimal | None:
    """Choose on the mean over replicates, and say which cells are as good within the noise between them."""
    usable = ranked(cells)
    if not usable:
        return None
    best = usable[0]
    reach = NEAR if best.by_factors else math.inf
    pool = [cell for cell in usable if cell.n > 1 and cell.score <= best.score + reach]
    noise = pooled(cell.scores for cell in pool)
    if noise is None or best.n < 2:
        return NearOptimal((best,), None, 0, len(usable))
    near = tuple(c for c in usable if c is best or c.score <= best.score + noise.margin(best.n, c.n))
    return NearOptimal(near, noise.margin(best.n, best.n), len(pool), len(usable), noise.freedom)


NOWHERE = ""
"""Where rows lie that no axis tells apart."""


def _fold_block(rows: Sequence[Row], study: Study) -> list[Cell]:
    keys = list(dict.fromkeys(key for row in rows for key in row.axes if key != study.replicate))
    keys += besides(rows, keys, study.replicate)
    together = _by_point(rows, keys)
    trained = [key for key in NOT_CONFIGURED if any(_differ(members, key) for members in together.values())]
    if trained:
        keys += trained
        together = _by_point(rows, keys)
    data = [key for key in keys if is_data(key)]
    alike = _by_point(rows, data) if data else {NOWHERE: rows}
    limits = {of: _limits(members, study) for of, members in alike.items()}
    return [
        Cell(
            _point(members[0], keys),
            tuple(members),
            study.metric,
            study.direction,
            *limits[repr(_point(members[0], data)) if data else NOWHERE],
        )
        for members in together.values()
    ]


def _differ(rows: Sequence[Row], key: str) -> bool:
    return any(row.config.get(key) != rows[0].config.get(key) for row in rows[1:])


def _limits(rows: Sequence[Row], study: Study) -> tuple[float, bool]:
    """Of rows of a block on the same data: the loss from which one is not healthy, and whether a loss is 0 or less."""
    losses = measured(rows, study.metric) if is_loss(study.metric) and study.direction == "min" else ()
    limit = ceiling(losses, guess_of(rows, study.metric)) if losses else math.inf
    return limit, min(losses, default=1.0) <= 0


def is_data(key: str) -> bool:
    """Whether an axis says what trials learn from: results on other data are not compared."""
    return key.partition(".")[0] == "dataset"


def _by_point(rows: Sequence[Row], keys: Sequence[str]) -> dict[str, list[Row]]:
    together: dict[str, list[Row]] = {}
    for row in rows:
        together.setdefault(repr(_point(row, keys)), []).append(row)
    return together


def _point(row: Row, keys: Sequence[str]) -> dict[str, Any]:
    return {
        key: row.axes[key] if key in row.axes else coordinate(row.config, key)
        for key in keys
        if key in row.axes or has(row.config, key)
    }


def _order(value: Scalar) -> tuple[int, float, str]:
    if isinstance(value, str) and unit_of(value):
        return 1, float(value.rstrip("ep%")), value
    return (0, float(value), "") if is_number(value) else (1, 0.0, str(value))


def _numeric(cells: Sequence[Cell], key: str) -> bool:
    return all(is_number(cell.axes.get(key)) for cell in cells)


def _block_panels(cells: Sequence[Cell], block: Block | None, study: Study) -> list[Panel]:
    keys = axis_keys(cells, block)
    entangled = _entangled(cells, keys, study)
    cut = {*entangled, *filter(is_data, keys)}
    numeric = [key for key in keys if key not in cut and _numeric(cells, key)]
    if numeric and any(each.against for each in study.analyses):  # a question reads a panel as one grid of numbers
        cut.update(key for key in keys if key not in numeric)
    if study.analysis and study.analysis.lr in numeric:
        numeric = [study.analysis.lr, *(key for key in numeric if key != study.analysis.lr)]
    y, x = _drawn(numeric, block)
    tied = {key for key in keys if y and x and _follows(cells, key, (y, x), block)}
    others = [key for key in keys if key in cut or (x and key not in (y, x) and key not in tied)]
    name = cells[0].rows[0].block
    expect = block.expect if block else None
    at: dict[str, list[Cell]] = {}
    for cell in cells:
        at.setdefault(repr([cell.axes.get(key) for key in others]), []).append(cell)
    suffixes = _suffixes([members[0] for members in at.values()], others)
    return [
        Panel(
            name=", ".join(filter(None, (name, suffix))),
            block=name,
            cells=tuple(members),
            axes=tuple(keys),
            y=y,
            x=x,
            entangled=entangled,
            expect=expect,
            grid={(c.axes[y], c.axes[x]): c for c in members} if y and x else {},
        )
        for suffix, members in zip(suffixes, at.values(), strict=True)
    ]


def _entangled(cells: Sequence[Cell], keys: Sequence[str], study: Study) -> tuple[str, ...]:
    """The keys that no declaration has as an axis and that never differ alone, but for those that a question names."""
    asked = {key for each in study.analyses for key in each.keys.values()}
    aside = [key for key in keys if key not in cells[0].rows[0].axes and key not in asked]
    points = {key: [repr(cell.axes.get(key)) for cell in cells] for key in keys}
    return tuple(key for key in aside if not alone(points, key))


def _drawn(numeric: Sequence[str], block: Block | None) -> tuple[str | None, str | None]:
    """The axes of rows and columns: the first two numeric ones that no bundle ties to each other."""
    tied = [set(bundle.keys) for bundle in block.bundles] if block else []
    for y in numeric[:1]:
        for x in numeric[1:]:
            if not any({y, x} <= keys for keys in tied):
                return y, x
    return None, None


def _follows(cells: Sequence[Cell], key: str, drawn: tuple[str, str], block: Block | None) -> bool:
    """Whether a bundle ties an axis to one that is drawn, whose value tells its own."""
    for bundle in block.bundles if block else ():
        for other in {*drawn} & {*bundle.keys} if key in bundle.keys else ():
            values = {each: [repr(cell.axes.get(each)) for cell in cells] for each in (key, other)}
            if _points_of(values, [key, other]) == _points_of(values, [other]):
                return True
    return False


def _suffixes(cells: Sequence[Cell], keys: Sequence[str]) -> list[str]:
    """Where each of some cells lies, in few characters where these tell them apart."""
    short = [_suffix(cell, keys) for cell in cells]
    if len(set(short)) == len(short):
        return short
    return [" ".join(f"{key}={cell.axes[key]}" for key in keys if key in cell.axes) for cell in cells]


def _suffix(cell: Cell, keys: Sequence[str]) -> str:
    named = ((key, labels([cell.axes[key]])[cell.axes[key]]) for key in keys if key in cell.axes)
    return " ".join(f"{key.rpartition('.')[2]}={text}" for key, text in named)

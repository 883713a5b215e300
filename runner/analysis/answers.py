"""What an analysis says: findings with intervals, the evidence behind them, and a verdict that can be quoted.

Types alone. They know no estimator, no store and no screen.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Side = Literal["", "<", ">"]
"""Where the truth lies relative to a bound: below it (<) or above it (>); empty for an estimate."""
LESS: Literal["<"] = "<"
MORE: Literal[">"] = ">"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One number and how far it can be trusted.

    estimate: None where the data do not identify it. low, high: the 95% interval, or whatever `method` says
    encloses the truth; None where there is no such end. n: what the estimate rests on, counted in `counted`.
    side: < or > where the truth lies at or beyond `estimate` on that side.
    """

    name: str
    estimate: float | None
    low: float | None = None
    high: float | None = None
    n: int
    counted: str = "rows"
    unit: str = ""
    method: str
    caveats: tuple[str, ...] = ()
    side: Side = ""


@dataclass(frozen=True)
class Expected:
    """What a study said beforehand that it would find."""

    slope: float
    tolerance: float

    def met_by(self, estimate: float) -> bool:
        """Whether an estimate lies within the tolerance."""
        return abs(estimate - self.slope) <= self.tolerance


@dataclass(frozen=True, kw_only=True)
class Place:
    """The cell with the lowest mean loss over `n` seeds; wd or warmup is None where the question has none."""

    lr: float
    wd: float | None = None
    warmup: float | None = None
    loss: float
    n: int


@dataclass(frozen=True)
class Edge:
    """An end of an axis that the optimum sits on, and that must be widened: `rows` of the grid say so.

    axis: "lr" (the best cell lies in the first or last row), or "wd" (rows have their best at an end of the grid).
    along: the axis in words, lr·wd where columns are constant products. at: where it ends now.
    """

    axis: Literal["lr", "wd"]
    side: Literal["below", "above"]
    rows: int
    along: str
    at: float


@dataclass(frozen=True)
class RowFit:
    """One learning rate: where its best weight decay lies, and whether that counts.

    wd: vertex of the parabola for a row that is kept, else its best cell's; None where no cell is usable. low and
    high: 95% interval of wd. side: < or > where the truth lies at or beyond wd. loss: of the best cell, a mean over
    seeds. reason: why the row is dropped; empty if it is kept. weight: what it counts for, 0 to 1.
    """

    lr: float
    wd: float | None
    low: float | None = None
    high: float | None = None
    loss: float | None = None
    kept: bool = False
    reason: str = ""
    side: Side = ""
    weight: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Coupling:
    """How the best weight decay moves with the learning rate: the slope of log wd*(lr) against log lr.

    slope.estimate: -1 if only lr·wd matters, 0 if the two are separable, +1 if only wd/lr matters. consistent and
    excluded: those of the named pictures that the interval allows and rules out. label: the verdict in a few words;
    verdict: in sentences. undetermined: the data leave the slope open, or more than one picture. diverged: number of
    trials. flips: number of cells where decay alone turns a weight's sign,
    lr·wd ≥ 1 for AdamW.
    """

    panel: str
    slope: Finding
    rows: tuple[RowFit, ...]  # ascending lr
    label: str
    verdict: str
    undetermined: bool
    consistent: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    diverged: int
    flips: int = 0
    edge: tuple[Edge, ...] = ()
    best: Place | None
    expect: Expected | None = None
    kind: Literal["coupling"] = "coupling"

    @cached_property
    def kept(self) -> tuple[RowFit, ...]:
        """The rows that the slope rests on."""
        return tuple(row for row in self.rows if row.kept)

    @cached_property
    def dropped(self) -> dict[str, int]:
        """Reason -> number of rows dropped for it, the commonest first."""
        return dict(Counter(row.reason for row in self.rows if not row.kept).most_common())

    @property
    def as_expected(self) -> bool | None:
        """Whether the slope is what was expected beforehand; None if nothing was, or the slope is not known."""
        if self.expect is None or self.slope.estimate is None:
            return None
        return self.expect.met_by(self.slope.estimate)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every number of this answer."""
        return (self.slope,)


@dataclass(frozen=True)
class Spent:
    """Sums over the steps of the rate, and of rate times decay, of trials whose peak rate is lr."""

    lr: float
    rate: Finding
    decay: Finding


@dataclass(frozen=True)
class WarmupLevel:
    """What one length of warmup (steps) allows.

    spike_free, trainable: the largest rate such that no seed spikes, every seed trains, there and at every smaller
    one. best: the lowest mean loss. sensitivity: what a rate that is not the best costs on average. spent: at the
    rate of the best loss; None where it is not known.
    """

    warmup: float
    spike_free: Finding
    trainable: Finding
    best: Finding
    sensitivity: Finding
    spent: Spent | None = None


def _sums(level: WarmupLevel) -> tuple[Finding, ...]:
    return (level.spent.rate, level.spent.decay) if level.spent else ()


@dataclass(frozen=True)
class WarmupNeed:
    """What one learning rate asks of warmup: the smallest length from which on no seed spikes, and from which on
    the loss is as good as the best of that rate."""

    lr: float
    spike_free: Finding
    sufficient: Finding


@dataclass(frozen=True, kw_only=True)
class Warmup:
    """What warmup buys: how large a rate each length allows, and how much of it each rate needs."""

    panel: str
    levels: tuple[WarmupLevel, ...]  # ascending warmup
    needs: tuple[WarmupNeed, ...]  # ascending lr
    label: str
    verdict: str
    undetermined: bool
    diverged: int
    best: Place | None
    kind: Literal["warmup"] = "warmup"

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every number of this answer."""
        of_levels = (
            f
            for each in self.levels
            for f in (each.spike_free, each.trainable, each.best, each.sensitivity, *_sums(each))
        )
        return (*of_levels, *(f for each in self.needs for f in (each.spike_free, each.sufficient)))


@dataclass(frozen=True)
class Curve:
    """One curve of loss over the learning rate: what a rate that is not the best costs on average, and its best."""

    name: str
    sensitivity: Finding
    best: Place | None


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """How much the choice of the rate matters, curve by curve, against one common reference loss."""

    panel: str
    curves: tuple[Curve, ...]
    reference: float | None
    label: str
    verdict: str
    undetermined: bool
    diverged: int
    best: Place | None
    kind: Literal["sensitivity"] = "sensitivity"

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every number of this answer."""
        return tuple(curve.sensitivity for curve in self.curves)


Answer = Coupling | Warmup | Sensitivity

"""What warmup buys: the largest rate each length of it allows, and how much of it each rate needs.

A spike is a ratio of the loss to that of a control trial (same seed, so the same batches; smallest rate, shortest
warmup) of more than 1.25 in the first half of training. Against a trial's own first loss every cell would spike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from thalweg.runner.analysis.answers import LESS, MORE, Finding, Side, Spent, Warmup, WarmupLevel, WarmupNeed
from thalweg.runner.analysis.lr_sensitivity import at_start, cost
from thalweg.runner.analysis.results import Bools, Floats, Results, place, same_points
from thalweg.runner.cells.health import UNTRAINED
from thalweg.runner.cells.noise import interval
from thalweg.runner.show.numbers import count, rate, short

SPIKE = 1.25
ENOUGH = 0.05
"""Excess of the loss, as a share of the rate's best, that a sufficient warmup may have whatever the noise."""
LITTLE = 1.45
"""A largest rate that grows no more than this (one step of a grid of √2) has hardly moved."""
STEPS = "steps of warmup"
BRACKET = "estimate: no seed {what} up to this {axis}; low to high: from there to where every seed does"
SUFFICIENT = (
    f"smallest warmup from which up to the best one the mean paired excess is at most 2 standard errors or {ENOUGH:.0%}"
)
SUM_LR, SUM_LR_WD = "Σlr", "Σlr·wd"
SPENT = "sum over the steps, by the schedule, at the learning rate of the best loss"
FEW_SEEDS = "with so few seeds, one seed can decide a value"


@dataclass(frozen=True)
class _Table:
    """Rates ascending along R, warmups along W, seeds along S. NaN or False where there is no trial."""

    lr_R: Floats
    warmup_W: Floats
    loss_RWS: Floats  # inf where it diverged
    spike_RWS: Floats  # inf where it diverged, NaN where it is not known
    trained_RWS: Bools

    @property
    def there_RWS(self) -> Bools:  # noqa: N802 - its shape
        there: Bools = ~np.isnan(self.loss_RWS)
        return there

    @property
    def fast_R(self) -> Bools:  # noqa: N802 - its shape
        """The rates large enough to train within the steps there are, at some warmup: a control's need not be.

        Most seeds have to: of networks that hardly moved one may be better than a guess by luck.
        """
        most_RW = 2 * self.trained_RWS.sum(2) > self.there_RWS.sum(2)
        trains: Bools = np.logical_or.accumulate(most_RW.any(1))
        return trains


def warmup(results: Results, *, panel: str = "") -> Warmup:
    """Return what each warmup allows and each rate needs. `results` needs warmup; spike where spikes are asked for."""
    assert results.warmup is not None
    table = _table(results)
    best = place(results)
    levels = tuple(_level(table, results, at, best.loss if best else None) for at in range(len(table.warmup_W)))
    needs = tuple(_need(table, at) for at in range(len(table.lr_R)))
    label, verdict, undetermined = _said(levels, table)
    verdict = f"{verdict} {results.control}." if results.control else verdict
    return Warmup(
        panel=panel,
        levels=levels,
        needs=needs,
        label=label,
        verdict=verdict,
        undetermined=undetermined,
        diverged=int((~results.healthy).sum()),
        best=best,
    )


def _table(results: Results) -> _Table:
    assert results.warmup is not None
    lr_R, row = same_points(results.lr, 1e-4)
    warmup_W, column = np.unique(results.warmup, return_inverse=True)
    seeds, seed = np.unique(results.seed, return_inverse=True)
    shape = (len(lr_R), len(warmup_W), len(seeds))
    loss, spike, trained = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, bool)
    at = (row, column, seed)
    loss[at] = np.where(results.healthy, results.loss, np.inf)
    if results.spike is not None:
        spike[at] = results.spike
    limit = UNTRAINED * (results.chance if results.chance is not None else at_start(results))
    trained[at] = results.healthy & ~(results.loss >= limit)
    return _Table(lr_R, warmup_W, loss, spike, trained)


def _level(table: _Table, results: Results, at: int, reference: float | None) -> WarmupLevel:
    assert results.warmup is not None
    length = float(table.warmup_W[at])
    there, named = table.there_RWS[:, at], f"at warmup {short(length)}"
    spikes = table.spike_RWS[:, at] >= SPIKE
    known = np.isfinite(table.spike_RWS[:, at]) | np.isposinf(table.spike_RWS[:, at])
    missing = results.control or "no series"
    free = _largest(table.lr_R, spikes, known, f"largest spike-free lr {named}", "spikes", missing)
    fast = there & table.fast_R[:, None]
    trainable = _largest(
        table.lr_R, ~table.trained_RWS[:, at] & fast, fast, f"largest trainable lr {named}", "fails to train"
    )
    sensitive = cost(results, results.warmup == length, reference, f"LR sensitivity {named}")
    return WarmupLevel(length, free, trainable, _best(table, at, named), sensitive, _spent(table, results, at, named))


def _spent(table: _Table, results: Results, at: int, named: str) -> Spent | None:
    """Sums over the steps at the rate of the best loss; None where they are not known, or nothing trains."""
    mean = _means(table.loss_RWS[:, at])
    lr = float(table.lr_R[int(mean.argmin())])
    here = np.isclose(results.lr, lr, rtol=1e-4, atol=0) & (results.warmup == table.warmup_W[at])
    if results.rate_sum is None or results.decay_sum is None or not np.isfinite(mean.min()):
        return None
    sums = [(SUM_LR, float(results.rate_sum[here][0])), (SUM_LR_WD, float(results.decay_sum[here][0]))]
    if not all(math.isfinite(value) for _, value in sums):
        return None
    seeds, method = int(here.sum()), f"{SPENT}, {rate(lr)}"
    made = [
        Finding(name=f"{name} {named}", estimate=value, n=seeds, counted="seeds", unit=name, method=method)
        for name, value in sums
    ]
    return Spent(lr, *made)


def _largest(lr_R: Floats, bad_RS: Bools, there_RS: Bools, name: str, what: str, missing: str = "") -> Finding:
    """The largest rate up to which nothing bad happens to any seed."""
    method = BRACKET.format(what=what, axis="learning rate")
    seeds = int(there_RS.any(0).sum())
    rows = np.flatnonzero(there_RS.any(1))
    if not len(rows):
        return Finding(name=name, estimate=None, n=0, counted="seeds", unit="lr", method=method, caveats=(missing,))
    any_bad = [bool(bad_RS[row].any()) for row in rows]
    all_bad = [bool(bad_RS[row][there_RS[row]].all()) for row in rows]
    first = any_bad.index(True) if True in any_bad else len(rows)
    every = all_bad.index(True) if True in all_bad else len(rows)
    side: Side = LESS if first == 0 else MORE if first == len(rows) else ""
    estimate = float(lr_R[rows[max(first - 1, 0)]])
    return Finding(
        name=name,
        estimate=estimate,
        low=estimate if first else None,
        high=float(lr_R[rows[every]]) if every < len(rows) else None,
        n=seeds,
        counted="seeds",
        unit="lr",
        method=method,
        side=side,
    )


def _best(table: _Table, at: int, named: str) -> Finding:
    mean = _means(table.loss_RWS[:, at])
    row = int(mean.argmin())
    name, method = (
        f"best loss {named}",
        "lowest mean over seeds, of all learning rates; 95% interval by Student's t",
    )
    if not np.isfinite(mean[row]):
        return Finding(name=name, estimate=None, n=0, counted="seeds", unit="loss", method=method)
    values = table.loss_RWS[row, at][table.there_RWS[row, at]]
    estimate = float(values.mean())
    ends = interval(values.tolist(), "loss") or (None, None)
    caveats = (f"at lr {rate(float(table.lr_R[row]))}",)
    return Finding(
        name=name,
        estimate=estimate,
        low=ends[0],
        high=ends[1],
        n=len(values),
        counted="seeds",
        unit="loss",
        method=method,
        caveats=caveats,
    )


def _need(table: _Table, at: int) -> WarmupNeed:
    lr, named = float(table.lr_R[at]), f"at lr {rate(float(table.lr_R[at]))}"
    seeds = int(table.there_RWS[at].any(0).sum())
    known = ~np.isnan(table.spike_RWS[at]).all(1)
    spike_free = ~(table.spike_RWS[at] >= SPIKE).any(1)
    free = _smallest(
        table.warmup_W[known],
        list(spike_free[known]),
        f"minimum spike-free warmup {named}",
        "smallest warmup from which on no seed spikes",
        seeds,
    )
    enough = _enough(table.loss_RWS[at], table.trained_RWS[at])
    sufficient = _smallest(
        table.warmup_W[: len(enough)], enough, f"minimum sufficient warmup {named}", SUFFICIENT, seeds
    )
    return WarmupNeed(lr, free, sufficient)


def _smallest(warmup_W: Floats, good: Sequence[bool], name: str, method: str, seeds: int) -> Finding:
    """The smallest warmup such that it and every larger one is good."""
    from_here = [all(good[at:]) for at in range(len(good))]
    first = from_here.index(True) if True in from_here else None
    side: Side = MORE if first is None and len(good) else ""
    bound = float(warmup_W[-1]) if side else None
    return Finding(
        name=name,
        estimate=bound if first is None else float(warmup_W[first]),
        low=None if not first else float(warmup_W[first - 1]),
        high=None if first is None else float(warmup_W[first]),
        n=seeds,
        counted="seeds",
        unit=STEPS,
        method=method,
        caveats=(FEW_SEEDS,) if seeds < 5 else (),
        side=side,
    )


def _means(loss_NS: Floats) -> Floats:
    """Means over the seeds that are there; inf where there are none, or one diverged."""
    there = ~np.isnan(loss_NS)
    total = np.where(there, loss_NS, 0.0).sum(1)
    return np.where(there.any(1), total / np.maximum(there.sum(1), 1), np.inf)


def _enough(loss_WS: Floats, trained_WS: Bools) -> list[bool]:
    """Whether each warmup up to the best one is as good as it, seed by seed; empty if not even that has trained.

    One longer than the best may be worse for its length: a warmup costs steps, so that does not make it too short.
    """
    mean_W = _means(loss_WS)
    best = int(mean_W.argmin())
    if not np.isfinite(mean_W[best]) or not trained_WS[best].any():
        return []
    excess_WS = loss_WS[: best + 1] - loss_WS[best]
    return [_is_enough(each[~np.isnan(each)], float(mean_W[best])) for each in excess_WS]


def _is_enough(excess_S: Floats, best: float) -> bool:
    if not len(excess_S) or not np.isfinite(excess_S).all():
        return False
    error = float(excess_S.std(ddof=1)) / math.sqrt(len(excess_S)) if len(excess_S) > 1 else 0.0
    return float(excess_S.mean()) <= max(2 * error, ENOUGH * best)


def _said(levels: Sequence[WarmupLevel], table: _Table) -> tuple[str, str, bool]:
    spike_free, grows = (_growth(levels, pick) for pick in (lambda each: each.spike_free, lambda each: each.trainable))
    named = [(name, found) for name, found in (("spike-free", spike_free), ("trainable", grows)) if found]
    if not named:
        return "not identified", "Not identified: no learning rate trains at any two lengths of warmup.", True
    most = max((found for _, found in named), key=lambda found: found.factor if found.steady else 0.0)
    if not most.steady:
        label = "undecided: the largest learning rate goes up and down with warmup"
    elif most.factor <= LITTLE:
        label = "no effect seen: the largest learning rate hardly changes"
    else:
        unsure = "" if most.least > 1 else ", though the seeds do not make that certain"
        label = f"warmup allows a learning rate {short(most.factor, 2)} times as large{unsure}"
    open_ended = all(found.first.side or found.last.side for _, found in named)
    said = ", and ".join(_told(name, found) for name, found in named)
    looked = f"Tried: {count(len(table.lr_R), 'learning rate')} and {count(len(levels), 'length')} of warmup."
    vague = open_ended if most.factor <= LITTLE else most.least <= 1
    return label, f"{label[0].upper()}{label[1:]}: {said}. {looked}", vague or not most.steady


@dataclass(frozen=True)
class _Growth:
    """A largest rate at the shortest and at the longest warmup, and whether no length between contradicts a rise.

    start, end: the two on the steady rise that is closest to all lengths, so that none of them is a lucky one.
    least, most: the factor between the two that their brackets leave.
    """

    first: Finding
    last: Finding
    shortest: float
    longest: float
    steady: bool
    start: float
    end: float

    @property
    def factor(self) -> float:
        return self.end / self.start

    @property
    def least(self) -> float:
        return _low(self.last) / _high(self.first)

    @property
    def most(self) -> float:
        return _high(self.last) / _low(self.first) if _low(self.first) else math.inf


def _growth(levels: Sequence[WarmupLevel], pick: Callable[[WarmupLevel], Finding]) -> _Growth | None:
    """How a largest rate grows with warmup. It is steady if some rates within the brackets never fall."""
    known = [(each.warmup, pick(each)) for each in levels]
    known = [(length, found) for length, found in known if found.estimate is not None]
    if len(known) < 2:
        return None
    found = [each for _, each in known]
    steady = all(_low(one) <= _high(later) for at, one in enumerate(found) for later in found[at + 1 :])
    rise = [math.exp(end) for end in _rise([math.log(each.estimate) for each in found if each.estimate])]
    return _Growth(found[0], found[-1], known[0][0], known[-1][0], steady, *rise)


def _rise(values: Sequence[float]) -> tuple[float, float]:
    """Both ends of the isotonic regression of these values: means over what a fall makes one (Barlow et al. 1972)."""
    start = min(fmean(values[: at + 1]) for at in range(len(values)))
    return start, max(fmean(values[at:]) for at in range(len(values)))


def _low(found: Finding) -> float:
    return found.low or 0.0


def _high(found: Finding) -> float:
    return math.inf if found.high is None else found.high


def _told(name: str, found: _Growth) -> str:
    """What became of a largest rate between the shortest warmup and the longest, with what the seeds leave open."""
    largest = f"the largest {name} learning rate"
    lengths = f"as warmup goes from {short(found.shortest)} to {short(found.longest)} steps"
    if short(found.start, 3) == short(found.end, 3) and found.first.side == found.last.side:
        said = f"{largest} is {_end(found.last, found.end)} at the shortest and at the longest warmup"
    else:
        ends = f"{_end(found.first, found.start)} to {_end(found.last, found.end)}"
        said = f"{largest} goes from {ends} {lengths}"
    if not found.steady:
        return f"{said}, up and down on the way"
    known = [("at least", found.least)] * (found.least > 0) + [("at most", found.most)] * math.isfinite(found.most)
    factor = " and ".join(f"{word} {short(value, 2)}" for word, value in known)
    return f"{said} (a factor of {factor})" if factor else said


def _end(found: Finding, value: float) -> str:
    said = {LESS: "less than ", MORE: "at least ", "": ""}[found.side]
    return f"{said}{short(value, 3)}"

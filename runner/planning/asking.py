"""Points that depend on results: batches of optuna's TPE sampler, the next one asked when those before have ended.

The first batch is Sobol's. What was asked is kept as members of the study; so which points there are follows from a
store, and another version of optuna changes only those that are not asked yet. The only door to optuna. No store.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from importlib import import_module
from importlib.util import find_spec
from statistics import fmean
from typing import Any

from thalweg.runner.base.canonical import Scalar
from thalweg.runner.base.errors import SetupError
from thalweg.runner.facts.row import Row
from thalweg.runner.study.sampling import Sample, Spread, drawn, shortened
from thalweg.runner.study.study import SAMPLE, Block, Bundle, Study

Point = tuple[Scalar, ...]


def grown(study: Study, rows: Sequence[Row]) -> Study:
    """Return a study with the points that its rows hold, and the next batch where all of these have ended.

    Raises SetupError where a batch will be asked for and optuna is not there.
    """
    if not asks(study):
        return study
    if find_spec("optuna") is None:
        raise SetupError("sample method tpe needs optuna, which is not installed", "pip install optuna")
    inside = [row for row in rows if not row.outside]
    blocks = [
        _grown(block, study, [row for row in inside if row.block == block.name]) if _asks(block) else block
        for block in study.blocks
    ]
    return replace(study, blocks=tuple(blocks))


def asks(study: Study) -> bool:
    """Whether any of its points depend on results."""
    return any(_asks(block) for block in study.blocks)


def unknown(study: Study) -> int:
    """Number of points that are wanted and not yet known."""
    asking = [block for block in study.blocks if _asks(block)]
    return sum(block.sample.n - len(_bundle(block).points) for block in asking if block.sample)


def _asks(block: Block) -> bool:
    return block.sample is not None and block.sample.method == "tpe"


def _bundle(block: Block) -> Bundle:
    return next(bundle for bundle in block.bundles if bundle.name == SAMPLE)


def _grown(block: Block, study: Study, rows: Sequence[Row]) -> Block:
    assert block.sample
    bundle = _bundle(block)
    held: dict[Point, list[Row]] = {}
    for row in rows:
        point = tuple(row.axes.get(key) for key in bundle.keys)
        if all(_within(value, *block.ranges[key]) for key, value in zip(bundle.keys, point, strict=True)):
            held.setdefault(point, []).append(row)
    points = list(held or bundle.points)[: block.sample.n]
    if held and all(_ended(block, held[point]) for point in points) and len(points) < block.sample.n:
        told = [(point, _score(held[point], study)) for point in points]
        points += asked(block.sample, {key: block.ranges[key] for key in bundle.keys}, told, study.direction)
    columns = dict(zip(bundle.keys, zip(*points, strict=True), strict=True))
    axes = tuple(
        replace(axis, values=tuple(dict.fromkeys(columns[axis.key]))) if axis.key in columns else axis
        for axis in block.axes
    )
    return replace(block, axes=axes, bundles=(replace(bundle, points=tuple(points)),))


def _within(value: Scalar, spread: Spread, whole: bool) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and float(spread.low) <= value <= float(spread.high)  # type: ignore[operator]


def _ended(block: Block, rows: Sequence[Row]) -> bool:
    """Whether every replicate of a point is there and has ended."""
    replicates = math.prod(len(axis.values) for axis in block.axes if axis.key not in _bundle(block).keys)
    return len(rows) >= replicates and all(row.outcome is not None and row.outcome.is_done for row in rows)


def _score(rows: Sequence[Row], study: Study) -> float:
    """The metric's mean over replicates; the worst there is where one has none, as the diverged."""
    values = [row.metrics.get(study.metric) for row in rows]
    if None in values:
        return math.inf if study.direction == "min" else -math.inf
    return fmean(value for value in values if value is not None)


def asked(
    sample: Sample, ranges: Mapping[str, tuple[Spread, bool]], told: Sequence[tuple[Point, float]], direction: str
) -> list[Point]:
    """Return the next batch of points, given those there are and their scores; none of them twice."""
    digest = hashlib.sha256(f"thalweg.tpe.v1\n{sample.seed}\n{len(told)}".encode()).digest()
    optuna: Any = import_module("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    spaces = {key: _space(optuna, *ranges[key]) for key in ranges}
    known = {point for point, _ in told}
    wanted = min(sample.batch, sample.n - len(told))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # multivariate and constant_liar call themselves experimental
        sampler = optuna.samplers.TPESampler(
            seed=int.from_bytes(digest[:4], "big"), n_startup_trials=1, multivariate=True, constant_liar=True
        )
        trials = optuna.create_study(sampler=sampler, direction="minimize" if direction == "min" else "maximize")
        for point, score in told:
            params = dict(zip(ranges, point, strict=True))
            trials.add_trial(optuna.trial.create_trial(params=params, distributions=spaces, value=score))
        new = dict.fromkeys(_point(trials.ask(spaces).params, ranges) for _ in range(wanted))
    fresh = [point for point in new if point not in known]
    spare = drawn(replace(sample, n=sample.n + wanted, method="random"), ranges)  # in place of those asked twice
    fresh += [point for point in spare if point not in known and point not in new][: wanted - len(fresh)]
    return fresh


def _space(optuna: Any, spread: Spread, whole: bool) -> Any:
    kind = optuna.distributions.IntDistribution if whole else optuna.distributions.FloatDistribution
    number = int if whole else float
    return kind(number(spread.low), number(spread.high), log=spread.log)


def _point(params: Mapping[str, Any], ranges: Mapping[str, tuple[Spread, bool]]) -> Point:
    return tuple(
        params[key] if whole else shortened(Fraction(params[key]), spread) for key, (spread, whole) in ranges.items()
    )

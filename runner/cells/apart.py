"""What rows of one block differ in beside their axes: keys that only one of several declarations set. Pure.

A study may be declared several times, and a value that is typed once is no axis. Whoever compares cells must know of
it: a difference between cells that differ in two keys is not the doing of one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from thalweg.runner.facts.coordinates import option
from thalweg.runner.facts.row import Row, lookup
from thalweg.runner.study.durations import DURATIONS
from thalweg.runner.study.study import REPLICATE
from thalweg.runner.study.trial import NOT_CONFIGURED


def besides(rows: Sequence[Row], axes: Sequence[str], replicate: str | None) -> list[str]:
    """Return the configuration keys, neither axes nor replicates, in which some of the rows differ.

    A section that is of another option is one key, the group's; what each option has of its own does not count. Nor
    does a number of steps that is the same share of the run, or the same epochs, in all.
    """
    known = {*axes, replicate, REPLICATE, *NOT_CONFIGURED}
    found: dict[str, None] = {}
    configs = [row.config for row in rows]
    for section in dict.fromkeys(chain.from_iterable(configs)):
        values = [config.get(section) for config in configs]
        if values.count(values[0]) < len(values):
            found |= dict.fromkeys(_besides(rows, section))
    return [key for key in found if key not in known and not _follows(rows, key)]


def _besides(rows: Sequence[Row], section: str) -> Iterator[str]:
    """The section itself, where it is of several options; and its keys in which rows of one option differ."""
    of = [str(row.axes.get(section) or option(row.config.get(section)) or "") for row in rows]
    if len(set(of)) > 1:
        yield section
    first: dict[str, Any] = {}
    different = {(named, id(value := row.config.get(section))): value for named, row in zip(of, rows, strict=True)}
    for (named, _), value in different.items():  # trials share their sections, as the store reads them
        beside = first.setdefault(named, value)
        if beside != value:
            yield from _differing({section: beside}, {section: value})


def alone(points: Mapping[str, Sequence[str]], key: str) -> bool:
    """Whether two cells differ in this key and in no other. points: key -> its value in each cell, as text."""
    others = [values for other, values in points.items() if other != key]
    seen: dict[tuple[str, ...], str] = {}
    return any(
        seen.setdefault(tuple(values[cell] for values in others), value) != value
        for cell, value in enumerate(points[key])
    )


def _differing(first: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The keys in which one configuration is not the other. Equal sections are not entered."""
    for key in {**first, **other}:
        one, beside = first.get(key), other.get(key)
        if one == beside:
            continue
        if isinstance(one, Mapping) and isinstance(beside, Mapping):
            yield from _differing(one, beside, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _follows(rows: Sequence[Row], key: str) -> bool:
    """Whether a number of steps follows from the length of the run, or of an epoch: the same share of it in all rows.

    Shares are rounded up to whole steps, so each row leaves an interval of them.
    """
    return key in DURATIONS and any(
        _is_share([(lookup(row.config, key), length(row.config)) for row in rows])
        for length in (_steps, _epoch)
        if length is not _steps or "budget.steps" in DURATIONS[key]
    )


def _is_share(pairs: Sequence[tuple[Any, float | None]]) -> bool:
    known = [(steps, length) for steps, length in pairs if isinstance(steps, int) and length]
    return len(known) == len(pairs) and max((s - 1) / n for s, n in known) < min(s / n for s, n in known)


def _steps(config: Mapping[str, Any]) -> float | None:
    steps: float | None = lookup(config, "budget.steps")
    return steps


def _epoch(config: Mapping[str, Any]) -> float | None:
    size, batch = lookup(config, "dataset.train_size"), lookup(config, "budget.batch_size")
    return size / batch if size and batch else None

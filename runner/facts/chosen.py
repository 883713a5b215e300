"""Trials chosen by a condition in the user's words, and by when they ended. Pure.

A condition may name what a row has: study, block, trial, outcome, diverged_step, rung, an axis or var, a final
metric, any key of the configuration, a section by the name of its option. Not a metric of the test split: those never
choose.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from thalweg.optim.duration import unit_of
from thalweg.runner.base.canonical import Scalar
from thalweg.runner.base.errors import ConfigError, UsageError
from thalweg.runner.facts.coordinates import coordinate
from thalweg.runner.facts.row import Row
from thalweg.runner.facts.tidy import column_of
from thalweg.runner.study.condition import Condition, parse_condition

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
TEST = re.compile(r"\btest/\w")
OWN = ("study", "block", "trial", "outcome", "diverged_step", "rung")

Placed = tuple[str, Row]
"""A study's name, and a row of it."""


def chosen(rows: Sequence[Placed], texts: Sequence[str], since: datetime | None = None) -> list[Placed]:
    """Return the rows of which all conditions are true, and that ended at `since` or later.

    Raises ConfigError for what is no condition, or names what no row has.
    """
    known = names_of(row for _, row in rows)
    conditions = [_parsed(text, known) for text in texts]
    if since is not None:
        rows = [each for each in rows if each[1].ended and _time(each[1].ended) >= since]
    return [each for each in rows if all(_holds(condition, *each) for condition in conditions)]


def since(text: str, now: datetime) -> datetime:
    """Read 7d, 12h, 30m, 2w, or a date, as a moment. Raises UsageError."""
    if found := re.fullmatch(r"(\d{1,5})([mhdw])", text):
        return now - timedelta(**{UNITS[found[2]]: int(found[1])})
    try:
        return _time(text)
    except ValueError:
        hint = "write 30m, 12h, 7d, 2w, or a date such as 2026-03-05"
        raise UsageError(f"--since {text} is not a time", hint) from None


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def names_of(rows: Iterable[Row]) -> dict[str, None]:
    """All names that a condition may use of some rows."""
    names = dict.fromkeys(OWN)
    axes: dict[tuple[str, ...], None] = {}
    seen: dict[int, Any] = {}  # sections, which the trials of a study share as they are read
    for row in rows:
        axes[tuple(row.axes)] = None
        names |= dict.fromkeys(name for name in row.metrics if not name.startswith("test/"))
        for key, value in row.config.items():
            names[key] = None
            if isinstance(value, Mapping) and id(value) not in seen:
                seen[id(value)] = value
                _add_keys(value, f"{key}.", names)
    for axis in dict.fromkeys(axis for each in axes for axis in each):
        names[axis] = names[column_of(axis)] = None
    return names


def _add_keys(section: Mapping[str, Any], above: str, names: dict[str, None]) -> None:
    for key, value in section.items():
        names[f"{above}{key}"] = None
        if isinstance(value, Mapping):
            _add_keys(value, f"{above}{key}.", names)


def _is_duration(value: Scalar) -> bool:
    """Whether a coordinate is a text such as 8ep, which counts in steps, as the configuration has it."""
    return isinstance(value, str) and unit_of(value) is not None


def _parsed(text: str, known: Mapping[str, None]) -> Condition:
    if TEST.search(text):
        raise ConfigError(f"{text!r} asks for a test metric; test metrics never choose", "choose by val/…")
    return parse_condition(text, known.keys())


def _holds(condition: Condition, study: str, row: Row) -> bool:
    def lookup(name: str) -> Scalar:
        if name in row.axes and not _is_duration(row.axes[name]):
            return row.axes[name]
        if name.startswith("vars."):
            return row.axes.get(name.removeprefix("vars."))
        if name in row.metrics:
            return row.metrics[name]
        own: dict[str, Scalar] = {"study": study, "block": row.block, "trial": row.trial_id}
        own |= {"outcome": row.outcome and row.outcome.value, "diverged_step": row.diverged_step}
        own |= {"rung": row.pruned.rung if row.pruned else None}
        return own[name] if name in own else coordinate(row.config, name)

    return condition.holds(lookup)

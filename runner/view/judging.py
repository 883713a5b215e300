"""The metric that a reader asks for in place of the study's own. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from thalweg.data.schema import MEASURES
from thalweg.runner.base.errors import UsageError
from thalweg.runner.cells.health import RISING
from thalweg.runner.facts.observation import GUESS
from thalweg.runner.facts.row import Row
from thalweg.runner.study.study import Study

ENDS: dict[str, Literal["min", "max"]] = {"min": "min", "max": "max"}


def judged(study: Study, rows: Sequence[Row], asked: str | None) -> Study:
    """Return the study judged by the metric `asked`, `val/accuracy` or `val/mine:max`; as it is where none is.

    Raises UsageError for one that no trial has, for one of the test split, and for one of the user's own of which
    nobody knows which end is best.
    """
    if asked is None:
        return study
    metric, _, end = asked.partition(":")
    known = sorted({name for row in rows for name in row.metrics if not name.startswith(("test/", f"{GUESS}/"))})
    there = ", ".join(known) if known else "none yet"
    if metric.startswith("test/"):
        refused = f"{metric} never chooses; it is shown for the cell that was chosen without it"
        raise UsageError(refused, f"--metric takes: {there}")
    if metric not in known:
        raise UsageError(f"no trial of {study.name} has the metric {metric!r}; there are: {there}")
    return replace(study, metric=metric, direction=_direction(study, metric, end))


def _direction(study: Study, metric: str, end: str) -> Literal["min", "max"]:
    leaf = metric.rpartition("/")[2]
    if end and end not in ENDS:
        raise UsageError(f"{end!r} is not an end of {metric}; expected min or max", f"e.g. --metric {metric}:max")
    if end:
        return ENDS[end]
    if leaf == study.metric.rpartition("/")[2]:
        return study.direction
    if any(leaf in usual for usual in MEASURES.values()):
        return "max" if leaf in RISING else "min"
    unknown = f"{metric} is a metric of your own, and which end of it is best is not known"
    raise UsageError(unknown, f"say it: --metric {metric}:max, or {metric}:min")

"""Trials and curves as tidy tables: a pandas DataFrame where pandas is installed, else columns in a dict.

Names of columns never hide what a DataFrame has of its own: a study's own variables are called `vars.NAME`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from thalweg.optim.duration import unit_of
from thalweg.runner.base.errors import UsageError
from thalweg.runner.facts.observation import Series
from thalweg.runner.facts.row import Row
from thalweg.runner.study.keys import leaf_of, nearest, sections

Columns = dict[str, list[Any]]


def trials(rows: Iterable[Row], test: bool = False) -> Columns:
    """Return a line a trial of those inside their study: id, block, axes, outcome, step of divergence, final metrics.

    What a trial does not have is None: an axis of another block, the metrics of one that diverged. test: those of
    the test split too. Where the study's rule stopped some early, there is a column `rung`: at which.
    """
    inside = [row for row in rows if not row.outside]
    axes = dict.fromkeys(key for row in inside for key in row.axes)
    rungs = [row.pruned.rung if row.pruned else None for row in inside]
    metrics = sorted({name for row in inside for name in row.metrics if test or not name.startswith("test/")})
    return {
        "trial": [row.trial_id for row in inside],
        "block": [row.block for row in inside],
        **{column_of(key): [row.axes.get(key) for row in inside] for key in axes},
        "outcome": [None if row.outcome is None else row.outcome.value for row in inside],
        "diverged_step": [row.diverged_step for row in inside],
        **({"rung": rungs} if any(rungs) else {}),
        **{name: [row.metrics.get(name) for row in inside] for name in metrics},
    }


def curves(ids: Iterable[str], series: Callable[[str], Mapping[str, Series]], names: Sequence[str] = ()) -> Columns:
    """Return a line a point of the series called `names`, or of all: trial's id, metric, step, value.

    Raises UsageError for a name that no trial has, where trials have others.
    """
    columns: Columns = {"trial": [], "metric": [], "step": [], "value": []}
    there: dict[str, None] = {}
    for trial_id in ids:
        for name, one in series(trial_id).items():
            there[name] = None
            if not names or name in names:
                columns["trial"] += [trial_id] * len(one.steps)
                columns["metric"] += [name] * len(one.steps)
                columns["step"] += one.steps.tolist()
                columns["value"] += one.values.tolist()
    if there and (missing := [name for name in names if name not in there]):
        raise UsageError(f"no trial has the curve {missing[0]!r}", f"there are {', '.join(sorted(there))}")
    return columns


def arranged(columns: Columns, sort: str | None = None, n: int | None = None) -> list[int]:
    """Return which lines of a table to show, in order. sort: a column, or -COLUMN for the largest first; n: at most.

    What has no value comes last, and text after numbers; lines that are equal stay in their order.
    Raises UsageError for a column that is not there.
    """
    lines = list(range(len(next(iter(columns.values()), []))))
    if sort is not None and lines:
        values = columns[known(columns, sort.removeprefix("-"))]
        some = [line for line in lines if values[line] is not None]
        some.sort(key=lambda line: _rank(values[line]), reverse=sort.startswith("-"))
        lines = some + [line for line in lines if values[line] is None]
    return lines if n is None else lines[:n]


def _rank(value: Any) -> tuple[bool, float, Any]:
    if not isinstance(value, str):
        return False, 0.0, value
    return True, float(value.rstrip("ep%")) if unit_of(value) else math.inf, value


def known(columns: Columns, name: str) -> str:
    """Return the name of a column. Raises UsageError, naming the nearest, if there is none of that name."""
    if name in columns:
        return name
    near = nearest(name, columns) or next(iter(get_close_matches(name, columns, n=1)), None)
    hint = f"did you mean {near}?" if near else f"there are {', '.join(columns)}"
    raise UsageError(f"there is no column {name!r}", hint)


def picked(columns: Columns, lines: Sequence[int], names: Sequence[str] = ()) -> Columns:
    """Return some lines of a table, and some of its columns; all columns if none is named."""
    if not lines:  # no trial has a metric then, and nobody misspelled it
        return {name: [] for name in names or columns}
    wanted = [known(columns, name) for name in names] or list(columns)
    return {name: [columns[name][line] for line in lines] for name in wanted}


def table(columns: Columns) -> Any:
    """Return columns as a DataFrame; as they are where there is no pandas."""
    try:
        from pandas import DataFrame
    except ImportError:
        return columns
    return DataFrame(columns)


def column_of(axis: str) -> str:
    """The name of an axis as a column: that of its key, or vars.NAME of a study's own variable."""
    known = "." in axis or leaf_of(axis) or axis in sections()
    return axis if known else f"vars.{axis}"

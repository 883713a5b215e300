"""Trials and curves as tidy tables: a pandas DataFrame where pandas is installed, else columns in a dict.

Names of columns never hide what a DataFrame has of its own: a study's own variables are called `vars.NAME`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from thalweg.runner.facts.observation import Series
from thalweg.runner.facts.row import Row
from thalweg.runner.study.keys import leaf_of, sections

Columns = dict[str, list[Any]]


def trials(rows: Iterable[Row], test: bool = False) -> Columns:
    """Return a line a trial of those inside their study: id, block, axes, outcome, step of divergence, final metrics.

    What a trial does not have is None: an axis of another block, the metrics of one that diverged. test: those of
    the test split too.
    """
    inside = [row for row in rows if not row.outside]
    axes = dict.fromkeys(key for row in inside for key in row.axes)
    metrics = sorted({name for row in inside for name in row.metrics if test or not name.startswith("test/")})
    return {
        "trial": [row.trial_id for row in inside],
        "block": [row.block for row in inside],
        **{_column(key): [row.axes.get(key) for row in inside] for key in axes},
        "outcome": [None if row.outcome is None else row.outcome.value for row in inside],
        "diverged_step": [row.diverged_step for row in inside],
        **{name: [row.metrics.get(name) for row in inside] for name in metrics},
    }


def curves(ids: Iterable[str], series: Callable[[str], Mapping[str, Series]], names: Sequence[str] = ()) -> Columns:
    """Return a line a point of the series called `names`, or of all: trial's id, metric, step, value."""
    columns: Columns = {"trial": [], "metric": [], "step": [], "value": []}
    for trial_id in ids:
        for name, one in series(trial_id).items():
            if not names or name in names:
                columns["trial"] += [trial_id] * len(one.steps)
                columns["metric"] += [name] * len(one.steps)
                columns["step"] += one.steps.tolist()
                columns["value"] += one.values.tolist()
    return columns


def table(columns: Columns) -> Any:
    """Return columns as a DataFrame; as they are where there is no pandas."""
    try:
        from pandas import DataFrame
    except ImportError:
        return columns
    return DataFrame(columns)


def _column(axis: str) -> str:
    known = "." in axis or leaf_of(axis) or axis in sections()
    return axis if known else f"vars.{axis}"

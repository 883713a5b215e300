"""What the page's script is given, as JSON: the trials column by column, the cells' trials, and the curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from thalweg.runner.analysis import Warmup
from thalweg.runner.base.canonical import Scalar
from thalweg.runner.cells.cells import Panel
from thalweg.runner.facts.coordinates import coordinate
from thalweg.runner.facts.observation import GUESS, Series
from thalweg.runner.facts.row import Row
from thalweg.runner.report.curves import chosen_series, pack, points_for, told_series
from thalweg.runner.report.source import Source
from thalweg.runner.report.titles import metric_title, named_values, short_title
from thalweg.runner.show.inert import clean
from thalweg.runner.show.numbers import is_number
from thalweg.runner.study.trial import SHOWN


def number_cells(cut: Sequence[Panel]) -> dict[int, int]:
    """id() of each cell -> its number over all panels."""
    return {id(cell): i for i, cell in enumerate(cell for panel in cut for cell in panel.cells)}


def payload(source: Source) -> dict[str, Any]:
    """Return all that the script reads."""
    rows = [row for row in source.view.rows if not row.outside]
    index = {id(row): i for i, row in enumerate(rows)}
    return {
        "table": _table(source, rows),
        "first": {"title": metric_title(source.view.study.metric), "down": source.view.study.direction == "max"},
        "cells": [[index[id(row)] for row in cell.rows] for panel in source.view.panels for cell in panel.cells],
        "panels": [clean(panel.name) for panel in source.view.panels],
        "owners": [i for i, panel in enumerate(source.view.panels) for _ in panel.cells],
        "places": _places(source.view.panels),
        **_curves(source, rows),
    }


def _places(cut: Sequence[Panel]) -> list[int]:
    """The place of each cell; cells of different panels at the same values of the same two axes have the same."""
    known: dict[object, int] = {}
    cells = ((panel, cell, i) for panel in cut for i, cell in enumerate(panel.cells))
    return [
        known.setdefault((panel.y, repr(cell.axes[panel.y]), panel.x, repr(cell.axes[panel.x])), len(known))
        if panel.x and panel.y
        else known.setdefault((panel.name, i), len(known))
        for panel, cell, i in cells
    ]


def _curves(source: Source, rows: Sequence[Row]) -> dict[str, list[Mapping[str, object]]]:
    """The losses of every trial, and what was told of its steps beside them.

    A trial that is in several blocks is read and packed once for each.
    """
    read: dict[str, Mapping[str, Series]] = {}
    for row in rows:
        if row.has_ended and row.trial_id not in read and source.view.series is not None:
            read[row.trial_id] = source.view.series(row.trial_id)
    chosen = chosen_series(next(filter(None, read.values()), ()), source.view.study.metric)
    told = told_series((name for series in read.values() for name in series), chosen)
    spikes = any(isinstance(answer, Warmup) for answer in source.view.answers)

    def packed(names: Sequence[str], *, log: bool | None) -> list[Mapping[str, object]]:
        most = points_for(len(rows), len(names))
        found = (
            pack(
                name,
                [read.get(row.trial_id, {}).get(name) for row in rows],
                most,
                peaks=spikes and name in chosen and name.startswith("train/"),
                log=log,
            )
            for name in names
        )
        return [{**each.packed(), "title": _called(each.name, told)} for each in found if each is not None]

    return {"curves": packed(chosen, log=True), "told": packed(told, log=None)}


def _called(name: str, told: Sequence[str]) -> str:
    """A series as its picture names it; what was told by its own name."""
    return clean(name.removeprefix("train/").replace("_", " ") if name in told else metric_title(name))


def _table(source: Source, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Columns of the table of trials. A column of names holds indices into its `labels`."""
    several = len({row.block for row in rows}) > 1
    varying = _varying(rows)
    inner = [key for key in varying if key in source.view.study.vars]  # what grids run along, known from the others
    metrics = {name for row in rows for name in row.metrics if not name.startswith(("test/", f"{GUESS}/"))}
    first = source.view.study.metric
    ranked = sorted(metrics, key=lambda name: (name != first, not name.startswith("val/"), name))
    columns = [
        {"title": "id", "values": [row.trial_id[:SHOWN] for row in rows], "code": True},
        *([_names("panel", [row.block for row in rows])] if several else []),
        *(_axis(key, rows) for key in varying if key not in inner),
        _names("outcome", [row.outcome or "not trained" for row in rows]),
        *(_metric(name, rows) for name in ranked),
        *(_axis(key, rows) for key in inner),
    ]
    if any(row.pruned for row in rows):
        at = [row.pruned.step if row.pruned else None for row in rows]
        columns.append({"title": "stopped at step", "values": at, "whole": True})
    if any(row.diverged_step is not None for row in rows):
        steps = {"title": "diverged at step", "values": [row.diverged_step for row in rows], "whole": True}
        columns.insert(-len(metrics) - len(inner) or len(columns), steps)
    return columns


def _metric(name: str, rows: Sequence[Row]) -> dict[str, Any]:
    values = (row.metrics.get(name) for row in rows)
    rounded = [None if v is None else float(f"{v:.4g}") for v in values]
    return {"title": metric_title(name), "key": clean(name), "values": rounded}


def _varying(rows: Sequence[Row]) -> list[str]:
    keys = dict.fromkeys(key for row in rows for key in row.axes)
    return [key for key in keys if len({repr(row.axes.get(key)) for row in rows}) > 1]


def _axis(key: str, rows: Sequence[Row]) -> dict[str, Any]:
    """One axis; numbers keep their order, whatever they are called."""
    values: list[Scalar | None] = [row.axes[key] if key in row.axes else coordinate(row.config, key) for row in rows]
    known = {value for value in values if value is not None}
    if not all(is_number(value) for value in known):
        return _names(short_title(key), ["" if value is None else value for value in values])
    ordered = sorted(known, key=lambda value: float(value))
    named = named_values(key, ordered)
    at = {value: i for i, value in enumerate(ordered)}
    return {
        "title": clean(short_title(key)),
        "key": clean(key),
        "labels": [named[value] for value in ordered],
        "numbers": [float(value) for value in ordered],
        "values": [None if value is None else at[value] for value in values],
        "number": True,
    }


def _names(title: str, values: Sequence[object]) -> dict[str, Any]:
    ordered = list(dict.fromkeys(values))
    at = {value: i for i, value in enumerate(ordered)}
    return {"title": clean(title), "labels": [clean(value) for value in ordered], "values": [at[v] for v in values]}

"""The report's source of a grid of three axes that was never trained."""

from __future__ import annotations

from dataclasses import replace

from sources import declared, series_of, trained
from three_axes import B1, rows_of, study_of

from thalweg.runner.report import Source
from thalweg.runner.view import StudyView


def source_of(loss, metric="val/loss", direction="min", rename=None):
    rows = rows_of(loss)
    if rename:
        rows = [replace(row, axes={**row.axes, B1: rename[row.axes[B1]]}) for row in rows]
    rows = [replace(row, trial_id=f"{i:016x}", metrics=_metrics(row, metric)) for i, row in enumerate(rows)]
    study = replace(declared(study_of()), metric=metric, direction=direction)
    return Source(StudyView(study=study, rows=rows, series=series_of), trained(rows))


def _metrics(row, metric):
    return {metric: row.metrics["val/loss"]} if "val/loss" in row.metrics else {}

"""From the store to a report: the one place where the store's records become what thalweg.runner.report is given."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thalweg.runner.report import Source
    from thalweg.runner.store import Store


def write_report(store: Store, study: str, out: Path | None = None) -> Path:
    """Write the report of a study to `out`, a file or a folder, else beside the store; return the file.

    Raises UsageError where the file cannot be written or the store has no such study.
    """
    from thalweg.runner.report import write

    source = source_of(store, study)
    path = report_path(store, study) if out is None else out / _name(study) if out.is_dir() else out
    write(source, path, datetime.now(UTC))
    return path


def report_path(store: Store, study: str) -> Path:
    """Return where a study's report lies unless its user says otherwise: beside the store."""
    return store.path.parent / _name(study)


def shown(path: Path) -> str:
    """Return a path as one would type it here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def source_of(store: Store, study: str) -> Source:
    """Read all that a report of a study is made of, but the series, which are read one by one."""
    from thalweg.runner.analysis.study import findings
    from thalweg.runner.report import Source, Trained

    record, rows = store.study(study), store.study_rows(study)
    trained = [
        Trained(
            executor=each.cohort.executor,
            device=each.cohort.device,
            layout=each.cohort.layout,
            versions=each.cohort.versions,
            seconds=each.seconds or 0.0,
            ended=each.ended or "",
        )
        for each in store.export_rows(study)
        if each.cohort is not None
    ]
    answers = findings(rows, record, store.series)
    return Source(study=record, rows=rows, answers=answers, trained=trained, series=store.series)


def _name(study: str) -> str:
    from thalweg.runner.report import file_name

    return file_name(study)

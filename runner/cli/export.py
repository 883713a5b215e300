"""From stored trials to the tracker's: the one place where the store's records become W&B's input."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from thalweg.runner.facts.observation import Outcome

if TYPE_CHECKING:
    from thalweg.runner.facts.record import Membership, TrialRecord
    from thalweg.runner.store import Store
    from thalweg.runner.study.settings import TrackerSettings
    from thalweg.runner.tracker import ExportResult, ExportTrial


def export_stored(
    store: Store,
    study: str | None,
    settings: TrackerSettings,
    words: Sequence[str],
    *,
    deadline_seconds: float | None = None,
    asked_to_upload: bool = False,
    report: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> ExportResult:
    """Export the done trials of one study, or of all. `words` are those of the command line: typed settings win."""
    from thalweg.runner.tracker import export

    return export(
        [_trial(store, record) for record in store.export_rows(study)],
        store.path,
        settings,
        given=_given(words),
        deadline_seconds=deadline_seconds,
        asked_to_upload=asked_to_upload,
        report=report,
    )


def check_names(settings: TrackerSettings, words: Sequence[str], store: Path) -> None:
    """Refuse what variables name and W&B would not take, before anything is trained."""
    if settings.name != "none" and any(name in os.environ for name in ("WANDB_PROJECT", "WANDB_ENTITY")):
        from thalweg.runner.tracker import surroundings

        surroundings(os.environ, settings, _given(words), store.parent)


def _given(words: Sequence[str]) -> list[str]:
    """The tracker's settings that were typed: project of tracker.project=mine."""
    keys = (word.partition("=")[0].lstrip("+") for word in words)
    return [key.removeprefix("tracker.") for key in keys if key.startswith("tracker.")]


def _trial(store: Store, record: TrialRecord) -> ExportTrial:
    from thalweg.runner.tracker import ExportTrial

    places = sorted(record.memberships, key=lambda place: not _trained_by(place, record))
    return ExportTrial(
        trial_id=record.trial_id,
        config=record.config,
        outcome=record.outcome or Outcome.FAILED,
        diverged_step=record.diverged_step,
        metrics=record.metrics,
        series=lambda: store.series(record.trial_id),
        weight_hash=record.weight_hash,
        seconds=record.seconds or 0.0,
        studies=tuple(dict.fromkeys(place.study for place in places)),
        block=places[0].block if places else "",
        axes=places[0].axes if places else {},
    )


def _trained_by(place: Membership, record: TrialRecord) -> bool:
    return record.cohort is not None and place.study == record.cohort.study

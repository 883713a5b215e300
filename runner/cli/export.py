"""From stored trials to the tracker's: the one place where the store's records become W&B's input."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from thalweg.runner.base.errors import last_line
from thalweg.runner.facts.observation import Outcome
from thalweg.runner.project.code import GIT

if TYPE_CHECKING:
    from thalweg.runner.analysis import Answer
    from thalweg.runner.facts.observation import Series
    from thalweg.runner.facts.record import Membership, TrialRecord
    from thalweg.runner.store import Store
    from thalweg.runner.study.settings import TrackerSettings
    from thalweg.runner.study.study import Study
    from thalweg.runner.tracker import Answered, ExportAnalysis, ExportResult, ExportTrial, Found


def export_stored(
    store: Store,
    study: str | None,
    settings: TrackerSettings,
    given: Sequence[str],
    *,
    training: bool = False,
    write_seconds: float | None = None,
    upload_seconds: float | None = None,
    asked_to_upload: bool = False,
    dry_run: bool = False,
    report: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> ExportResult:
    """Export the trials of one study, or of all, that ended or were stopped early.

    given: the tracker's settings that were typed, which win.
    training: the study is still being trained, so that no cell is chosen yet.
    """
    from thalweg.runner.tracker import export

    trials = export_trials(store, study, settings, training=training)
    return export(
        trials,
        store.path,
        settings,
        given=given,
        write_seconds=write_seconds,
        upload_seconds=upload_seconds,
        asked_to_upload=asked_to_upload,
        dry_run=dry_run,
        report=report,
        analyses=[] if training else [_analysis(store, name) for name in _studies_of(trials) if study in (None, name)],
    )


def export_trials(
    store: Store, study: str | None, settings: TrackerSettings, *, training: bool = False
) -> list[ExportTrial]:
    """Return the trials of one study, or of all, that ended or were stopped, each with what its study says of it."""
    records = store.told_rows(study)
    owners = {record.trial_id: _owner(record) for record in records}
    names = dict.fromkeys(place.study for place in owners.values() if place)
    told = {name: _told(store, name, training) for name in names}
    found = []
    for record in records:
        place = owners[record.trial_id]
        found.append(_trial(store, record, place, told[place.study] if place else None, settings))
    return found


def growing_trials(
    store: Store, study: str, settings: TrackerSettings, series: Mapping[str, Mapping[str, Series]]
) -> list[ExportTrial]:
    """Return the trials of a study that still train, with what is known of their series by now."""
    told, found = _told(store, study, training=True), []
    for trial_id, known in series.items():
        record = store.trial(trial_id)
        place = next((each for each in record.memberships if each.study == study), None)
        found.append(replace(_trial(store, record, place, told, settings), series=partial(dict, known)))
    return found


def check_names(settings: TrackerSettings, words: Sequence[str], store: Path) -> None:
    """Refuse what variables name and W&B would not take, before anything is trained."""
    if settings.name != "none" and any(name in os.environ for name in ("WANDB_PROJECT", "WANDB_ENTITY")):
        from thalweg.runner.tracker import surroundings

        surroundings(os.environ, settings, typed(words), store.parent)


def typed(words: Sequence[str]) -> list[str]:
    """The tracker's settings among the words of a command line: project of tracker.project=mine."""
    keys = (word.partition("=")[0].lstrip("+") for word in words)
    return [key.removeprefix("tracker.") for key in keys if key.startswith("tracker.")]


@dataclass(frozen=True)
class _Told:
    """What a study says of its trials: block -> the axes that tell them apart; the trials of the chosen cell."""

    study: Study
    telling: dict[str, tuple[str, ...]]
    chosen: frozenset[str]
    command: str


def _told(store: Store, name: str, training: bool) -> _Told:
    from thalweg.runner.cells.cells import axis_keys, fold, near_optimal

    study = store.study(name)
    cells = fold(store.study_rows(name), study)
    blocks = {block.name: block for block in study.blocks}
    by_block = {block: [cell for cell in cells if cell.rows[0].block == block] for block in blocks}
    replicate = (study.replicate,) if study.replicate else ()
    one_data = len({str(cell.rows[0].config.get("dataset")) for cell in cells}) == 1
    best = near_optimal(cells) if one_data and not training else None
    return _Told(
        study,
        {block: (*axis_keys(of, blocks[block]), *replicate) for block, of in by_block.items() if of},
        frozenset(row.trial_id for row in best.best.rows) if best else frozenset(),
        command_of(study),
    )


def _owner(record: TrialRecord) -> Membership | None:
    """The place of a trial in the study that trained it, or stopped it; else in the first that has it."""
    trained = record.cohort.study if record.cohort else None
    return min(record.memberships, key=lambda place: (not place.pruned, place.study != trained), default=None)


def _studies_of(trials: Sequence[ExportTrial]) -> list[str]:
    """The studies that have something to say: those of more than one trial."""
    trained = Counter(trial.study for trial in trials)
    return [name for name, number in trained.items() if name and number > 1]


def _analysis(store: Store, name: str) -> ExportAnalysis:
    from thalweg.runner.facts import tidy
    from thalweg.runner.tracker import ExportAnalysis

    study, rows = store.study(name), store.study_rows(name)
    return ExportAnalysis(
        study=name,
        question=study.question,
        metric=study.metric,
        asked=repr((study.analyses, study.hypothesis, study.stop, [(each.name, each.expect) for each in study.blocks])),
        command=command_of(study),
        trials=tidy.trials(rows),
        answered=lambda: _answered(store, name),
        ended=study.declared or None,
    )


def _answered(store: Store, name: str) -> Answered:
    from thalweg.runner import page
    from thalweg.runner.report import pictures
    from thalweg.runner.tracker import Answered

    seen = page.view(store, name)
    with tempfile.TemporaryDirectory(prefix="thalweg-report-") as folder:
        report = page.report(store, name, Path(folder), seen=seen).read_bytes()
    found = tuple(each for answer in seen.answers for each in _found(answer))
    return Answered(found=found, report=report, pictures=pictures(seen))


def _found(answer: Answer) -> Iterator[Found]:
    from thalweg.runner.tracker import Found

    expected = answer.expect if answer.kind == "coupling" else None
    for number in answer.findings:
        yield Found(
            kind=answer.kind,
            panel=answer.panel,
            number="slope" if answer.kind == "coupling" else number.name,
            **{key: getattr(number, key) for key in ("estimate", "low", "high", "n", "unit", "method", "caveats")},
            verdict=answer.label,
            expected=expected.slope if expected else None,
            as_expected=answer.as_expected if answer.kind == "coupling" else None,
        )


def command_of(study: Study) -> str:
    """Return the command that sweeps a study."""
    words = study.document.get("overrides") or [study.name]
    return shlex.join(["thalweg", "sweep", *map(str, words)])


def _trial(
    store: Store, record: TrialRecord, place: Membership | None, told: _Told | None, settings: TrackerSettings
) -> ExportTrial:
    from thalweg.runner.tracker import ExportTrial

    pruned = place.pruned if place and record.outcome is None else None
    trial = partial(
        ExportTrial,
        trial_id=record.trial_id,
        config=record.config,
        outcome=record.outcome or Outcome.PRUNED,
        pruned=(pruned.rung, pruned.step) if pruned else None,
        error=last_line(record.error) if record.error else None,
        diverged_step=record.diverged_step,
        metrics=record.metrics,
        series=partial(store.reached_series if pruned else store.series, record.trial_id),
        weight_hash=record.weight_hash,
        seconds=record.seconds or 0.0,
        commit=record.cohort.versions.get(GIT) if record.cohort else None,
        tags=settings.tags,
        ended=record.ended,
        axes=place.axes if place else {},
    )
    if place is None or told is None:
        return trial()
    return trial(
        study=place.study,
        block=place.block,
        telling=told.telling.get(place.block, ()),
        replicate=told.study.replicate,
        metric=told.study.metric,
        direction=told.study.direction,
        chosen=record.trial_id in told.chosen,
        command=told.command,
    )

"""Trials whose code has changed since they were trained, the user's or ours: which there are, and what replaces them.

A stored trial never changes. One that is trained anew by changed code is a trial of its own, whose configuration has
that code's `revision`; from then on, and while the code stays as it is, it takes the other one's place in its studies.

| the trial was trained by | its revision is stored | rerun | member of the study      |
|--------------------------|------------------------|-------|--------------------------|
| nobody, or this code     | either                 | either| the trial                |
| other code               | no                     | no    | the trial, and it is said |
| other code               | yes                    | either| its revision             |
| other code               | no                     | yes   | its revision             |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from thalweg.data.files import fingerprint_before, marked, marks_of
from thalweg.runner.facts.row import Row
from thalweg.runner.project.code import Code, code_of, revision_of
from thalweg.runner.study.arithmetic import earlier
from thalweg.runner.study.keys import trial_config
from thalweg.runner.study.study import Member
from thalweg.runner.study.target import before, is_target
from thalweg.runner.study.trial import Trial


@dataclass(frozen=True)
class Revised:
    """Members as they stand with the code as it is now.

    changed: files -> number of done members that other versions of these files trained. replaced: ids of the
    trials whose revision takes their place.
    """

    members: list[Member]
    changed: dict[tuple[str, ...], int]
    replaced: tuple[str, ...]


def revised(
    members: Sequence[Member],
    trained_by: Callable[[Collection[str]], Mapping[str, Code]],
    stored: Callable[[Collection[str]], Collection[str]],
    rerun: bool = False,
) -> Revised:
    """Return what the members are, given the code that trained them.

    trained_by: trial ids -> the code recorded with those that are done. stored: those of some ids that are stored.
    """
    now = {m.trial.id: code for m in members if (code := code_of(m.trial.config))}
    before = trained_by(now.keys()) if now else {}
    stale = [m for m in members if before.get(m.trial.id, now.get(m.trial.id)) != now.get(m.trial.id)]
    anew = {m.trial.id: _revision(m.trial, now[m.trial.id]) for m in stale}
    there = set(stored([trial.id for trial in anew.values()])) if anew else set()
    taken = {old: new for old, new in anew.items() if rerun or new.id in there}
    files = {m.trial.id: _differing(before[m.trial.id], now[m.trial.id]) for m in stale if m.trial.id not in taken}
    return Revised(
        members=[replace(m, trial=taken[m.trial.id]) if m.trial.id in taken else m for m in members],
        changed=dict(Counter(files.values())),
        replaced=tuple(taken),
    )


def renamed(members: Sequence[Member], done: Callable[[Collection[str]], Collection[str]]) -> list[Member]:
    """Return the members, by the ids that they had when the same files had another fingerprint, if any is done by it.

    All that share a dataset are called alike, new ones too, so that they are folded into one cell; but for those that
    are done by their id of now. done: those of some ids that are done.
    """
    datasets = {dataset: _dataset_before(dataset) for dataset in {m.trial.config.dataset for m in members}}
    if not any(datasets.values()):  # spares most studies a look at each member
        return list(members)
    olds = {m.trial.id: _on(m.trial, then) for m in members if (then := datasets[m.trial.config.dataset])}
    there = set(done([*olds, *(old.id for old in olds.values())])) if olds else set()
    kept = {old.config.dataset for old in olds.values() if old.id in there}
    taken = {new: old for new, old in olds.items() if old.config.dataset in kept and new not in there}
    return [replace(m, trial=taken.get(m.trial.id, m.trial)) for m in members]


def _on(trial: Trial, dataset: Any) -> Trial:
    return Trial(replace(trial.config, dataset=dataset))


@dataclass(frozen=True)
class Repaired:
    """counts: what was mended -> number of members that were trained only before. replaced: ids of the trials then."""

    counts: dict[str, int]
    replaced: tuple[str, ...]


def repaired(members: Sequence[Member], done: Callable[[Collection[str]], Collection[str]]) -> Repaired:
    """Return which members were trained before a repair that touches them. done: those of some ids that are done."""
    before = {m.trial.id: earlier(m.trial) for m in members if m.trial.config.arithmetic}
    if not before:
        return Repaired({}, ())
    there = set(done([*before, *(old.id for pairs in before.values() for old, _ in pairs)]))
    counts: Counter[str] = Counter()
    replaced = []
    for trial_id, pairs in before.items():
        stale = [(old.id, repair.what) for old, repair in pairs if old.id in there]
        replaced += [old for old, _ in stale]
        if stale and trial_id not in there:
            counts[stale[-1][1]] += 1
    return Repaired(dict(counts), tuple(replaced))


def superseded(rows: Sequence[Row], members: Sequence[Member], now: Sequence[Member]) -> tuple[str, ...]:
    """Return the ids of a study's revisions that are in it though the code is not theirs any more.

    members: as declared. now: as they stand with the code as it is.
    """
    declared, standing = {m.trial.id for m in members}, {m.trial.id for m in now}
    old = (row for row in rows if row.config.get("revision") and not row.outside and row.trial_id not in standing)
    return tuple(row.trial_id for row in old if _original(row) in declared)


def _dataset_before(dataset: Any) -> Any:
    """A dataset as version 0.1.0 would have declared it on the same files, if that is another; else None."""
    if is_target(dataset):
        return before(dataset)
    then = fingerprint_before(dataset) if getattr(dataset, "fingerprint", None) else None
    return replace(dataset, fingerprint=marked(then, marks_of(dataset.fingerprint))) if then else None


def _original(row: Row) -> str:
    return Trial(trial_config({**row.config, "revision": None})).id


def _revision(trial: Trial, code: Code) -> Trial:
    return Trial(replace(trial.config, revision=revision_of(code)))


def _differing(before: Code, now: Code) -> tuple[str, ...]:
    return tuple(name for name in sorted({*before, *now}) if before.get(name) != now.get(name))

"""A declared study against a store: a plan that knows of changed code and of repairs. Knows no SQL."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from thalweg.runner.base.errors import UsageError
from thalweg.runner.facts.record import History, TrialRecord
from thalweg.runner.facts.row import Row, TrialStatus
from thalweg.runner.planning.asking import asks, grown, unknown
from thalweg.runner.planning.plan import Plan, make_plan
from thalweg.runner.planning.revision import renamed, repaired, revised, superseded
from thalweg.runner.planning.starts import started
from thalweg.runner.project.code import Code, measured_otherwise, recorded
from thalweg.runner.show.numbers import count
from thalweg.runner.study.keys import is_setting
from thalweg.runner.study.study import Study, expand


class Stored(Protocol):
    """What is asked of a store."""

    def statuses(self, ids: Iterable[str]) -> dict[str, TrialStatus]:
        """Trial id -> status, for those of `ids` that are stored."""

    def trained_by(self, ids: Iterable[str]) -> Mapping[str, Mapping[str, str]]:
        """Trial id -> the versions that were recorded with it, for those of `ids` that are done."""

    def measured_by(self, ids: Iterable[str]) -> Mapping[str, Mapping[str, str]]:
        """Trial id -> the code of the user's metrics that its values are of."""

    def histories(self, group_ids: Iterable[str]) -> Mapping[str, History]:
        """Group -> what its trials took to train, for those of which any finished."""

    def study_rows(self, name: str, *, metrics: bool = True) -> Sequence[Row]:
        """The study as it was declared before; empty if it never was. metrics: with what was measured."""

    def study(self, name: str) -> Study:
        """A study that is there, as it was declared last."""

    def last_commit(self) -> int:
        """The number of the last commit."""

    def trial(self, prefix: str) -> TrialRecord:
        """The trial whose id begins so. Raises UsageError if there is not exactly one."""


def compare(study: Study, stored: Stored | None, rerun: bool = False, metrics: Sequence[str] = ()) -> Plan:
    """Expand a study and return what of it is done and what is missing, all of it where nothing is stored yet.

    rerun: trials that other code of the user's trained are wanted anew. metrics: the user's, that a sweep would
    measure. Raises ConfigError for a combination of
    values that no trial can have, and UsageError for words that name a stored study and none of its trials.
    """
    commits = stored.last_commit() if stored else None
    rows = stored.study_rows(study.name, metrics=asks(study)) if stored else ()
    study = grown(study, rows)
    members = started(expand(study), stored.trial if stored else None)
    excluded, later = study.size - len(members), unknown(study)
    if stored is None:
        return replace(make_plan(study, members, {}), excluded=excluded, unknown=later)

    def code_of(ids: Collection[str]) -> dict[str, Code]:
        found = {trial_id: recorded(versions) for trial_id, versions in stored.trained_by(ids).items()}
        return {trial_id: code for trial_id, code in found.items() if code}

    def done(ids: Collection[str]) -> list[str]:
        return [i for i, status in stored.statuses(ids).items() if status.outcome and status.outcome.is_done]

    members = renamed(members, done)
    mended = repaired(members, done)
    now = revised(members, code_of, stored.statuses, rerun)
    if study.overridden and rows and _says_no_trials(study) and not {m.trial.id for m in members} <= _ids(rows):
        raise _no_axes(study, stored.study(study.name), rows)
    made = make_plan(study, now.members, stored.statuses(member.trial.id for member in now.members), rows)
    replaced = mended.replaced + now.replaced + superseded(rows, members, now.members)
    stale = _measured_otherwise(stored.measured_by(member.trial.id for member in made.members), metrics)
    return replace(
        made,
        changed=now.changed,
        repaired=mended.counts,
        replaced=replaced,
        commits=commits,
        excluded=excluded,
        unknown=later,
        stale=stale,
        history=stored.histories([group.group_id for group in made.groups]) if made.groups else {},
    )


def _measured_otherwise(code: Mapping[str, Mapping[str, str]], metrics: Sequence[str]) -> dict[str, int]:
    """Metric of the user's -> the number of trials whose value of it is of other code than measures now."""
    alike = Counter(tuple(sorted(each.items())) for each in code.values())
    stale: Counter[str] = Counter()
    for measuring, number in alike.items():
        stale.update(dict.fromkeys(measured_otherwise(dict(measuring), metrics), number))
    return dict(stale)


def _ids(rows: Sequence[Row]) -> set[str]:
    return {row.trial_id for row in rows}


def _words(study: Study) -> dict[str, str]:
    """The words that declared a study, by the key that each is about."""
    return {word.partition("=")[0].lstrip("+~"): word for word in study.document.get("overrides", ())}


def _says_no_trials(study: Study) -> bool:
    """Whether the words of a declaration are about the study itself and how it is run, and no axis or value."""
    return all(key == "study" or key.startswith("study.") or is_setting(key) for key in _words(study))


def _no_axes(study: Study, before: Study, rows: Sequence[Row]) -> UsageError:
    """The refusal of a trial that nobody asked for: the one at all defaults, in a study that has others."""
    words = _words(before) | _words(study)
    if any("=" not in word for word in words.values()):
        words.pop("study.name", None)  # it has a file, which names it
    held = count(len(_ids(rows)), "trial")
    return UsageError(
        f"the study {study.name} holds {held}, and these words name no axis or value of them; they declare another",
        f"say which: {shlex.join(['thalweg', 'sweep', *words.values()])}",
    )

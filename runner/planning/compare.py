"""A declared study against a store: a plan that knows of changed code and of repairs. Knows no SQL."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from thalweg.runner.facts.row import Row, TrialStatus
from thalweg.runner.planning.plan import Plan, make_plan
from thalweg.runner.planning.revision import renamed, repaired, revised, superseded
from thalweg.runner.project.code import Code, recorded
from thalweg.runner.study.study import Study, expand


class Stored(Protocol):
    """What is asked of a store."""

    def statuses(self, ids: Iterable[str]) -> dict[str, TrialStatus]:
        """Trial id -> status, for those of `ids` that are stored."""

    def trained_by(self, ids: Iterable[str]) -> Mapping[str, Mapping[str, str]]:
        """Trial id -> the versions that were recorded with it, for those of `ids` that are done."""

    def study_rows(self, name: str) -> Sequence[Row]:
        """The study as it was declared before; empty if it never was."""


def compare(study: Study, stored: Stored | None, rerun: bool = False) -> Plan:
    """Expand a study and return what of it is done and what is missing, all of it where nothing is stored yet.

    rerun: trials that other code of the user's trained are wanted anew. Raises ConfigError for a combination of
    values that no trial can have.
    """
    members = expand(study)
    if stored is None:
        return make_plan(study, members, {})

    def code_of(ids: Collection[str]) -> dict[str, Code]:
        found = {trial_id: recorded(versions) for trial_id, versions in stored.trained_by(ids).items()}
        return {trial_id: code for trial_id, code in found.items() if code}

    def done(ids: Collection[str]) -> list[str]:
        return [i for i, status in stored.statuses(ids).items() if status.outcome and status.outcome.is_done]

    members = renamed(members, done)
    mended = repaired(members, done)
    now = revised(members, code_of, stored.statuses, rerun)
    rows = stored.study_rows(study.name)
    made = make_plan(study, now.members, stored.statuses(member.trial.id for member in now.members), rows)
    replaced = mended.replaced + now.replaced + superseded(rows, members, now.members)
    return replace(made, changed=now.changed, repaired=mended.counts, replaced=replaced)

"""A plan: what a study wants, what the store has, and what is left to train. Pure: no torch, no SQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from thalweg.runner.base.canonical import Scalar
from thalweg.runner.facts.observation import Outcome
from thalweg.runner.facts.row import Row, TrialStatus
from thalweg.runner.planning.advice import advice
from thalweg.runner.study.study import Member, Study
from thalweg.runner.study.trial import Trial


@dataclass(frozen=True)
class Group:
    """Missing trials of one structure: they can train as one program."""

    group_id: str
    trials: tuple[Trial, ...]
    wanted: int  # trials of this structure that the study declares, done ones included


@dataclass(frozen=True)
class Plan:
    """The difference between a declaration and a store.

    wanted counts distinct trials; done + to_train == wanted. Among to_train, `retry` counts those that failed before
    and `unmeasured` those that finished without the study's metric; `lacking` counts those of the done ones for which
    that was mended in vain, since it gave other bits: they stay without it.
    """

    study: Study
    members: tuple[Member, ...]
    wanted: int
    done: int
    diverged: int
    retry: int
    unmeasured: int
    groups: tuple[Group, ...]
    outside: int  # done members of the stored study that are, or would become, outside it
    kept_points: dict[str, tuple[int, int]]  # axis key -> (values that have done trials, values declared)
    changed: dict[tuple[str, ...], int] = field(default_factory=dict)  # files of the user's -> done by others of them
    repaired: dict[str, int] = field(default_factory=dict)  # what was mended -> to train: done only by code of before
    lacking: int = 0
    excluded: int = 0  # cells that the study's own conditions take away
    replaced: tuple[str, ...] = ()  # ids of trials in whose place another stands, by the code as it is now

    @property
    def to_train(self) -> int:
        """Number of trials that a sweep would train."""
        return sum(len(group.trials) for group in self.groups)

    @property
    def advice(self) -> list[str]:
        """What is worth knowing of the trials to train before they do, in sentences."""
        return advice(self.study, [trial for group in self.groups for trial in group.trials])


UNTRAINED = TrialStatus(None)


def make_plan(
    study: Study,
    members: Sequence[Member],
    statuses: Mapping[str, TrialStatus],
    previous: Sequence[Row] = (),
) -> Plan:
    """Compare what `study` declares with what is stored.

    statuses: trial id -> status, of the stored ones among `members`. previous: the study's stored rows, from
    which follow `outside` and `kept_points`. Groups and their trials are in declared order.
    """
    trials = {member.trial.id: member.trial for member in members}
    status = {trial_id: statuses.get(trial_id, UNTRAINED) for trial_id in trials}
    missing = [trials[trial_id] for trial_id in trials if not status[trial_id].is_done(study.metric)]
    outcomes = Counter(status[trial.id].outcome for trial in missing)
    return Plan(
        study=study,
        members=tuple(members),
        wanted=len(trials),
        done=len(trials) - len(missing),
        diverged=sum(each.outcome is Outcome.DIVERGED for each in status.values()),
        retry=outcomes[Outcome.FAILED],
        unmeasured=outcomes[Outcome.FINISHED],
        groups=_groups(trials.values(), missing),
        outside=_outside(study, trials, previous),
        kept_points=_kept_points(study, previous),
        lacking=sum(each.lacks(study.metric) for each in status.values()),
    )


def _groups(wanted: Iterable[Trial], missing: Sequence[Trial]) -> tuple[Group, ...]:
    if not missing:  # spares a finished study the hashing of every structure
        return ()
    together: dict[str, list[Trial]] = {}
    for trial in missing:
        together.setdefault(trial.group_id, []).append(trial)
    sizes = Counter(trial.group_id for trial in wanted)
    return tuple(Group(group_id, tuple(trials), sizes[group_id]) for group_id, trials in together.items())


def _outside(study: Study, declared: Mapping[str, Trial], previous: Sequence[Row]) -> int:
    """Done trials that are, or would be once this is declared, outside the study."""
    inside = {row.trial_id for row in previous if row.overridden or (study.overridden and not row.outside)}
    done = {row.trial_id for row in previous if row.outcome is not None and row.outcome.is_done}
    return len(done - inside - declared.keys())


def _kept_points(study: Study, previous: Sequence[Row]) -> dict[str, tuple[int, int]]:
    stored: dict[str, set[Scalar]] = {}
    for row in previous:
        if row.outcome is not None and row.outcome.is_done:
            for key, value in row.axes.items():
                stored.setdefault(key, set()).add(value)
    declared: dict[str, set[Scalar]] = {}
    for block in study.blocks:
        for axis in (*block.group_axes, *block.axes):
            declared.setdefault(axis.key, set()).update(axis.values)
    return {key: (len(values & stored[key]), len(values)) for key, values in declared.items() if key in stored}

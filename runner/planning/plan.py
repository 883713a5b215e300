"""A plan: what a study wants, what the store has, and what is left to train. Pure: no torch, no SQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from thalweg.runner.base.canonical import Scalar, structure_dict
from thalweg.runner.facts.observation import Outcome
from thalweg.runner.facts.record import History
from thalweg.runner.facts.row import Row, TrialStatus
from thalweg.runner.planning.advice import advice
from thalweg.runner.study.keys import flatten
from thalweg.runner.study.stop import Pruned
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

    wanted counts distinct trials; done + to_train + others + failed + pruned + waiting == wanted. others: those of
    other shards; failed: those that failed before and are left alone; pruned: those that the study's rule stopped
    early, and where; waiting: those that came to a rung, and go on or stop once all others are there. Among to_train,
    `retry` counts those that failed before and `unmeasured` those that finished without the study's metric; `until` and
    `reached` say of them which rung they are trained to, if not to their end, and how far they have come. `lacking`
    counts those of the done ones for which a missing metric was mended in vain, since it gave other bits: they stay
    without it.
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
    stale: dict[str, int] = field(default_factory=dict)  # metric of the user's -> done, measured by its code of before
    lacking: int = 0
    history: Mapping[str, History] = field(default_factory=dict)  # group id -> what its trials took before
    unknown: int = 0  # points that are asked for once those before them have ended
    excluded: int = 0  # cells that the study's own conditions take away
    replaced: tuple[str, ...] = ()  # ids of trials in whose place another stands, by the code as it is now
    others: int = 0
    failed: int = 0
    settling: bool = False  # what is to train is left to others; how it trains is to be found out
    known: frozenset[str] = frozenset()  # ids of the members that the store had
    pruned: Mapping[str, Pruned] = field(default_factory=dict)
    waiting: int = 0
    until: Mapping[str, int] = field(default_factory=dict)
    reached: Mapping[str, int] = field(default_factory=dict)
    hindsight: str = ""  # how often the rule would have been wrong in what the study has trained whole
    places: tuple[int, ...] = ()  # of the members in the declaration, where others of it are another share's
    commits: int | None = None  # how many the store had, so that a trial that failed since is not taken for a retry

    @property
    def to_train(self) -> int:
        """Number of trials that a sweep would train."""
        return sum(len(group.trials) for group in self.groups)

    @property
    def ids_to_train(self) -> list[str]:
        """Ids of the trials that a sweep would train."""
        return [trial.id for group in self.groups for trial in group.trials]

    @property
    def cost(self) -> Cost | None:
        """What training is expected to take; None where no trial of its groups was trained before."""
        there = [group for group in self.groups if group.group_id in self.history]
        known = [(len(group.trials), self.history[group.group_id]) for group in there]
        if not known:
            return None
        peaks = [each.peak_bytes for _, each in known if each.peak_bytes is not None]
        return Cost(
            seconds=sum(n * each.seconds for n, each in known),
            fastest=sum(n * each.fastest for n, each in known),
            slowest=sum(n * each.slowest for n, each in known),
            like=sum(each.trials for _, each in known),
            unknown=self.to_train - sum(n for n, _ in known),
            peak_bytes=max(peaks, default=None),
        )

    @property
    def apart_by(self) -> dict[str, list[Any]]:
        """Keys in which the groups to train differ, so that their trials share no program; a value for each group."""
        shared = [dict(flatten(structure_dict(group.trials[0].config))) for group in self.groups]
        keys = dict.fromkeys(key for each in shared for key in each)
        each_of = list(zip(shared, self.groups, strict=True))
        values = {key: [own.get(key, _at(group.trials[0].config, key)) for own, group in each_of] for key in keys}
        apart = {key: each for key, each in values.items() if len(set(map(repr, each))) > 1}
        return {key: each for key, each in apart.items() if not _follows(key, apart)}

    @property
    def advice(self) -> list[str]:
        """What is worth knowing of the trials to train before they do, in sentences."""
        return advice(self.study, [trial for group in self.groups for trial in group.trials])


def _at(config: Any, key: str) -> Any:
    """A value that a structure leaves out, as its field was introduced with it; None where there is no such field."""
    for name in key.split("."):
        config = getattr(config, name, None)
    return config


@dataclass(frozen=True)
class Cost:
    """What training is expected to take on one core, as trials of the same groups took before.

    fastest, slowest: if all went as in the fastest and the slowest of their cohorts. like: trials that this is known
    from. unknown: trials to train of groups without any.
    """

    seconds: float
    fastest: float
    slowest: float
    like: int
    unknown: int
    peak_bytes: int | None


def _follows(key: str, apart: Mapping[str, Sequence[Any]]) -> bool:
    """Whether a key differs only in being there or not, since another option of its section was chosen."""
    name = f"{key.partition('.')[0]}.name"
    return key != name and name in apart and len({repr(value) for value in apart[key] if value is not None}) < 2


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
        kept_points=_kept_points(study, members, previous),
        lacking=sum(each.lacks(study.metric) for each in status.values()),
        known=frozenset(statuses),
    )


def only(made: Plan, wanted: Callable[[Trial], bool]) -> tuple[Group, ...]:
    """The groups of a plan with those trials that are wanted."""
    kept = (replace(group, trials=tuple(filter(wanted, group.trials))) for group in made.groups)
    return tuple(group for group in kept if group.trials)


def leave_failed(made: Plan, statuses: Mapping[str, TrialStatus]) -> Plan:
    """The plan without the trials that failed before."""
    groups = only(made, lambda trial: statuses.get(trial.id, UNTRAINED).outcome is not Outcome.FAILED)
    left = made.to_train - sum(len(group.trials) for group in groups)
    return replace(made, groups=groups, failed=left, retry=0)


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


def _kept_points(study: Study, members: Sequence[Member], previous: Sequence[Row]) -> dict[str, tuple[int, int]]:
    stored: dict[str, set[Scalar]] = {}
    for row in previous:
        if row.outcome is not None and row.outcome.is_done:
            for key, value in row.axes.items():
                stored.setdefault(key, set()).add(value)
    declared: dict[str, set[Scalar]] = {}
    axes = {axis.key for block in study.blocks for axis in (*block.group_axes, *block.axes)}
    for member in members if stored else ():  # as members have them: durations in steps, and what is wanted alone
        for key in axes & member.axes.keys():
            declared.setdefault(key, set()).add(member.axes[key])
    return {key: (len(values & stored[key]), len(values)) for key, values in declared.items() if key in stored}

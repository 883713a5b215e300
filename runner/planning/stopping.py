"""Who of a study stops early, by its rule and by what a store holds of its trials; and what that leaves to train.

Cells are compared within a contest: those of one block and one structure that a question reads as one grid, or all of
these where nothing is asked. The contests follow from the declaration alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Protocol

from thalweg.runner.base.errors import ConfigError, UsageError
from thalweg.runner.facts.observation import Outcome
from thalweg.runner.facts.row import TrialStatus
from thalweg.runner.planning.plan import Plan, only
from thalweg.runner.study.settings import Evaluation, evaluation_steps
from thalweg.runner.study.stop import Contest, Reached, Standing, Stop, standing, together
from thalweg.runner.study.study import Block, Member, Study

NAN, INF = float("nan"), float("inf")


class Measured(Protocol):
    """What is asked of a store."""

    def statuses(self, ids: Iterable[str]) -> dict[str, TrialStatus]:
        """Trial id -> status, for those of `ids` that are stored."""

    def measured_at(self, ids: Iterable[str], metric: str, steps: Collection[int]) -> dict[str, dict[int, float]]:
        """Trial id -> step -> what a trial, done or on its way, measured of a metric after so many steps."""

    def reached_steps(self, ids: Iterable[str]) -> dict[str, int]:
        """Trial id -> the steps that it took, for those of `ids` that came to a rung and are not done."""


def contests(study: Study, members: Sequence[Member]) -> list[Contest]:
    """Return the cells that are compared with each other, in declared order."""
    free = {block.name: _free(study, block) for block in study.blocks}
    found: dict[tuple[object, ...], dict[str, list[str]]] = {}
    steps: dict[tuple[object, ...], int] = {}
    for member in members:
        axes = {key: value for key, value in member.axes.items() if key != study.replicate}
        varies = free.get(member.block)
        apart = repr([(key, value) for key, value in axes.items() if varies is not None and key not in varies])
        where = (member.block, member.trial.group_id, apart)
        steps[where] = member.trial.config.budget.steps
        found.setdefault(where, {}).setdefault(repr(axes), []).append(member.trial.id)
    return [
        Contest(steps[where], tuple(tuple(dict.fromkeys(cell)) for cell in cells.values()))
        for where, cells in found.items()
    ]


def _free(study: Study, block: Block) -> set[str] | None:
    """The axes along which a question reads the cells of a block as one grid; None for all of them."""
    asked = {key for each in study.analyses for key in each.keys.values()}
    if not asked:
        return None
    free = asked | set(study.vars) | set(block.derive)
    for bundle in block.bundles:
        free |= set(bundle.keys) if free & set(bundle.keys) else set()
    return free


def values_of(study: Study, stop: Stop, contest: Contest, store: Measured, retry: bool) -> dict[str, dict[int, float]]:
    """What the trials of a contest measured at its rungs, lower being better. retry: failed ones are tried again."""
    ids, steps = [trial for cell in contest.cells for trial in cell], stop.steps(contest.steps)
    statuses = store.statuses(ids)
    sign = 1 if study.direction == "min" else -1
    values = {
        trial: {step: sign * value for step, value in at.items()}
        for trial, at in store.measured_at(ids, study.metric, steps).items()
    }
    for trial in ids:
        known = values.setdefault(trial, {})
        ended = statuses[trial].outcome if trial in statuses else None
        if ended is Outcome.FINISHED:
            values[trial] = {step: known.get(step, NAN) for step in steps}
        elif ended is Outcome.DIVERGED or (ended is Outcome.FAILED and not retry):
            values[trial] = {step: known.get(step, INF) for step in steps}
    return values


def stands(study: Study, members: Sequence[Member], store: Measured | None, retry: bool) -> Standing:
    """How the trials of a study with a rule stand."""
    stop = study.stop
    assert stop is not None
    standings = []
    for contest in contests(study, members):
        values: Reached = values_of(study, stop, contest, store, retry) if store else {}
        standings.append(standing(stop, contest, values))
    return together(standings)


def staged(made: Plan, store: Measured | None, retry: bool = True) -> Plan:
    """The plan as a study's rule has it: who stopped is settled, and all others train as far as the next rung at most.

    retry: trials that failed are tried again, so their cells are not judged before. Without a rule it is as it was.
    """
    if made.study.stop is None:
        return made
    stand = stands(made.study, made.members, store, retry)
    missing = {trial.id for group in made.groups for trial in group.trials}
    pruned = {trial: where for trial, where in stand.pruned.items() if trial in missing}
    waiting = len(missing & stand.waiting)
    until = {trial: step for trial, step in stand.until.items() if step is not None}
    kept = replace(
        made,
        groups=only(made, lambda trial: trial.id not in pruned and trial.id not in stand.waiting),
        pruned=pruned,
        waiting=waiting,
    )
    ids = kept.ids_to_train
    reached = store.reached_steps(ids) if store else {}
    return replace(kept, until={i: until[i] for i in ids if i in until}, reached=reached)


def refuse_elsewhere(study: Study, launcher: str) -> None:
    """Raise UsageError where a study stops trials early and others than processes of this machine would train them."""
    if study.stop and launcher != "local":
        text = f"{study.name} stops trials early, and those that go on do so from files of this machine"
        raise UsageError(f"{text}; launcher={launcher} trains elsewhere", "add launcher=local, or study.stop=null")


def refuse_unmeasured(made: Plan, how: Evaluation) -> None:
    """Raise ConfigError for a rung of a study's rule at which its trials are not measured, or two that are one step."""
    stop = made.study.stop
    for steps in sorted({member.trial.config.budget.steps for member in made.members}) if stop else ():
        assert stop is not None
        _refuse_twice(stop, steps)
        measured = evaluation_steps(steps, how.points)
        for share, step in zip(stop.rungs, stop.steps(steps), strict=True):
            if step not in measured[:-1]:
                at = ", ".join(f"{each:,}" for each in measured[:-1][:8]) or "the end alone"
                text = f"study.stop compares trials at {100 * share:.4g}% of {steps:,} steps, where none is measured"
                oftener = f"measure more often: evaluation.points={_points(stop, steps)}"
                raise ConfigError(text, f"they are measured at {at}; choose rungs among these, or {oftener}")


def _refuse_twice(stop: Stop, steps: int) -> None:
    """Raise ConfigError where two rungs are the same step: cells that stay would be halved twice by one value."""
    at = stop.steps(steps)
    for (share, step), (later, same) in pairwise(zip(stop.rungs, at, strict=True)):
        if step == same:
            text = f"study.stop has two rungs, {100 * share:.4g}% and {100 * later:.4g}%, at step {step:,} of {steps:,}"
            raise ConfigError(text, "leave one out, or train for more steps")


def _points(stop: Stop, steps: int) -> int:
    """How often to measure so that all rungs are met; each step, if need be."""
    rungs = set(stop.steps(steps))
    return next((n for n in range(2, 101) if rungs <= set(evaluation_steps(steps, n)[:-1])), steps)

"""Which trials go on from the kept state of a shorter one that is otherwise the same, and why others do not.

The shorter trial is found by its id: that of the same configuration with fewer steps. So nothing is stored for it, and
a trial that went on is the trial that it would have been at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

from thalweg.runner.facts.choice import Choice
from thalweg.runner.facts.observation import Outcome
from thalweg.runner.facts.record import CohortRecord
from thalweg.runner.planning.plan import Plan
from thalweg.runner.store import Store
from thalweg.runner.study.longer import why_not
from thalweg.runner.study.trial import Trial
from thalweg.runner.train.cutting import cut
from thalweg.runner.train.kept import files
from thalweg.runner.train.lasting import steps_of

SHARES = ("warmup", "cooldown")
"""Parts of a schedule that may be shares of a run."""


class Onward:
    """The trials of a plan beside what is kept of shorter ones."""

    def __init__(self, store: Store, folder: Path, plan: Plan) -> None:
        self.store, self.folder, self.plan = store, folder, plan

    @cached_property
    def _steps(self) -> Mapping[str, int]:
        """Trial id -> the step that its state was kept at."""
        return steps_of(self.folder)

    @cached_property
    def shorter(self) -> dict[str, str]:
        """Trial to train -> the shorter one with the latest state that it can go on from."""
        if not self._steps or self.plan.study.stop:
            return {}
        found = {}
        for trial in self._trials():
            there = [each.id for each in self._shorter(trial) if each.id in self._steps]
            if there:
                found[trial.id] = max(there, key=lambda trial_id: self._steps[trial_id])
        ended = self.store.statuses(found.values())
        finished = {trial_id for trial_id, status in ended.items() if status.outcome is Outcome.FINISHED}
        return {trial_id: other for trial_id, other in found.items() if other in finished}

    def cohorts(self, trials: Sequence[Trial], choice: Choice, workers: int) -> list[tuple[Trial, ...]]:
        """Cut those that go on, as their group trains, into cohorts of one step each."""
        going = [trial for trial in trials if trial.id in self.shorter and self._is_of(trial, choice)]
        step_of = {trial.id: self._steps[self.shorter[trial.id]] for trial in going}
        going.sort(key=lambda trial: step_of[trial.id])
        together = (list(each) for _, each in groupby(going, key=lambda trial: step_of[trial.id]))
        return [cohort for each in together for cohort in cut(each, choice, workers)]

    def apart(self, trials: Sequence[Trial], choice: Choice) -> Iterator[str]:
        """Why trials that could go on, were they trained as the shorter ones were, start anew, a sentence each."""
        whys = Counter(
            _said_of_engines(cohort, choice)
            for trial in trials
            if (cohort := self._cohort(trial)) and not self._is_of(trial, choice)
        )
        yield from (_said(number, why) for why, number in whys.items())

    def choice(self, trials: Iterable[Trial], executor: str, device: str) -> Choice | None:
        """How the shorter ones were trained, most of them, if that is what was asked for and on such a device."""
        choices = Counter(
            Choice(cohort.executor, cohort.layout, cohort.width, "as its shorter trials were trained")
            for trial in trials
            if (cohort := self._cohort(trial)) and cohort.device == device and executor in ("auto", cohort.executor)
        )
        return choices.most_common(1)[0][0] if choices else None

    @property
    def notes(self) -> Iterator[str]:
        """Why trials are trained from the start though a shorter one was kept, a sentence each."""
        kept = {file.trial_id for file in files(self.folder)}
        whys: Counter[str] = Counter()
        for trial in self._trials() if kept else ():
            if trial.id not in self.shorter:
                whys.update(self._whys(trial, kept))
        for why, number in whys.items():
            yield _said(number, why)

    def _whys(self, trial: Trial, kept: set[str]) -> list[str]:
        whole = "its study may stop it early" if self.plan.study.stop else why_not(trial.config)
        for shorter in self._shorter(trial):
            if shorter.id in kept:
                return [whole or f"its state at step {shorter.config.budget.steps:,} was not"]
            for scaled in _scaled(trial, shorter):
                if scaled.id in kept:
                    return [whole or _said_of_shares(trial, scaled)]
        return []

    def _trials(self) -> Iterator[Trial]:
        return (trial for group in self.plan.groups for trial in group.trials)

    @cached_property
    def _budgets(self) -> list[int]:
        return self.store.budgets()

    def _shorter(self, trial: Trial) -> Iterator[Trial]:
        for steps in self._budgets:
            if steps < trial.config.budget.steps:
                yield Trial(replace(trial.config, budget=replace(trial.config.budget, steps=steps)))

    def _cohort(self, trial: Trial) -> CohortRecord | None:
        other = self.shorter.get(trial.id)
        return self.store.trial(other).cohort if other else None

    def _is_of(self, trial: Trial, choice: Choice) -> bool:
        cohort = self._cohort(trial)
        return cohort is not None and (cohort.executor, cohort.layout) == (choice.executor, choice.layout)


def _said(number: int, why: str) -> str:
    start = "trial starts" if number == 1 else "trials start"
    return f"{number:,} {start} from the beginning, though a shorter one was kept: {why}"


def _said_of_engines(cohort: CohortRecord, choice: Choice) -> str:
    if cohort.executor != choice.executor:
        said = f"that was trained by engine={cohort.executor}, and now it is {choice.executor}"
        return f"{said}; write engine={cohort.executor} to go on"
    own = {"shared": "the same batches for all trials of a seed, made once", "per_lane": "batches made for each trial"}
    return f"that was trained with {own[cohort.layout]}, and now with {own[choice.layout]}, which rounds otherwise"


def _part(trial: Trial, part: str) -> int:
    return int(getattr(trial.config.schedule, part, 0))


def _said_of_shares(trial: Trial, scaled: Trial) -> str:
    apart = [part for part in SHARES if _part(scaled, part) != _part(trial, part)]
    told = (f"schedule.{part} is {_part(trial, part)} steps and was {_part(scaled, part)}" for part in apart)
    return f"{', '.join(told)}; write steps, not a share of the run"


def _scaled(trial: Trial, shorter: Trial) -> Iterator[Trial]:
    """The shorter trial with parts of its schedule that are the same shares of it, one or more of them."""
    schedule: Any = shorter.config.schedule
    steps, of = shorter.config.budget.steps, trial.config.budget.steps
    parts = {part: -(-_part(trial, part) * steps // of) for part in SHARES if hasattr(schedule, part)}
    for n in range(1, len(parts) + 1):
        for names in combinations(parts, n):
            scaled = replace(schedule, **{name: parts[name] for name in names})
            yield Trial(replace(shorter.config, schedule=scaled))

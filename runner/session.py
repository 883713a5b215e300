"""Makes the store agree with a plan: cuts groups into cohorts, hands them to workers, commits what they observe.

The one process that writes. It never imports torch; how a cohort trains is the engine's affair.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from typing import Protocol

from runner.choice import LOOP_WIDTH, Choice, Layout, layout_for
from runner.device import nvidia_present, usable_cores
from runner.errors import SetupError
from runner.messages import Answer, Ask, Hello, Progress, Task, Train, Trained
from runner.observation import Observations, Outcome
from runner.plan import Group, Plan
from runner.pool import Pool, Worker
from runner.settings import Settings
from runner.store import CohortRecord, Store
from runner.study import Study
from runner.trial import Trial

SMALLEST_WORTH_CUTTING = 16
PROBED_TRIALS = 32
ATTEMPTS = 2
DOCTOR = "see: thalweg doctor"


class Report(Protocol):
    """Where a sweep says how it goes."""

    def note(self, text: str) -> None:
        """One line worth reading."""

    def progress(self, done: int, diverged: int, failed: int, fraction: float, best: float | None) -> None:
        """Trials ended so far (diverged and failed among them), share of the work done, best metric so far."""


@dataclass
class SweepResult:
    """How a sweep ended. `interrupted` means that trials are left; a next sweep goes on with them."""

    finished: int = 0
    diverged: int = 0
    failed: int = 0
    seconds: float = 0.0
    device: str = ""
    interrupted: bool = False
    first_error: str | None = None


def sweep(plan: Plan, store: Store, settings: Settings, report: Report) -> SweepResult:
    """Train what the plan says is missing. Ctrl-C ends it early; what was committed stays.

    Raises SetupError when a device that was asked for by name cannot be used.
    """
    started = time.monotonic()
    sweep_of = _Sweep(plan, store, settings, report)
    if plan.groups:
        try:
            sweep_of.run()
        except KeyboardInterrupt:
            sweep_of.result.interrupted = True
    sweep_of.result.seconds = time.monotonic() - started
    return sweep_of.result


def cut(trials: Sequence[Trial], choice: Choice, workers: int) -> list[tuple[Trial, ...]]:
    """Cut a group into cohorts: none wider than the choice allows, at least two a worker while they stay wide.

    Under the shared layout each cohort has one seed. Declared order is kept.
    """
    width = min(choice.width, LOOP_WIDTH) if choice.executor == "loop" else choice.width
    cohorts = []
    for pool in _pools(trials, choice.layout):
        share = math.ceil(2 * workers * len(pool) / len(trials))
        pieces = max(math.ceil(len(pool) / width), min(share, len(pool) // SMALLEST_WORTH_CUTTING), 1)
        edges = [round(len(pool) * i / pieces) for i in range(pieces + 1)]
        cohorts += [tuple(pool[a:b]) for a, b in pairwise(edges)]
    return cohorts


def _pools(trials: Sequence[Trial], layout: Layout) -> list[list[Trial]]:
    if layout == "per_lane":
        return [list(trials)]
    in_seeds = sorted(trials, key=lambda trial: trial.config.seed)
    return [list(pool) for _, pool in groupby(in_seeds, key=lambda trial: trial.config.seed)]


@dataclass
class _Tally:
    """Progress of a sweep, in trial-steps and trials."""

    total_steps: int
    steps: int = 0
    committed: Counter[Outcome] = field(default_factory=Counter)
    best: float | None = None

    def count(self, ended: Observations, study: Study) -> None:
        self.committed[ended.outcome] += 1
        value = ended.metrics.get(study.metric)
        if value is not None:
            better = min if study.direction == "min" else max
            self.best = value if self.best is None else better(self.best, value)

    @property
    def fraction(self) -> float:
        return min(1.0, self.steps / max(self.total_steps, 1))


class _Sweep:
    """One sweep in progress."""

    def __init__(self, plan: Plan, store: Store, settings: Settings, report: Report) -> None:
        self.plan, self.store, self.settings, self.report = plan, store, settings, report
        self.groups = {group.group_id: group for group in plan.groups}
        self.tasks: deque[Task] = deque()
        self.result = SweepResult()
        steps = sum(trial.config.budget.steps for group in plan.groups for trial in group.trials)
        self.tally = _Tally(steps)
        self.steps_of: dict[Worker, int] = {}  # trial-steps a worker has reported of its present cohort
        self.cohorts: dict[Worker, int] = {}  # the store's number of the cohort a worker is on
        self.wanted_workers = 1

    def run(self) -> None:
        with Pool() as pool:
            self._start_workers(pool)
            self._plan_groups()
            while self.tasks or any(each.task for each in pool.workers):
                self._hand_out(pool)
                for speaker, heard in pool.hear():
                    self._hear(pool, speaker, heard)

    # workers and their device

    def _start_workers(self, pool: Pool) -> None:
        """Start one worker per core or GPU. Where a GPU may be, the first says so before the others start."""
        wanted = self.settings.engine.device
        if wanted == "auto" and not nvidia_present():
            wanted = "cpu"
        first = pool.start(wanted)
        if wanted == "cpu":
            self._start_others(pool, "cpu", usable_cores())
        self.hello = hello = self._wait_for(pool, first)
        if hello.complaint and wanted != "auto":
            raise SetupError(f"engine.device={wanted}: {hello.complaint}", f"use engine.device=cpu, or {DOCTOR}")
        if hello.complaint:
            self.report.note(f"NOT USING THE GPU: {hello.complaint}")
        if hello.device == "mps":
            self._accept_mps()
        if wanted != "cpu":
            self._start_others(pool, hello.device, usable_cores() if hello.device == "cpu" else hello.devices)
        self.result.device = self._device_name()

    def _start_others(self, pool: Pool, device: str, there: int) -> None:
        """Start the workers after the first: as many as asked for, else one per core or GPU that has work."""
        busy = max(1, min(there, self.plan.to_train // LOOP_WIDTH))
        self.wanted_workers = self.settings.launcher.workers or busy
        for number in range(1, self.wanted_workers):
            pool.start(f"cuda:{number % there}" if device.startswith("cuda") else device)

    def _wait_for(self, pool: Pool, first: Worker) -> Hello:
        while first.hello is None:
            for speaker, heard in pool.hear():
                if heard is None and speaker is first:
                    code = first.process.exitcode
                    raise SetupError(f"a worker process ended with code {code} before it was ready", DOCTOR)
                if isinstance(heard, Hello):
                    speaker.hello = heard
        return first.hello

    def _accept_mps(self) -> None:
        if any(trial.config.precision == "float64" for group in self.plan.groups for trial in group.trials):
            raise SetupError("engine.device=mps has no float64", "use precision=float32, or engine.device=cpu")
        self.report.note("engine.device=mps is untested; expect neither speed nor equal bits")

    def _device_name(self) -> str:
        return self.hello.device_name if self.hello.device.startswith("cuda") else self.hello.device

    # tasks

    def _plan_groups(self) -> None:
        """Queue the cohorts of groups whose choice is stored, and a question for each of the others."""
        for group in self.plan.groups:
            choice = self._stored_choice(group)
            if choice:
                self.tasks.extend(self._cohorts(group, choice))
            else:
                self.tasks.append(self._question(group))

    def _stored_choice(self, group: Group) -> Choice | None:
        if self.settings.engine.name != "auto":
            return None
        choice = self.store.choice(group.group_id, self._choice_key())
        if choice and self.settings.engine.width:
            choice = replace(choice, width=self.settings.engine.width)
        return choice

    def _question(self, group: Group) -> Ask:
        layout = layout_for(group.trials)
        seed = Counter(trial.config.seed for trial in group.trials).most_common(1)[0][0]
        sample = [trial for trial in group.trials if layout == "per_lane" or trial.config.seed == seed]
        engine = self.settings.engine
        return Ask(group.group_id, tuple(sample[:PROBED_TRIALS]), layout, engine.name, engine.width)

    def _choice_key(self) -> str:
        """What a stored choice holds for: another device or torch may want, and give, something else."""
        return f"{self.hello.device.split(':')[0]} {self.hello.device_name} torch {self.hello.versions['torch']}"

    def _cohorts(self, group: Group, choice: Choice) -> list[Train]:
        points = self.settings.evaluation.points
        return [
            Train(group.group_id, trials, choice.executor, choice.layout, points)
            for trials in cut(group.trials, choice, self.wanted_workers)
        ]

    def _hand_out(self, pool: Pool) -> None:
        for idle in [each for each in pool.workers if each.idle]:
            if not self.tasks:
                return
            task = self.tasks.popleft()
            if isinstance(task, Train):
                self.cohorts[idle] = self._open_cohort(task)
            self.steps_of[idle] = 0
            idle.give(task)

    def _open_cohort(self, task: Train) -> int:
        return self.store.open_cohort(
            CohortRecord(
                study=self.plan.study.name,
                group_id=task.group_id,
                executor=task.executor,
                layout=task.layout,
                width=len(task.trials),
                device=self._device_name(),
                versions=self.hello.versions,
                trial_ids=tuple(trial.id for trial in task.trials),
            )
        )

    # what workers say

    def _hear(self, pool: Pool, speaker: Worker, heard: object) -> None:
        match heard:
            case None:
                self._bury(pool, speaker)
            case Hello():
                speaker.hello = heard
            case Answer():
                speaker.task = None
                self._chosen(heard)
            case Progress():
                self.steps_of[speaker] += heard.steps
                self.tally.steps += heard.steps
                self._show()
            case Trained():
                task, speaker.task = speaker.task, None
                assert isinstance(task, Train)
                self._commit(speaker, task, heard.observations)

    def _chosen(self, answer: Answer) -> None:
        group, choice = self.groups[answer.group_id], answer.choice
        if self.settings.engine.name == "auto" and len(group.trials) > 1:
            choice = self.store.record_choice(group.group_id, self._choice_key(), choice)
        self.report.note(f"{_structure(group)}: {choice.executor}, {choice.reason}")
        self.tasks.extendleft(reversed(self._cohorts(group, choice)))

    def _commit(self, speaker: Worker, task: Train, observations: Sequence[Observations]) -> None:
        self.store.commit(self.cohorts.pop(speaker), observations)
        whole = sum(trial.config.budget.steps for trial in task.trials)
        self.tally.steps += whole - self.steps_of[speaker]
        for each in observations:
            self.tally.count(each, self.plan.study)
            if each.outcome is Outcome.FAILED and self.result.first_error is None:
                self.result.first_error = each.error
        self.result.finished = self.tally.committed[Outcome.FINISHED]
        self.result.diverged = self.tally.committed[Outcome.DIVERGED]
        self.result.failed = self.tally.committed[Outcome.FAILED]
        self._show()

    def _bury(self, pool: Pool, dead: Worker) -> None:
        """Give a dead worker's task to another, or after too many deaths record its trials as failed.

        One that died before it was ready is not replaced: another would end the same way. Raises SetupError when
        none is left.
        """
        self.tally.steps -= self.steps_of.pop(dead, 0)
        task, hello, code = dead.task, dead.hello, dead.process.exitcode
        if task and task.attempt < ATTEMPTS:
            self.tasks.appendleft(replace(task, attempt=task.attempt + 1))
        elif isinstance(task, Train):
            reason = f"the worker process died {ATTEMPTS} times while it trained this cohort (exit code {code})"
            failed = [Observations(trial_id=trial.id, outcome=Outcome.FAILED, error=reason) for trial in task.trials]
            self.steps_of[dead] = 0
            self._commit(dead, task, failed)
        elif isinstance(task, Ask):
            reason = f"the worker process died {ATTEMPTS} times while probing (exit code {code})"
            choice = Choice(executor="loop", layout=task.layout, width=task.width or LOOP_WIDTH, reason=reason)
            self._chosen(Answer(task.group_id, choice))
        if hello is None and not pool.workers:
            raise SetupError(f"every worker process ended before it was ready, the last with code {code}", DOCTOR)
        if hello and self.tasks:
            self.report.note(f"a worker process died (exit code {code}); starting another")
            pool.start(hello.device)
        else:
            self.report.note(f"a worker process died (exit code {code})")

    def _show(self) -> None:
        ended = self.tally.committed
        self.report.progress(
            done=sum(ended.values()),
            diverged=ended[Outcome.DIVERGED],
            failed=ended[Outcome.FAILED],
            fraction=self.tally.fraction,
            best=self.tally.best,
        )


def _structure(group: Group) -> str:
    """A group in a few words: what its trials share."""
    config = group.trials[0].config
    decay = getattr(config.optimizer, "decay", "l2")
    return f"{config.model.name}, {config.optimizer.name} ({decay}), {config.dataset.name}"

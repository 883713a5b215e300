"""Makes the store agree with a plan: cuts groups into cohorts, hands them to workers, commits what they observe.

The one process that writes. It never imports torch; how a cohort trains is the engine's affair.
"""

from __future__ import annotations

import signal
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from thalweg.runner.base.errors import SetupError, last_line
from thalweg.runner.base.signals import Signals
from thalweg.runner.facts.choice import LOOP_WIDTH, Choice, layout_for
from thalweg.runner.facts.observation import Observations, Outcome
from thalweg.runner.planning.plan import Group, Plan
from thalweg.runner.project.code import code_of, to_record
from thalweg.runner.store import CohortRecord, Store
from thalweg.runner.study.settings import Settings
from thalweg.runner.study.study import Study
from thalweg.runner.study.trial import Trial
from thalweg.runner.train.checkpoints import Shelf, facts_of, folder_of, tidy
from thalweg.runner.train.crew import DOCTOR, Crew
from thalweg.runner.train.cutting import cut, narrowed
from thalweg.runner.train.messages import Answer, Ask, Hello, Note, OutOfMemory, Progress, Task, Train, Trained
from thalweg.runner.train.pool import Worker

PROBED_TRIALS = 32
ATTEMPTS = 2
FAILED_ALIKE = 2
"""Cohorts of a group that fail with one message, and nothing else trained, before the rest of it is left alone."""


class Report(Protocol):
    """Where a sweep says how it goes."""

    def note(self, text: str) -> None:
        """One line worth reading."""

    def progress(self, done: int, diverged: int, failed: int, fraction: float, best: float | None) -> None:
        """Trials ended so far (diverged and failed among them), share of the work done, best metric so far."""


@dataclass
class SweepResult:
    """How a sweep ended. `interrupted` means that trials are left; a next sweep goes on with them.

    peak_bytes: the most memory that one worker held. untried: trials left alone since those before them all failed.
    """

    finished: int = 0
    diverged: int = 0
    failed: int = 0
    untried: int = 0
    seconds: float = 0.0
    device: str = ""
    peak_bytes: int = 0
    interrupted: bool = False
    first_error: str | None = None


def sweep(plan: Plan, store: Store, settings: Settings, report: Report, crew: Crew | None = None) -> SweepResult:
    """Train what the plan says is missing. Ctrl-C ends it early; what was committed stays.

    `crew`, entered, may be given by a caller who wants a missing device refused before the store is opened.
    Raises SetupError when a device that was asked for by name cannot be used.
    """
    if crew is None:
        with Crew(settings) as own:
            return sweep(plan, store, settings, report, own)
    started = time.monotonic()
    sweep_of = _Sweep(plan, store, settings, report, crew)
    if plan.groups:
        try:
            with Signals() as crew.signals:
                sweep_of.run()
        except KeyboardInterrupt:
            sweep_of.result.interrupted = True
        finally:
            crew.pool.close()
    sweep_of.result.seconds = time.monotonic() - started
    return sweep_of.result


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

    def __init__(self, plan: Plan, store: Store, settings: Settings, report: Report, crew: Crew) -> None:
        self.plan, self.store, self.settings, self.report, self.crew = plan, store, settings, report, crew
        self.groups = {group.group_id: group for group in plan.groups}
        self.tasks: deque[Task] = deque()
        self.result = SweepResult()
        steps = sum(trial.config.budget.steps for group in plan.groups for trial in group.trials)
        self.tally = _Tally(steps)
        self.steps_of: dict[Worker, int] = {}  # trial-steps a worker has reported of its present cohort
        self.cohorts: dict[Worker, int] = {}  # the store's number of the cohort a worker is on
        self.folder = folder_of(store.path)
        self.failures: dict[str, list[str]] = {group_id: [] for group_id in self.groups}

    def run(self) -> None:
        pool = self.crew.pool
        self.hello = self.crew.fill(self.plan.to_train // LOOP_WIDTH, self.report)
        if self.hello.device == "mps":
            self._accept_mps()
        self.result.device = self.hello.device_name if self.hello.device.startswith("cuda") else self.hello.device
        self._plan_groups()
        while self.tasks or any(each.task for each in pool.workers):
            if not pool.workers:
                raise SetupError("no worker process is left", DOCTOR)
            self._hand_out()
            for speaker, heard in self.crew.hear():
                self._hear(speaker, heard)
        if self.folder.exists():
            tidy(self.folder, self._unfinished)

    def _unfinished(self, trial_ids: Iterable[str]) -> bool:
        known = self.store.statuses(trial_ids)
        return any(status.outcome is None or not status.outcome.is_done for status in known.values())

    def _accept_mps(self) -> None:
        if any(trial.config.precision == "float64" for group in self.plan.groups for trial in group.trials):
            raise SetupError("engine.device=mps has no float64", "use precision=float32, or engine.device=cpu")
        self.report.note("engine.device=mps is untested; expect neither speed nor equal bits")

    # tasks

    def _plan_groups(self) -> None:
        """Queue the cohorts of groups whose choice is stored, and a question for each of the others."""
        for group in self.plan.groups:
            choice = self.store.choice(group.group_id, self._choice_key())
            if choice:
                self.tasks.extend(self._cohorts(group, choice))
            else:
                self.tasks.append(self._question(group))

    def _question(self, group: Group) -> Ask:
        layout = layout_for(group.trials)
        seed = Counter(trial.config.seed for trial in group.trials).most_common(1)[0][0]
        sample = [trial for trial in group.trials if layout == "per_lane" or trial.config.seed == seed]
        return Ask(
            group_id=group.group_id,
            sample=tuple(sample[:PROBED_TRIALS]),
            layout=layout,
            requested=self.settings.engine.name,
            metrics=self.settings.evaluation.metrics,
            trials=len(group.trials),
            workers=self.crew.size,
        )

    def _choice_key(self) -> str:
        """What a stored choice holds for: another device or torch may want, and give, something else.

        An executor asked for by name has a choice of its own, of layout and width.
        """
        device, name = self.hello.device.split(":")[0], self.settings.engine.name
        where = f"{device} {self.hello.device_name} torch {self.hello.versions['torch']}"
        return where if name == "auto" else f"{name} {where}"

    def _cohorts(self, group: Group, choice: Choice) -> list[Train]:
        """Go on with what an earlier sweep left checkpoints of, and cut the rest of the group.

        A width that was asked for holds for this sweep and is not stored.
        """
        width = self.settings.engine.width or choice.width
        begun = self._begun(group, choice)
        taken = {trial.id for task in begun for trial in task.trials}
        rest = [trial for trial in group.trials if trial.id not in taken]
        pieces = cut(rest, replace(choice, width=width), self.crew.size) if rest else []
        return begun + [self._train(group, trials, choice) for trials in pieces]

    def _train(self, group: Group, trials: tuple[Trial, ...], choice: Choice) -> Train:
        seconds = self.settings.launcher.checkpoint_seconds
        checkpoints = (str(self.folder), seconds) if seconds else None
        measured = self.settings.evaluation
        return Train(
            group_id=group.group_id,
            trials=trials,
            executor=choice.executor,
            layout=choice.layout,
            evaluations=measured.points,
            metrics=measured.metrics,
            checkpoints=checkpoints,
        )

    def _begun(self, group: Group, choice: Choice) -> list[Train]:
        """Cohorts that were killed, have a checkpoint, and whose trials are all still to be trained.

        A lane's bits do not depend on its cohort, so the old cohort is trained as it was and the rest is cut anew. A
        cohort of which a trial is no longer wanted starts afresh with its others.
        """
        missing = {trial.id: trial for trial in group.trials}
        begun = []
        for record in self.store.unfinished_cohorts(group.group_id) if self.folder.exists() else []:
            if not missing.keys() >= set(record.trial_ids):
                continue
            task = self._train(group, tuple(missing[trial_id] for trial_id in record.trial_ids), choice)
            if Shelf(self.folder, facts_of(task), {}).files():
                begun.append(task)
                for trial_id in record.trial_ids:
                    del missing[trial_id]
        return begun

    def _hand_out(self) -> None:
        for idle in [each for each in self.crew.pool.workers if each.idle]:
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
                device=self.result.device,
                versions={**self.hello.versions, **to_record(code_of(task.trials[0].config))},
                trial_ids=tuple(trial.id for trial in task.trials),
            )
        )

    # what workers say

    def _hear(self, speaker: Worker, heard: object) -> None:
        match heard:
            case None:
                self._bury(speaker)
            case Hello():
                self.crew.greet(speaker, heard, self.report)
            case Answer():
                speaker.task = None
                self._chosen(heard)
            case Progress():
                self.steps_of[speaker] += heard.steps
                self.tally.steps += heard.steps
                self._show()
            case Note():
                self.report.note(heard.text)
            case Trained():
                self.result.peak_bytes = max(self.result.peak_bytes, heard.peak_bytes)
                self._commit(speaker, heard.observations, heard.peak_bytes)
            case OutOfMemory():
                self._narrow(speaker, heard.reason)

    def _chosen(self, answer: Answer) -> None:
        group, choice = self.groups[answer.group_id], answer.choice
        if len(group.trials) > 1:
            choice = self.store.record_choice(group.group_id, self._choice_key(), choice)
        self.report.note(f"{_structure(group)}: {choice.executor}, {choice.reason}")
        self.tasks.extendleft(reversed(self._cohorts(group, choice)))

    def _commit(self, speaker: Worker, observations: Sequence[Observations], peak_bytes: int | None = None) -> None:
        task, speaker.task = speaker.task, None
        assert isinstance(task, Train)
        self.store.commit(self.cohorts.pop(speaker), observations, peak_bytes)
        Shelf(self.folder, facts_of(task), {}).clear()
        whole = sum(trial.config.budget.steps for trial in task.trials)
        self.tally.steps += whole - self.steps_of[speaker]
        for each in observations:
            self.tally.count(each, self.plan.study)
            if each.outcome is Outcome.FAILED and self.result.first_error is None:
                self.result.first_error = each.error
        self.result.finished = self.tally.committed[Outcome.FINISHED]
        self.result.diverged = self.tally.committed[Outcome.DIVERGED]
        self.result.failed = self.tally.committed[Outcome.FAILED]
        self._look_at_failures(task, observations)
        self._show()

    def _look_at_failures(self, task: Train, observations: Sequence[Observations]) -> None:
        """Leave the rest of a group alone when its first cohorts failed, all with the same message."""
        seen = self.failures.get(task.group_id)
        if seen is None:
            return
        messages = {last_line(each.error or "") for each in observations if each.outcome is Outcome.FAILED}
        alike = len(messages) == 1 and all(each.outcome is Outcome.FAILED for each in observations)
        if not alike or not messages.issuperset(seen):
            del self.failures[task.group_id]  # something trains, or failures differ: each counts for itself
            return
        seen.extend(messages)
        left = [each for each in self.tasks if each.group_id == task.group_id and isinstance(each, Train)]
        if len(seen) < FAILED_ALIKE or not left:
            return
        self.tasks = deque(each for each in self.tasks if each.group_id != task.group_id)
        untried = sum(len(each.trials) for each in left)
        self.result.untried += untried
        self.tally.total_steps -= untried * task.trials[0].config.budget.steps
        self.report.note(
            f"{_structure(self.groups[task.group_id])}: {len(seen)} cohorts all failed alike;"
            f" the other {untried:,} trials are not tried: {seen[0]}"
        )

    def _narrow(self, speaker: Worker, reason: str) -> None:
        """Halve a cohort that did not fit the memory, and all others of its group; one trial that does not fails.

        The width is kept with the group's choice, so that no other cohort, now or later, meets the same end.
        """
        task = speaker.task
        assert isinstance(task, Train)
        if len(task.trials) == 1:
            self._commit(speaker, _failed(task, reason))
            return
        speaker.task = None
        width = (len(task.trials) + 1) // 2
        self.tally.steps -= self.steps_of.pop(speaker, 0)
        del self.cohorts[speaker]
        Shelf(self.folder, facts_of(task), {}).clear()
        self.store.narrow_choice(task.group_id, self._choice_key(), width)
        self.tasks.appendleft(task)
        self.tasks = deque(
            part
            for each in self.tasks
            for part in (
                narrowed(each, width) if isinstance(each, Train) and each.group_id == task.group_id else [each]
            )
        )
        what = f"{_structure(self.groups[task.group_id])}: {len(task.trials)} trials do not fit the memory"
        self.report.note(f"{what}; going on with {width} at once ({last_line(reason)})")

    def _bury(self, dead: Worker) -> None:
        """Give a dead worker's task to another, or after too many deaths record its trials as failed.

        A cohort whose worker was killed each time, as the system does when memory runs out, is halved instead. One
        that died before it was ready is not replaced: another would end the same way. Raises SetupError when none is
        left.
        """
        task, hello, code = dead.task, dead.hello, dead.process.exitcode
        if task and task.attempt < ATTEMPTS:
            self.tally.steps -= self.steps_of.pop(dead, 0)
            self.cohorts.pop(dead, None)
            self.tasks.appendleft(replace(task, attempt=task.attempt + 1))
        elif isinstance(task, Train):
            reason = f"the worker process died {ATTEMPTS} times while it trained this cohort (exit code {code})"
            if code == -signal.SIGKILL:
                self._narrow(dead, f"{reason}: killed, perhaps since memory ran out")
            else:
                self._commit(dead, _failed(task, reason))
        elif isinstance(task, Ask):
            reason = f"the worker process died {ATTEMPTS} times while probing (exit code {code})"
            choice = Choice(executor="loop", layout=task.layout, width=LOOP_WIDTH, reason=reason)
            self._chosen(Answer(task.group_id, choice))
        if hello is None and not self.crew.pool.workers:
            raise SetupError(f"every worker process ended before it was ready, the last with code {code}", DOCTOR)
        if hello and self.tasks:
            self.report.note(f"a worker process died (exit code {code}); starting another")
            self.crew.replace(dead)
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


def _failed(task: Train, reason: str) -> list[Observations]:
    return [Observations(trial_id=trial.id, outcome=Outcome.FAILED, error=reason) for trial in task.trials]


def _structure(group: Group) -> str:
    """A group in a few words: what its trials share."""
    config = group.trials[0].config
    decay = getattr(config.optimizer, "decay", "l2")
    return f"{config.model.name}, {config.optimizer.name} ({decay}), {config.dataset.name}"

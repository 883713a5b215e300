"""Makes the store agree with a plan: asks the schedule what to do, has it done by slots, and writes what they observe.

The one process that writes. It decides nothing and never imports torch; how a cohort trains is the engine's affair.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from thalweg.runner.base import log
from thalweg.runner.base.errors import SetupError
from thalweg.runner.base.signals import Signals
from thalweg.runner.facts.choice import LOOP_WIDTH, Choice
from thalweg.runner.facts.observation import Observations, Outcome, Reached
from thalweg.runner.facts.record import CohortRecord, Refused
from thalweg.runner.planning.plan import Plan
from thalweg.runner.project.code import code_of, committed, measuring, to_record
from thalweg.runner.show.numbers import count
from thalweg.runner.store import Store
from thalweg.runner.study.settings import Settings
from thalweg.runner.study.trial import Trial
from thalweg.runner.train.checkpoints import Shelf, facts_of, folder_of, tidy
from thalweg.runner.train.crew import DOCTOR, Crew
from thalweg.runner.train.described import described
from thalweg.runner.train.keeper import Keeper
from thalweg.runner.train.messages import Event, Hello, Progress, Slot, Train, Trained, Work
from thalweg.runner.train.onward import Onward
from thalweg.runner.train.orders import Commit, Discard, Give, Narrow, Order, Replace, Resume, Say, Settle, Settled
from thalweg.runner.train.pool import Pool
from thalweg.runner.train.remeasured import Remeasured
from thalweg.runner.train.rungs import rungs_of
from thalweg.runner.train.schedule import Schedule
from thalweg.runner.train.terms import Tally, Terms
from thalweg.runner.train.vigil import Vigil


class Listener(Protocol):
    """Where a sweep says how it goes."""

    def note(self, text: str) -> None:
        """One line worth reading."""
        return

    def progress(self, done: int, diverged: int, failed: int, fraction: float, best: float | None) -> None:
        """Trials ended so far (diverged and failed among them), share of the work done, best metric so far."""
        return

    def training(self, trial_id: str) -> None:
        """Trials begin to train, this one among them."""
        return


class Silent(Listener):
    """Hears it all and shows nothing."""


class Backend(Protocol):
    """Slots on which pieces of work are done: worker processes here, or anything that keeps this promise.

    size: how many slots share the work; sharing: how many at most share a device and its memory. signals: what holds
    Ctrl-C back while a sweep hears them.
    """

    size: int
    sharing: int
    signals: Signals | None

    @property
    def open(self) -> bool:
        """Whether there is a slot, ready or not."""

    def ahead(self) -> None:
        """There will be work: begin with what takes long and can be begun."""

    def fill(self, busy: int, say: Callable[[str], None]) -> Hello:
        """Open the slots, `busy` at most unless a number was asked for; return what the first runs on."""

    def hear(self) -> Iterator[tuple[Slot, Event]]:
        """Wait until slots say something, a second or two at most, and yield it.

        A slot says Ready first, Lost last, and no more after that.
        """

    def give(self, slot: Slot, work: Work) -> None:
        """Start a piece of work on a slot that has none. It ends with Chosen, Trained, Slower, OutOfMemory or Lost."""

    def replace(self, slot: Slot) -> None:
        """Open another slot in place of a lost one."""

    def close(self) -> None:
        """End all slots, at once: what they have not said is done again."""


@dataclass
class SweepResult:
    """How a sweep ended. `interrupted` means that trials are left; a next sweep goes on with them.

    peak_bytes: the most memory that one worker held. untried: trials left alone since those before them all failed.
    left: trials that were trained anew to other bits than are stored, and so stay as they were. elsewhere: trials that
    another sweep trained meanwhile; those of them that failed are among failed. first_failed: the id of the trial that
    first_error is of. reached: trials that came to a rung, each as often as it did.
    """

    finished: int = 0
    diverged: int = 0
    failed: int = 0
    untried: int = 0
    left: int = 0
    elsewhere: int = 0
    seconds: float = 0.0
    device: str = ""
    peak_bytes: int = 0
    interrupted: bool = False
    first_error: str | None = None
    first_failed: str | None = None
    reached: int = 0

    def goes_on(self, plan: Plan) -> bool:
        """Whether there is more to train than a plan knew of that was trained so: points not yet known, or trials that
        came to a rung."""
        if self.interrupted or self.untried:
            return False
        return bool(plan.until) or (plan.unknown > 0 and not self.failed)

    def __add__(self, later: SweepResult) -> SweepResult:
        """What both came to, one after the other."""
        counts = ("finished", "diverged", "failed", "untried", "left", "elsewhere", "reached", "seconds")
        return replace(
            later,
            **{name: getattr(self, name) + getattr(later, name) for name in counts},
            peak_bytes=max(self.peak_bytes, later.peak_bytes),
        )


def sweep(
    plan: Plan,
    store: Store,
    settings: Settings,
    listener: Listener,
    backend: Backend | None = None,
    *,
    max_failures: int | None = None,
) -> SweepResult:
    """Train what the plan says is missing. Ctrl-C ends it early, and so do max_failures failed trials.

    What was committed stays. `backend` may be given by a caller who wants a missing device refused before the store is
    opened; it is closed. Raises SetupError when a device that was asked for by name cannot be used.
    """
    if backend is None:
        with Pool() as pool:
            made = backend_of(settings, pool)
            return sweep(plan, store, settings, listener, made, max_failures=max_failures)
    started, interrupted = time.monotonic(), False
    driver = _Driver(plan, store, settings, listener, backend)
    driver.max_failures = max_failures
    if plan.groups:
        try:
            with Signals() as backend.signals:
                driver.run()
        except KeyboardInterrupt:
            interrupted = True
        finally:
            backend.close()
            driver.leave()
    ended, tally = driver.tally.ended, driver.tally
    return SweepResult(
        finished=ended[Outcome.FINISHED],
        diverged=ended[Outcome.DIVERGED],
        failed=ended[Outcome.FAILED] + tally.elsewhere[Outcome.FAILED],
        untried=tally.untried,
        left=tally.left,
        elsewhere=tally.elsewhere.total() - tally.elsewhere[Outcome.FAILED],
        seconds=time.monotonic() - started,
        device=driver.device,
        peak_bytes=driver.peak_bytes,
        interrupted=interrupted,
        first_error=tally.first_error,
        first_failed=tally.first_failed,
        reached=tally.reached,
    )


def backend_of(settings: Settings, pool: Pool) -> Backend:
    """The slots that the settings name. Raises SetupError, before anything is written, for what is not there.

    pool: the processes of this machine, for a backend that trains here.
    """
    if settings.launcher.name == "ray":
        from thalweg.runner.train.cluster import Cluster  # spares others the import

        return Cluster(settings).require()
    if settings.launcher.name == "slurm":
        raise SetupError("launcher=slurm trains in jobs and not here", "add --submit: thalweg sweep ... --submit")
    return Crew(settings, pool).require()


class _Driver:
    """Carries out a schedule's orders, and tells it what came of them."""

    def __init__(self, plan: Plan, store: Store, settings: Settings, listener: Listener, backend: Backend) -> None:
        self.plan, self.store, self.settings, self.listener, self.backend = plan, store, settings, listener, backend
        self.trials = {group.group_id: {trial.id: trial for trial in group.trials} for group in plan.groups}
        self.folder = folder_of(store.path)
        self.keeper = Keeper(store, settings.keep)
        self.onward = Onward(store, self.keeper.folder, plan)
        self.remeasured = Remeasured(store, self.keeper.folder, plan)
        self.tally, self.device, self.peak_bytes = Tally(), "", 0
        self.cohorts: dict[Slot, int] = {}  # the store's number of the cohort that a slot was given last
        self.vigil: Vigil | None = None  # once there is something to claim
        self.waiting = False
        self.said: set[str] = set()  # groups of which it was said who begins anew, however often they are settled
        self.max_failures: int | None = None

    def run(self) -> None:
        self.hello = self.backend.fill(self.plan.to_train // LOOP_WIDTH, self.listener.note)
        self.device = self.hello.device_name if self.hello.device.startswith("cuda") else self.hello.device
        if self.hello.device == "mps":
            self._accept_mps()
        self.terms = self._terms()
        self.schedule = Schedule(self.terms, self.plan.study.metric, self.plan.study.direction)
        self.tally = self.schedule.tally
        ids = {member.trial.id for member in self.plan.members}
        for line in self.onward.notes:
            self.listener.note(line)
        self.vigil = Vigil(self.store, self.plan.study.name, self.plan.commits, ids)
        self.vigil.owner = replace(self.vigil.owner, until=self.plan.until)
        for group in self.plan.groups:
            self._carry_out(self.schedule.wanted(group, self._decided(group.group_id, group.trials)))
        while not self.schedule.at_rest:
            if not self.backend.open:
                raise SetupError("no worker process is left", DOCTOR)
            for slot, event in self.backend.hear():
                if log.listens():
                    log.write("heard", slot=slot, **described(event))
                self._carry_out(self.schedule.heard(slot, event))
                if isinstance(event, Progress | Trained):  # what is taken back shows with the next of these
                    self._show()
            if self.vigil.kept():
                self._look()
        if self.folder.exists() and self.vigil.alone:
            tidy(self.folder, self.store.any_untrained)
        self.keeper.end(self.listener.note, alone=self.vigil.alone)

    def leave(self) -> None:
        """Let others train what was not committed."""
        if self.vigil:
            self.vigil.end()

    def _look(self) -> None:
        """See what became of the trials that others train."""
        assert self.vigil is not None
        if held := self.schedule.held:
            refused = self.store.refused(held, self.vigil.owner, self.plan.study.metric)
            if self.schedule.waits and refused.held and not self.waiting:
                self.waiting = True
                self.listener.note(f"waiting for {count(len(refused.held), 'trial')} that another sweep trains")
            self._carry_out(self.schedule.looked(refused))

    def _carry_out(self, orders: Iterable[Order]) -> None:
        waiting = deque(orders)
        while waiting:
            waiting.extendleft(reversed(self._done(waiting.popleft())))

    def _done(self, order: Order) -> list[Order]:
        """Carry out one order, and return what the schedule orders on it."""
        if log.listens():
            log.write("order", **described(order))
        match order:
            case Give(slot, work):
                if isinstance(work, Train):
                    opened = self._claimed(work)
                    if isinstance(opened, Refused):
                        return self.schedule.refused(order, opened)
                    self.cohorts[slot] = opened
                    self.listener.training(work.trials[0].id)
                self.backend.give(slot, work)
            case Commit():
                seen: list[Observations | Reached] = [*order.observations, *order.reached]
                taken = self.store.commit(self.cohorts.pop(order.slot), seen, order.peak_bytes)
                self.peak_bytes = max(self.peak_bytes, order.peak_bytes or 0)
                self.keeper.committed(order.observations, self.plan.to_train, self.listener.note)
                if not taken.lost:  # else another may be going on from them
                    Shelf(self.folder, facts_of(order.work), {}).clear()
                return self.schedule.committed(order, taken)
            case Settle():
                key = self._choice_key()
                if order.keep:
                    choice = self.store.record_choice(order.group_id, key, order.choice)
                else:
                    choice = self.store.choice(order.group_id, key) or order.choice
                trials = tuple(self.trials[order.group_id].values())
                return self.schedule.settled(order, self._settled(order.group_id, trials, choice))
            case Resume():
                return self.schedule.resumed(order, self._decided(order.group_id, order.trials, order.choice))
            case Discard(work):
                assert self.vigil is not None
                released = self.store.release(self.vigil.owner, [trial.id for trial in work.trials])
                if released == len(work.trials):  # else another may be going on from them
                    Shelf(self.folder, facts_of(work), {}).clear()
            case Narrow():
                self.store.narrow_choice(order.group_id, self._choice_key(), order.width)
            case Replace():
                self.backend.replace(order.slot)
            case Say():
                self.listener.note(order.text)
        return []

    def _show(self) -> None:
        ended = self.tally.ended
        self.listener.progress(
            done=sum(ended.values()) + self.tally.reached,
            diverged=ended[Outcome.DIVERGED],
            failed=ended[Outcome.FAILED],
            fraction=self.tally.fraction,
            best=self.tally.best,
        )

    def _accept_mps(self) -> None:
        if any(trial.config.precision == "float64" for group in self.plan.groups for trial in group.trials):
            raise SetupError("engine.device=mps has no float64", "use precision=float32, or engine.device=cpu")
        self.listener.note("engine.device=mps is untested; expect neither speed nor equal bits")

    # what is kept in the store

    def _terms(self) -> Terms:
        seconds, measured = self.settings.launcher.checkpoint_seconds, self.settings.evaluation
        return Terms(
            executor=self.settings.engine.name,
            workers=self.backend.size,
            sharing=self.backend.sharing,
            evaluations=measured.points,
            metrics=measured.metrics,
            scalars=measured.scalars,
            width=self.settings.engine.width,
            checkpoints=(str(self.folder), seconds) if seconds else None,
            weights=self.keeper.keep,
            starts=str(self.keeper.folder),
            onward=self.onward.shorter,
            measured=self.remeasured.known,
            max_failures=self.max_failures,
            settling=self.plan.settling,
            groups=len(self.plan.groups),
            rungs=rungs_of(self.folder, self.plan.until, self.plan.ids_to_train) if self.plan.study.stop else None,
        )

    def _choice_key(self) -> str:
        """What a stored choice holds for: another device or torch may want, and give, something else.

        An executor asked for by name has a choice of its own, of layout and width.
        """
        device, name = self.hello.device.split(":")[0], self.settings.engine.name
        where = f"{device} {self.hello.device_name} torch {self.hello.versions['torch']}"
        return where if name == "auto" else f"{name} {where}"

    def _decided(self, group_id: str, wanted: Sequence[Trial], choice: Choice | None = None) -> Settled | None:
        """How a group is trained: as it is here, or as the store has it; None while that is open."""
        choice = choice or self.store.choice(group_id, self._choice_key())
        if choice is None and (known := self.onward.choice(wanted, self.settings.engine.name, self.device)):
            choice = self.store.record_choice(group_id, self._choice_key(), known)
        return self._settled(group_id, wanted, choice) if choice else None

    def _settled(self, group_id: str, wanted: Sequence[Trial], choice: Choice) -> Settled:
        """How a group is trained, with its cohorts that were killed and whose trials are all among the wanted.

        A lane's bits do not depend on its cohort, so an old cohort is trained as it was and the rest is cut anew. A
        cohort of which a trial is no longer wanted starts afresh with its others.
        """
        missing, begun = {trial.id: trial for trial in wanted}, []
        for record in self.store.unfinished_cohorts(group_id) if self.folder.exists() else []:
            if not missing.keys() >= set(record.trial_ids):
                continue
            trials = tuple(missing[trial_id] for trial_id in record.trial_ids)
            if self.terms.rungs and len(self.terms.rungs.pools(trials)) > 1:
                continue
            if Shelf(self.folder, facts_of(self.terms.train(group_id, trials, choice)), {}).files():
                begun.append(trials)
                for trial_id in record.trial_ids:
                    del missing[trial_id]
        begun += self.remeasured.cohorts(list(missing.values()), choice, self.backend.size)
        rest = [trial for trial_id, trial in missing.items() if trial_id not in self.remeasured.known]
        begun += self.onward.cohorts(rest, choice, self.backend.size)
        for line in self.onward.apart(rest, choice) if group_id not in self.said else ():
            self.listener.note(line)
        self.said.add(group_id)
        return Settled(choice, tuple(begun))

    def _claimed(self, work: Train) -> int | Refused:
        assert self.vigil is not None
        cohort = CohortRecord(
            study=self.plan.study.name,
            group_id=work.group_id,
            executor=work.executor,
            layout=work.layout,
            width=len(work.trials),
            device=self.device,
            versions={
                **self.hello.versions,
                **committed(),
                **to_record(code_of(work.trials[0].config)),
                **measuring(self.settings.evaluation.metrics),
            },
            trial_ids=tuple(trial.id for trial in work.trials),
        )
        return self.store.claim(cohort, self.vigil.owner, self.plan.study.metric)

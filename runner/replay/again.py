"""Trains recorded trials again, in cohorts as they were, and says of each whether it came out. Commits nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from thalweg.runner.base.errors import SetupError
from thalweg.runner.base.signals import Signals
from thalweg.runner.facts.choice import LOOP_WIDTH, Choice
from thalweg.runner.facts.observation import Observations, Outcome, Series
from thalweg.runner.facts.record import TrialRecord
from thalweg.runner.facts.replayed import Replayed
from thalweg.runner.planning.plan import Group
from thalweg.runner.replay.compare import verdict
from thalweg.runner.replay.recorded import Recorded, cannot, doubts, measured_alike, obstacle, read, trial_of
from thalweg.runner.study.trial import Trial
from thalweg.runner.train.crew import DOCTOR
from thalweg.runner.train.driver import Backend, Listener
from thalweg.runner.train.messages import Hello, Keep, Progress, Trained
from thalweg.runner.train.orders import Commit, Discard, Give, Narrow, Order, Replace, Resume, Say, Settle, Settled
from thalweg.runner.train.schedule import Schedule
from thalweg.runner.train.terms import Terms


@dataclass(frozen=True)
class Source:
    """Where recorded trials are read: series by a trial's id, and any trial by its id.

    starts: the folder of kept weights, from which trials may start.
    """

    series: Callable[[str], Mapping[str, Series]]
    trial: Callable[[str], TrialRecord]
    starts: str | None = None


@dataclass(frozen=True)
class Wish:
    """What is wanted besides verdicts: final weights, in a folder. anyway: trained whatever differs here."""

    folder: str
    anyway: bool = False


@dataclass(frozen=True)
class Again:
    """What came of it: verdicts in the order asked, and what trained them last (None where nothing was trained)."""

    replayed: list[Replayed]
    hello: Hello | None


def replay(
    records: Sequence[TrialRecord],
    source: Source,
    backend_on: Callable[[str], Backend],
    listener: Listener,
    *,
    wish: Wish | None = None,
) -> Again:
    """Train recorded trials again and compare. backend_on: slots on devices of a kind; SetupError where there are none.

    Ctrl-C ends it with KeyboardInterrupt.
    """
    anyway = wish is not None and wish.anyway
    found = [read(record, source.series(record.trial_id), anyway) for record in records]
    verdicts = {each.trial_id: each for each in found if isinstance(each, Replayed)}
    together: dict[tuple[str, int], list[Recorded]] = {}
    for each in measured_alike([each for each in found if isinstance(each, Recorded)]):
        together.setdefault((each.device, each.evaluations), []).append(each)
    hello = None
    for (device, _), trials in together.items():
        try:
            backend = _anywhere(backend_on, device) if anyway else backend_on(device)
        except SetupError as error:
            verdicts |= {
                each.trial.id: cannot(
                    each.record, f"device: {each.cohort.device} then; {error.message}", trainable=True
                )
                for each in trials
            }
            continue
        round_ = _Round(trials, source, backend, listener)
        round_.wish = wish
        verdicts |= {each.trial_id: each for each in round_.run()}
        hello = round_.hello
    return Again([verdicts[record.trial_id] for record in records], hello)


def _anywhere(backend_on: Callable[[str], Backend], device: str) -> Backend:
    """Slots on devices of a kind, else on what there is."""
    try:
        return backend_on(device)
    except SetupError:
        return backend_on("auto")


class _Round:
    """One backend's trials: all on one kind of device, measured at the same steps."""

    def __init__(self, trials: Sequence[Recorded], source: Source, backend: Backend, listener: Listener) -> None:
        self.trials, self.source, self.backend, self.listener = trials, source, backend, listener
        self.observed: dict[str, Observations] = {}
        self.rounding: dict[str, str] = {}
        self.hello: Hello | None = None
        self.wish: Wish | None = None

    def run(self) -> list[Replayed]:
        try:
            with Signals() as self.backend.signals:
                hello = self.hello = self.backend.fill(len(self.trials) // LOOP_WIDTH, self.listener.note)
                device = hello.device_name if hello.device.startswith("cuda") else hello.device
                barred = {
                    each.trial.id: each.changed or obstacle(each.cohort, hello.versions, device) for each in self.trials
                }
                anyway = self.wish is not None and self.wish.anyway
                self._train([each for each in self.trials if anyway or not barred[each.trial.id]])
        finally:
            self.backend.close()
        return [self._verdict(each, barred[each.trial.id], hello.versions) for each in self.trials]

    def _verdict(self, stored: Recorded, barred: str, versions: Mapping[str, str]) -> Replayed:
        observed = self.observed.get(stored.trial.id)
        if barred and (observed is None or observed.outcome is not Outcome.FAILED):
            return cannot(stored.record, barred, trainable=True)
        if observed is None:
            return cannot(stored.record, "it was not tried: trials of its structure failed before it")
        doubted = (doubts(stored.cohort, versions), self.rounding.get(stored.trial.id, ""))
        return verdict(stored, observed, ", ".join(filter(None, doubted)))

    def _train(self, trials: Sequence[Recorded]) -> None:
        if not trials:
            return
        keep = Keep(self.wish.folder, tuple(each.trial.id for each in trials)) if self.wish else None
        terms = Terms(
            "auto",
            self.backend.size,
            trials[0].evaluations,
            sharing=self.backend.sharing,
            weights=keep,
            starts=self.source.starts,
        )
        self.schedule = Schedule(terms, "", "min")
        for group, settled in self._groups(trials):
            self._carry_out(self.schedule.wanted(group, settled))
        while not self.schedule.at_rest:
            if not self.backend.open:
                raise SetupError("no worker process is left", DOCTOR)
            for slot, event in self.backend.hear():
                self._carry_out(self.schedule.heard(slot, event))
                if isinstance(event, Progress | Trained):
                    self._show()
                if isinstance(event, Trained) and event.undetermined:
                    rounds = f"torch's {event.undetermined} rounds otherwise each time on this device"
                    self.rounding |= {each.trial_id: rounds for each in event.observations}

    def _groups(self, trials: Sequence[Recorded]) -> Iterable[tuple[Group, Settled]]:
        """Trials that train as one program, and how: as they were. On a GPU, with all that were in their cohorts."""
        together: dict[str, list[Recorded]] = {}
        for each in trials:
            together.setdefault(each.group, []).append(each)
        for name, members in together.items():
            first = members[0].cohort
            choice = Choice(
                first.executor, first.layout, max(each.cohort.width for each in members), "as it was trained"
            )
            whole = () if members[0].device == "cpu" else tuple(dict.fromkeys(map(self._cohort, members)))
            wanted = [trial for cohort in whole for trial in cohort] or [each.trial for each in members]
            yield Group(name, tuple(wanted), len(wanted)), Settled(choice, whole)

    def _cohort(self, member: Recorded) -> tuple[Trial, ...]:
        return tuple(trial_of(self.source.trial(trial_id)) for trial_id in member.cohort.trial_ids)

    def _carry_out(self, orders: Iterable[Order]) -> None:
        waiting = deque(orders)
        while waiting:
            waiting.extendleft(reversed(self._done(waiting.popleft())))

    def _done(self, order: Order) -> list[Order]:
        """Carry out one order, keeping what was observed here alone."""
        match order:
            case Give():
                self.backend.give(order.slot, order.work)
            case Commit():
                self.observed |= {each.trial_id: each for each in order.observations}
                return self.schedule.committed(order)
            case Replace():
                self.backend.replace(order.slot)
            case Say():
                self.listener.note(order.text)
            case Discard() | Narrow() | Settle() | Resume():  # nothing is kept or shared, and how to train not asked
                return []
            case _:
                assert_never(order)
        return []

    def _show(self) -> None:
        tally = self.schedule.tally
        self.listener.progress(
            done=sum(tally.ended.values()),
            diverged=tally.ended[Outcome.DIVERGED],
            failed=tally.ended[Outcome.FAILED],
            fraction=tally.fraction,
            best=None,
        )

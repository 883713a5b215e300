"""Decides what a sweep does next. Pure: it is told what happened, and answers with orders.

It knows no clock, pipe, store or torch, so that whatever it decides is tested by telling it events. A slot is a place
where one piece of work at a time is done; none comes back once it is lost.

| it is told                                | and orders, beside handing out what waits                   |
|-------------------------------------------|-------------------------------------------------------------|
| `wanted`: trials, and how, if that stands | nothing                                                     |
| `heard` Ready: a slot can take a piece of work     | nothing                                                     |
| `heard` Chosen: how a group would train   | Settle: keep that, unless another was kept before; if it is |
|                                           | to show its speed first, Give one cohort, and no other yet  |
| `heard` Held: that cohort is fast enough  | Settle                                                      |
| `heard` Slower: it is not                 | Discard, and Settle for the loop                            |
| `settled`: how the group does train       | nothing: its cohorts wait                                   |
| `heard` Progress                          | nothing                                                     |
| `heard` Trained                           | Commit                                                      |
| `committed`: what the store took          | Say, where a group is given up                              |
| `refused`: a cohort has trials that another driver trains, or has trained | nothing: the others are handed out anew; |
|                                           | if it was to show its speed, Discard, and others show it    |
| `looked`: what became of those since      | Resume, for those that are free                             |
| `resumed`: how those train                | nothing: their cohorts wait                                 |
| `heard` OutOfMemory                       | Discard, Narrow; a trial alone that does not fit has failed |
|                                           | (where it was to show its speed, it loops)                  |
| `heard` Lost: a slot is no more           | Replace, where there is work; again, narrower, or failed    |

A group's trials may grow at any time; what is wanted later is trained as the group was. Trials that another driver
trains are `held`: there is no rest until they are looked for and have ended, or are free again and trained here.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from thalweg.runner.base.errors import last_line
from thalweg.runner.facts.choice import LOOP_WIDTH, Bar, Choice
from thalweg.runner.facts.observation import Observations, Outcome, Reached
from thalweg.runner.facts.record import Committed, Refused
from thalweg.runner.planning.plan import Group
from thalweg.runner.study.trial import Trial
from thalweg.runner.train.cutting import narrowed
from thalweg.runner.train.messages import (
    Ask,
    Chosen,
    Event,
    Held,
    Lost,
    Note,
    OutOfMemory,
    Progress,
    Ready,
    Slot,
    Slower,
    Train,
    Trained,
    Work,
)
from thalweg.runner.train.orders import Commit, Discard, Give, Narrow, Order, Replace, Resume, Say, Settle, Settled
from thalweg.runner.train.terms import Tally, Terms

NOTHING_LEFT = Committed()
ATTEMPTS = 2
MOVES = 16
"""Machines that may go away under a piece of work before that counts as an attempt too: a sweep ends."""
FAILED_ALIKE = 2
"""Cohorts of a group that fail with one message, and nothing else trained, before the rest of it is left alone."""


@dataclass
class _Trying:
    """A cohort that shows its speed, by which choice, and its end, if it came before its group was settled."""

    work: Train
    choice: Choice
    ended: Trained | None = None


class Schedule:
    """A sweep's queue and what is under way."""

    def __init__(self, terms: Terms, metric: str, direction: Literal["min", "max"]) -> None:
        self.terms, self.metric = terms, metric
        self.better = min if direction == "min" else max
        self.tally = Tally()
        self._structure: dict[str, str] = {}  # group -> what it is, in words
        self._waiting: dict[str, list[Trial]] = {}  # group -> trials that are not cut into cohorts yet
        self._choices: dict[str, Choice] = {}
        self._held: dict[str, dict[str, Trial]] = {}  # group -> trials that another driver trains
        self._asked: set[str] = set()  # groups whose choice is being made
        self._trying: dict[str, _Trying] = {}  # of these, who have a cohort that shows its speed
        self._queue: deque[Work] = deque()
        self._idle: list[Slot] = []
        self._doing: dict[Slot, Work] = {}
        self._reported: dict[Slot, int] = {}  # trial-steps that a slot has reported of its work
        self._ready: set[Slot] = set()
        self._uncommitted = 0
        self._failures: dict[str, list[str]] = {}
        self._stopped = False
        self._void: set[Slot] = set()  # where a cohort trains whose group was settled otherwise

    @property
    def at_rest(self) -> bool:
        """Whether nothing is left to do, or to be told; or so much failed that nothing more is to be done."""
        return self._stopped or not (self._queue or self._doing or self._asked or self._uncommitted or self.held)

    @property
    def held(self) -> list[str]:
        """Ids of the trials that another driver trains, or did when that was last looked for."""
        return [trial_id for trials in self._held.values() for trial_id in trials]

    @property
    def waits(self) -> bool:
        """Whether nothing is left to do here, but for what others train."""
        return bool(self.held) and not (self._queue or self._doing)

    def wanted(self, group: Group, settled: Settled | None = None) -> list[Order]:
        """Take in trials to train. settled: how their group is trained, where that was decided before."""
        known = group.group_id in self._structure
        self._structure[group.group_id] = structure_of(group.trials[0])
        self._waiting.setdefault(group.group_id, []).extend(group.trials)
        self.tally.wanted_steps += self.terms.steps(group.trials)
        if not known:
            self._failures[group.group_id] = []
        return self._taken_in(group.group_id, settled)

    def settled(self, order: Settle, settled: Settled) -> list[Order]:
        """Take in how a group is trained, as it was kept, and cut it: its cohorts come before all else that waits."""
        self._asked.discard(order.group_id)
        tried = self._trying.pop(order.group_id, None)
        choice = settled.choice
        said = Say(f"{self._structure[order.group_id]}: {choice.executor}, {choice.reason}")
        if self.terms.settling:
            self._leave(order.group_id)
            return [said, *self._free(order.slot)]
        self._queue.extendleft(reversed(self._cohorts(order.group_id, settled, tried.work.trials if tried else ())))
        if tried is None:
            return [said, *self._free(order.slot)]
        work = self._doing[order.slot]
        assert isinstance(work, Train)
        self._doing[order.slot] = replace(work, bar=None)  # done again, it has nothing to show
        if (tried.choice.executor, tried.choice.layout) != (choice.executor, choice.layout):
            self._void.add(order.slot)  # another sweep settled it meanwhile
        ended = self.heard(order.slot, tried.ended) if tried.ended else []
        return [said, *ended, *self._handed_out()]

    def heard(self, slot: Slot, event: Event) -> list[Order]:
        """Take in what a slot says."""
        if self._stopped:
            return []
        if slot in self._void and isinstance(event, Trained | OutOfMemory):
            return [*self._cut_anew(slot, self._taken_back(slot)), *self._free(slot)]
        match event:
            case Ready():
                self._ready.add(slot)
                return self._free(slot)
            case Chosen():
                work = self._doing.pop(slot)
                assert isinstance(work, Ask)
                if event.bar is None or event.choice.executor == "loop" or self.terms.settling:
                    return [self._settle(slot, work.group_id, event.choice)]
                return [self._tried(slot, work.group_id, event.choice, event.bar)]
            case Held():
                return self._fast_enough(slot)
            case Slower():
                slow = self._taken_back(slot)
                assert isinstance(slow, Train)
                reason = f"{len(slow.trials)} trials at once had only {event.speed:.1f}× its speed at first"
                return [Discard(slow), self._looped(slot, slow, reason)]
            case Progress():
                self._reported[slot] += event.steps
                self.tally.steps += event.steps
                return []
            case Note():
                return [Say(event.text)]
            case Trained():
                work = self._doing[slot]
                assert isinstance(work, Train)
                if work.bar:  # nothing is committed before its group is settled
                    self._trying[work.group_id].ended = event
                    return self._fast_enough(slot)
                reported = self._reported.pop(slot)
                del self._doing[slot]
                self.tally.steps += self.terms.steps(work.trials) - reported
                return [self._commit(slot, work, event.observations, event.peak_bytes, event.reached)]
            case OutOfMemory():
                failed = self._taken_back(slot)
                assert isinstance(failed, Train)
                if failed.bar:
                    return self._tried_narrower(slot, failed, event.reason)
                if len(failed.trials) == 1:
                    return [self._failed(slot, failed, event.reason)]
                return [*self._halved(failed, event.reason), *self._free(slot)]
            case Lost():
                return self._lost(slot, event)

    def refused(self, order: Give, refused: Refused) -> list[Order]:
        """Take in that trials of a cohort are not this driver's to train: it begins anew with the others."""
        if self._stopped:
            return []
        work = self._taken_back(order.slot)
        assert isinstance(work, Train)
        self._hold(work, refused.held)
        self._settle_elsewhere([trial for trial in work.trials if trial.id in refused.settled], refused.settled)
        if work.bar:
            return [Discard(work), *self._others_tried(order.slot, work, work.bar, refused)]
        rest = tuple(trial for trial in work.trials if trial.id not in refused.ids)
        if rest:
            self._queue.appendleft(replace(work, trials=rest))
        return self._free(order.slot)

    def looked(self, refused: Refused) -> list[Order]:
        """Take in what became of the trials that were held: refused still, settled, or free to be trained here."""
        orders: list[Order] = []
        for group_id, trials in self._held.items():
            ended = [trials.pop(trial_id) for trial_id in [*trials] if trial_id in refused.settled]
            self._settle_elsewhere(ended, refused.settled)
            if free := tuple(trial for trial_id, trial in trials.items() if trial_id not in refused.held):
                orders.append(Resume(group_id, free, self._choices.get(group_id)))
        return orders

    def resumed(self, order: Resume, settled: Settled | None = None) -> list[Order]:
        """Take in trials that were held. settled: how they are trained, if that was decided."""
        for trial in order.trials:
            del self._held[order.group_id][trial.id]
        self._waiting.setdefault(order.group_id, []).extend(order.trials)
        return self._taken_in(order.group_id, settled)

    def _taken_in(self, group_id: str, settled: Settled | None) -> list[Order]:
        """Cut what waits of a group as it is settled, or ask how it is to train; what is asked now is cut later."""
        if group_id in self._asked:
            return self._handed_out()
        settled = settled or (Settled(self._choices[group_id]) if group_id in self._choices else None)
        if settled is None:
            self._asked.add(group_id)
            self._queue.append(self.terms.probe(group_id, self._waiting[group_id]))
        elif self.terms.settling:
            self._leave(group_id)
        else:
            self._queue.extend(self._cohorts(group_id, settled))
        return self._handed_out()

    def _hold(self, work: Train, ids: Collection[str]) -> None:
        held = {trial.id: trial for trial in work.trials if trial.id in ids}
        self._held.setdefault(work.group_id, {}).update(held)

    def _settle_elsewhere(self, trials: Sequence[Trial], settled: Mapping[str, Outcome]) -> None:
        self.tally.elsewhere.update(settled[trial.id] for trial in trials)
        self.tally.wanted_steps -= self.terms.steps(trials)

    def committed(self, order: Commit, taken: Committed = NOTHING_LEFT) -> list[Order]:
        """Take in that a cohort was written, and what of it was not taken."""
        self._uncommitted -= 1
        self.tally.left += len(taken.left)
        self._hold(order.work, taken.lost)
        self.tally.steps -= self.terms.steps(t for t in order.work.trials if t.id in taken.lost)
        self.tally.reached += sum(each.trial_id not in taken.lost for each in order.reached)
        for each in order.observations:
            if each.trial_id in (*taken.left, *taken.lost):
                continue
            self.tally.ended[each.outcome] += 1
            value = each.metrics.get(self.metric)
            if value is not None:
                self.tally.best = value if self.tally.best is None else self.better(self.tally.best, value)
            if each.outcome is Outcome.FAILED and self.tally.first_error is None:
                self.tally.first_error, self.tally.first_failed = each.error, each.trial_id
        said = [*self._said_of_left(order.work, taken), *self._given_up(order.work, order.observations)]
        if self.terms.max_failures is not None and self.tally.ended[Outcome.FAILED] >= self.terms.max_failures:
            return [*said, *self._stop()]
        return [*said, *self._free(order.slot)]

    # what a slot does

    def _free(self, slot: Slot) -> list[Order]:
        if slot in self._ready:  # it may have been lost meanwhile
            self._idle.append(slot)
        return self._handed_out()

    def _handed_out(self) -> list[Order]:
        given: list[Order] = []
        while self._idle and self._queue:
            slot, work = self._idle.pop(0), self._queue.popleft()
            self._doing[slot], self._reported[slot] = work, 0
            given.append(Give(slot, work))
        return given

    def _taken_back(self, slot: Slot) -> Work | None:
        """Forget what a slot had done of its work."""
        self.tally.steps -= self._reported.pop(slot, 0)
        return self._doing.pop(slot, None)

    def _lost(self, slot: Slot, lost: Lost) -> list[Order]:
        """Give a lost slot's work to another, or after too many losses record its trials as failed.

        A cohort whose worker was killed each time, as the system does when memory runs out, is halved instead. A
        slot that was lost before it was ready is not replaced: another would end the same way.
        """
        work = self._taken_back(slot)
        self._idle = [each for each in self._idle if each != slot]
        orders: list[Order] = []
        if slot in self._void:
            orders = self._cut_anew(slot, work)
        elif work and lost.code is None and work.moves < MOVES:
            self._queue.appendleft(replace(work, moves=work.moves + 1))
        elif work and work.attempt < ATTEMPTS:
            self._queue.appendleft(replace(work, attempt=work.attempt + 1))
        elif isinstance(work, Train) and work.bar:
            reason = f"the worker process died {ATTEMPTS} times in the first steps fused (exit code {lost.code})"
            orders = [Discard(work), self._looped(slot, work, reason)]
        elif isinstance(work, Train):
            reason = f"the worker process died {ATTEMPTS} times while it trained this cohort (exit code {lost.code})"
            if lost.code == -signal.SIGKILL and len(work.trials) > 1:
                orders = self._halved(work, f"{reason}: killed, perhaps since memory ran out")
            else:
                orders = [self._failed(slot, work, reason)]
        elif work:
            reason = f"the worker process died {ATTEMPTS} times while probing (exit code {lost.code})"
            orders = [self._settle(slot, work.group_id, Choice("loop", work.layout, LOOP_WIDTH, reason))]
        again = slot in self._ready and bool(self._queue or self._asked)
        gone = "a worker's machine is gone" if lost.code is None else f"a worker process died (exit code {lost.code})"
        orders.append(Say(f"{gone}{'; starting another' * again}"))
        self._ready.discard(slot)
        return [*orders, *([Replace(slot)] if again else []), *self._handed_out()]

    # what becomes of a piece of work

    def _leave(self, group_id: str) -> None:
        """Leave a group's trials to others."""
        trials = self._waiting.pop(group_id, ())
        self.tally.wanted_steps -= self.terms.steps(trials)

    def _settle(self, slot: Slot, group_id: str, choice: Choice) -> Settle:
        return Settle(slot, group_id, choice, keep=len(self._waiting.get(group_id, ())) > 1)

    def _tried(self, slot: Slot, group_id: str, choice: Choice, bar: Bar) -> Give:
        """Let the first cohort of a group show on the slot that chose, where it is prepared, that fusing is no slower.

        Until then it trains alone of its group.
        """
        first = self.terms.cut(self._waiting[group_id], self._sized(choice))[0]
        work = replace(self.terms.train(group_id, first, choice), bar=bar)
        self._trying[group_id] = _Trying(work, choice)
        self._doing[slot], self._reported[slot] = work, 0
        return Give(slot, work)

    def _others_tried(self, slot: Slot, work: Train, bar: Bar, refused: Refused) -> list[Order]:
        """Of a cohort that was to show its speed some trials are not this driver's to train: let others show it.

        Where none are left, how the group trains is open until there are.
        """
        group_id, choice = work.group_id, self._trying.pop(work.group_id).choice
        self._waiting[group_id] = [trial for trial in self._waiting[group_id] if trial.id not in refused.ids]
        if self._waiting[group_id]:
            return [self._tried(slot, group_id, choice, bar)]
        self._asked.discard(group_id)
        return self._free(slot)

    def _tried_narrower(self, slot: Slot, failed: Train, reason: str) -> list[Order]:
        """A cohort that shows its speed did not fit the memory: half of it may. One trial that does not will loop."""
        choice, bar, width = self._trying[failed.group_id].choice, failed.bar, (len(failed.trials) + 1) // 2
        assert bar is not None
        if len(failed.trials) == 1:
            return [
                Discard(failed),
                self._looped(slot, failed, f"fused it does not fit the memory: {last_line(reason)}"),
            ]
        return [Discard(failed), self._tried(slot, failed.group_id, replace(choice, width=width), bar)]

    def _fast_enough(self, slot: Slot) -> list[Order]:
        """Settle a group whose first cohort was fast enough."""
        work = self._doing[slot]
        assert isinstance(work, Train)
        return [self._settle(slot, work.group_id, self._trying[work.group_id].choice)]

    def _looped(self, slot: Slot, work: Train, reason: str) -> Settle:
        """Settle for the loop, the cohort that was to show its speed being given up."""
        del self._trying[work.group_id]
        return self._settle(slot, work.group_id, Choice("loop", work.layout, LOOP_WIDTH, reason))

    def _sized(self, choice: Choice) -> Choice:
        """A choice, as wide as was asked for: that holds for this sweep and is not kept."""
        return replace(choice, width=self.terms.width or choice.width)

    def _cohorts(self, group_id: str, settled: Settled, under_way: Sequence[Trial] = ()) -> list[Work]:
        """Go on with what has checkpoints, and cut the rest of what waits, but for what is under way."""
        choice, busy = settled.choice, {trial.id for trial in under_way}
        self._choices[group_id] = self._sized(choice)
        waiting = {trial.id: trial for trial in self._waiting.pop(group_id, ()) if trial.id not in busy}
        begun = [trials for trials in settled.begun if waiting.keys() >= {trial.id for trial in trials}]
        taken = {trial.id for trials in begun for trial in trials}
        rest = [trial for trial_id, trial in waiting.items() if trial_id not in taken]
        pieces = self.terms.cut(rest, self._choices[group_id]) if rest else []
        return [self.terms.train(group_id, trials, choice) for trials in (*begun, *pieces)]

    def _cut_anew(self, slot: Slot, work: Work | None) -> list[Order]:
        """Forget a cohort that trained otherwise than its group is settled, and let its trials train so."""
        assert isinstance(work, Train)
        self._void.discard(slot)
        self._waiting.setdefault(work.group_id, []).extend(work.trials)
        self._queue.extendleft(self._cohorts(work.group_id, Settled(self._choices[work.group_id])))
        return [Discard(work)]

    def _commit(
        self,
        slot: Slot,
        work: Train,
        observations: Iterable[Observations],
        peak_bytes: int | None = None,
        reached: tuple[Reached, ...] = (),
    ) -> Commit:
        self._uncommitted += 1
        return Commit(slot, work, tuple(observations), peak_bytes, reached)

    def _failed(self, slot: Slot, work: Train, reason: str) -> Commit:
        self.tally.steps += self.terms.steps(work.trials)
        failed = (Observations(trial_id=trial.id, outcome=Outcome.FAILED, error=reason) for trial in work.trials)
        return self._commit(slot, work, failed)

    def _halved(self, work: Train, reason: str) -> list[Order]:
        """Halve a cohort that did not fit the memory, and all others of its group."""
        width = (len(work.trials) + 1) // 2
        choice = self._choices[work.group_id]
        self._choices[work.group_id] = replace(choice, width=min(choice.width, width))
        self._queue.appendleft(work)
        self._queue = deque(
            part
            for each in self._queue
            for part in (
                narrowed(each, width) if isinstance(each, Train) and each.group_id == work.group_id else [each]
            )
        )
        what = f"{self._structure[work.group_id]}: {len(work.trials)} trials do not fit the memory"
        said = Say(f"{what}; going on with {width} at once ({last_line(reason)})")
        return [Discard(work), Narrow(work.group_id, width), said]

    def _stop(self) -> list[Order]:
        """Do no more: not even what is being trained is waited for."""
        works = [work for work in (*self._queue, *self._doing.values()) if isinstance(work, Train)]
        left = [work.trials for work in works if not work.bar]  # what shows its speed waits as well
        self.tally.untried += sum(map(len, (*left, *self._waiting.values(), self.held)))
        self._held.clear()  # nobody looks for these any more
        self._stopped = True
        failed = f"{self.tally.ended[Outcome.FAILED]:,} failed"
        return [Say(f"stopped, since {failed}; {self.tally.untried:,} trials are not trained")]

    def _said_of_left(self, work: Train, taken: Committed) -> list[Order]:
        said, structure = [], self._structure[work.group_id]
        if taken.left:
            what = f"{structure}: {len(taken.left):,} of {len(work.trials):,} trials were done before"
            said.append(f"{what} and end with other bits now, by another torch or machine; what is stored stays")
        if taken.lost:
            what = f"{structure}: {len(taken.lost):,} of {len(work.trials):,} trials were taken over by another sweep"
            said.append(f"{what} while this one stood still; what it trained of them is dropped")
        return [Say(text) for text in said]

    def _given_up(self, work: Train, observations: Sequence[Observations]) -> list[Order]:
        """Leave the rest of a group alone when its first cohorts failed, all with the same message."""
        seen = self._failures.get(work.group_id)
        if seen is None:
            return []
        messages = {last_line(each.error or "") for each in observations if each.outcome is Outcome.FAILED}
        alike = len(messages) == 1 and all(each.outcome is Outcome.FAILED for each in observations)
        alike = alike and len(observations) == len(work.trials)  # the others came to a rung
        if not alike or not messages.issuperset(seen):
            del self._failures[work.group_id]  # something trains, or failures differ: each counts for itself
            return []
        seen.extend(messages)
        left = [each for each in self._queue if isinstance(each, Train) and each.group_id == work.group_id]
        if len(seen) < FAILED_ALIKE or not left:
            return []
        self._queue = deque(each for each in self._queue if each not in left)
        untried = sum(len(each.trials) for each in left)
        self.tally.untried += untried
        self.tally.wanted_steps -= sum(self.terms.steps(each.trials) for each in left)
        what = f"{self._structure[work.group_id]}: {len(seen)} cohorts all failed in the same way"
        said = Say(f"{what}; the other {untried:,} trials are not tried: {seen[0]}")
        return [*(Discard(each) for each in left if each.attempt > 1 or each.moves), said]


def structure_of(trial: Trial) -> str:
    """What the trials of a group share, in a few words."""
    config = trial.config
    decay = getattr(config.optimizer, "decay", "l2")
    return f"{config.model.name}, {config.optimizer.name} ({decay}), {config.dataset.name}"

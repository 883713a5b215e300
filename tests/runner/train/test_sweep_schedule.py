"""The schedule, told events in any order: every trial ends once, none is lost, and it always comes to rest."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

import pytest
from backends import InProcess
from hypothesis import given, settings
from hypothesis import strategies as st
from store_cases import make_trial

from thalweg.runner import page
from thalweg.runner.facts.choice import Bar, Choice
from thalweg.runner.facts.observation import Observations, Outcome
from thalweg.runner.facts.record import Committed, Refused
from thalweg.runner.planning.plan import Group
from thalweg.runner.store import Store
from thalweg.runner.study.trial import Trial
from thalweg.runner.train.messages import (
    Ask,
    Chosen,
    Held,
    Lost,
    Note,
    OutOfMemory,
    Progress,
    Ready,
    Slower,
    Train,
    Trained,
    Work,
)
from thalweg.runner.train.orders import Commit, Discard, Give, Narrow, Order, Replace, Resume, Say, Settle, Settled
from thalweg.runner.train.schedule import ATTEMPTS, MOVES, Schedule
from thalweg.runner.train.terms import Terms

TERMS = Terms(executor="auto", workers=2, evaluations=2)
VMAP = Choice("vmap", "shared", 64, "told so")
BAR = Bar(1e-3, 0.5)
LR = itertools.count(1)


def trials(count: int, seed: int = 0) -> tuple[Trial, ...]:
    base = make_trial().config
    made = (replace(base, seed=seed, optimizer=replace(base.optimizer, lr=next(LR) / 1e6)) for _ in range(count))
    return tuple(Trial(config) for config in made)


def group(name: str, count: int, seed: int = 0) -> Group:
    return Group(name, trials(count, seed), count)


def observed(work: Train, outcomes: Iterable[Outcome], error: str = "boom") -> Trained:
    ended = (
        Observations(trial_id=trial.id, outcome=outcome, error=error if outcome is Outcome.FAILED else None)
        for trial, outcome in zip(work.trials, outcomes, strict=True)
    )
    return Trained(tuple(ended), peak_bytes=1)


def well(work: Train) -> Trained:
    return observed(work, itertools.repeat(Outcome.FINISHED, len(work.trials)))


class World:
    """Slots, a store and a user around a schedule, which hold it to what it promises."""

    def __init__(self, terms: Terms = TERMS, choice: Choice | None = None) -> None:
        self.schedule = Schedule(terms, "val/loss", "min")
        self.choice = choice  # what another sweep settles for every group, while this one asks
        self.stored: dict[str, Choice] = {}  # group -> how it trains, as the store has it
        self.settled: dict[str, list[Choice]] = {}  # group -> what the schedule was told of that
        self.groups: dict[str, dict[str, Trial]] = {}
        self.begun: list[tuple[Trial, ...]] = []  # cohorts of other drivers that have checkpoints
        self.doing: dict[int, Work | None] = {}  # slots that are ready
        self.coming: list[int] = []  # slots that are opened and not ready
        self.ended: dict[str, Outcome] = {}
        self.wanted: dict[str, None] = {}  # in the order in which they came: ids differ from run to run
        self.said: list[str] = []
        self.orders: list[Order] = []
        self.left: tuple[str, ...] = ()  # ids that the store leaves as they were
        self.held: set[str] = set()  # ids that another driver trains
        self.elsewhere: dict[str, Outcome] = {}  # ids that another driver has trained
        self.claimed: set[str] = set()  # ids that this driver has claimed
        self.again: set[str] = set()  # of these, the ids whose slot was lost, and that are to be trained again
        self.names = itertools.count()

    def want(self, group: Group, settled: Settled | None = None) -> None:
        self.wanted |= dict.fromkeys(trial.id for trial in group.trials)
        self.groups.setdefault(group.group_id, {}).update({trial.id: trial for trial in group.trials})
        if settled:
            choice = self.stored.setdefault(group.group_id, settled.choice)
            settled = replace(self.told(group.group_id, choice, group.trials), begun=settled.begun)
        self.obey(self.schedule.wanted(group, settled))

    def told(self, group_id: str, choice: Choice, trials: Iterable[Trial]) -> Settled:
        """What the schedule is told of how a group trains, with what was begun of these trials."""
        self.settled.setdefault(group_id, []).append(choice)
        missing = {trial.id for trial in trials}
        begun = []
        for each in self.begun:
            if missing >= (ids := {trial.id for trial in each}):
                missing -= ids
                begun.append(each)
        return Settled(choice, tuple(begun))

    def ready(self) -> int:
        slot = self.coming.pop() if self.coming else next(self.names)
        self.doing[slot] = None
        self.obey(self.schedule.heard(slot, Ready()))
        return slot

    def hear(self, slot: int, event: object) -> None:
        if isinstance(event, Trained | OutOfMemory | Chosen | Slower):
            self.doing[slot] = None
        if isinstance(event, Lost) and isinstance(lost := self.doing.pop(slot), Train):
            self.again |= {trial.id for trial in lost.trials}
        self.obey(self.schedule.heard(slot, event))  # type: ignore[arg-type]

    def obey(self, orders: list[Order]) -> None:
        waiting = deque(orders)
        while waiting:
            order = waiting.popleft()
            self.orders.append(order)
            waiting.extendleft(reversed(self.done(order)))
        if not self.schedule.at_rest:
            assert self.claimed <= self.in_training() | self.again, "a claim to what nobody trains"

    def done(self, order: Order) -> list[Order]:
        match order:
            case Give(slot, work):
                assert isinstance(slot, int)
                assert self.doing[slot] is None, "a slot was given two pieces of work"
                if isinstance(work, Train):
                    self.again -= {trial.id for trial in work.trials}
                    if (refused := self.refused([trial.id for trial in work.trials])).ids:
                        return self.schedule.refused(order, refused)
                    self.claimed |= {trial.id for trial in work.trials}
                self.doing[slot] = work
                works = [each for each in self.doing.values() if isinstance(each, Train)]
                busy = [trial.id for each in works for trial in each.trials]
                assert len(busy) == len(set(busy)), "a trial trains twice at once"
                assert not self.ended.keys() & set(busy), "a trial that ended trains again"
                groups = [each.group_id for each in works]
                assert all(groups.count(name) == 1 for name in groups if name not in self.settled), "not one alone"
                if isinstance(work, Train) and not work.bar:
                    self.as_settled(work)
            case Commit():
                self.as_settled(order.work)
                ids = [each.trial_id for each in order.observations]
                assert ids == [trial.id for trial in order.work.trials]
                assert not self.ended.keys() & set(ids), "a trial ended twice"
                lost = tuple(each for each in ids if each in self.held | self.elsewhere.keys())
                self.claimed -= set(ids)
                self.again -= set(ids)
                self.ended |= {each.trial_id: each.outcome for each in order.observations if each.trial_id not in lost}
                left = tuple(each for each in ids if each in self.left and each not in lost)
                return self.schedule.committed(order, Committed(left, lost))
            case Discard():
                discarded = ids_of(order.work)
                assert not discarded & self.in_training(), "what is still trained is given up"
                self.claimed -= discarded
                self.again -= discarded
            case Resume():
                assert not self.held & {trial.id for trial in order.trials}
                choice = order.choice or self.stored.get(order.group_id)
                settled = self.told(order.group_id, choice, order.trials) if choice else None
                return self.schedule.resumed(order, settled)
            case Settle():
                choice = self.stored.get(order.group_id, self.choice or order.choice)
                if order.keep:
                    self.stored[order.group_id] = choice
                whole = self.groups[order.group_id].values()
                return self.schedule.settled(order, self.told(order.group_id, choice, whole))
            case Replace():
                self.coming.append(next(self.names))
            case Say():
                self.said.append(order.text)
        return []

    def as_settled(self, work: Train) -> None:
        told = [(each.executor, each.layout) for each in self.settled.get(work.group_id, ())]
        assert (work.executor, work.layout) in told, "not trained as its group is settled"

    def claim(self, ids: Iterable[str]) -> None:
        """Let another driver have these, in cohorts with checkpoints; this driver may have stood still meanwhile."""
        taken = {*ids}
        self.held |= taken
        self.claimed -= taken
        for members in self.groups.values():
            if cohort := tuple(trial for trial_id, trial in members.items() if trial_id in taken):
                self.begun.append(cohort)

    def refused(self, ids: Iterable[str]) -> Refused:
        asked = {*ids}
        settled = {each: self.elsewhere[each] for each in asked & self.elsewhere.keys()}
        return Refused(frozenset(asked & self.held), settled)

    def look(self) -> None:
        self.obey(self.schedule.looked(self.refused(self.schedule.held)))

    def in_training(self) -> set[str]:
        return {trial.id for work in self.doing.values() if isinstance(work, Train) for trial in work.trials}

    def busy(self) -> list[int]:
        return [slot for slot, work in self.doing.items() if work is not None]

    def finish(self) -> None:
        """Let everything go well from here on; other drivers have been killed."""
        self.held.clear()
        for _ in range(1000):
            self.look()
            if self.schedule.at_rest:
                break
            if not self.doing:
                self.ready()
            for slot in self.busy()[:1]:
                work = self.doing[slot]
                self.hear(slot, Chosen(work.group_id, VMAP) if isinstance(work, Ask) else well(work))
        assert self.schedule.at_rest, "it never comes to rest"
        tally, most = self.schedule.tally, self.schedule.terms.max_failures
        if most is None or tally.ended[Outcome.FAILED] < most:  # else the sweep leaves the store, and its checkpoints
            assert self.claimed <= self.in_training(), "a claim is left"
        assert len(self.wanted) == len(self.ended) + tally.untried + tally.elsewhere.total(), "a trial was lost"
        assert sum(tally.ended.values()) + tally.left == len(self.ended)
        assert tally.steps == tally.wanted_steps or self.limited(), "steps are lost"

    def limited(self) -> bool:
        """Whether so much failed that it ended."""
        limit = self.schedule.terms.max_failures
        return limit is not None and self.schedule.tally.ended[Outcome.FAILED] >= limit


WHAT = (
    "ready",
    "progress",
    "end",
    "fail",
    "no memory",
    "killed",
    "died",
    "gone",
    "more",
    "note",
    "left",
    "held",
    "slower",
)
OTHERS = ("claim", "settle", "free", "decide", "look")
"""What other drivers on the store do, and that this one looks."""


@pytest.mark.long
@settings(max_examples=300)
@given(st.data())
def test_whatever_happens_each_trial_ends_once_and_none_is_lost(data: st.DataObject) -> None:
    width = data.draw(st.integers(1, 9), "width")
    terms = replace(TERMS, workers=data.draw(st.integers(1, 3)), width=data.draw(st.sampled_from([None, 3])))
    terms = replace(terms, max_failures=data.draw(st.sampled_from([None, None, 5]), "max failures"))
    layout: Literal["shared", "per_lane"] = data.draw(st.sampled_from(["shared", "per_lane"]))
    drawn = Choice(data.draw(st.sampled_from(["vmap", "loop"])), layout, width, "drawn")
    world = World(terms, data.draw(st.sampled_from([None, drawn]), "another sweep's"))
    bar = data.draw(st.sampled_from([None, BAR]), "bar")
    for name in range(data.draw(st.integers(1, 3), "groups")):
        settled = data.draw(st.sampled_from([None, Settled(VMAP)]))
        world.want(group(f"g{name}", data.draw(st.integers(1, 20), "trials")), settled)
    held: list[int] = []
    for what in data.draw(st.lists(st.sampled_from(WHAT + OTHERS), max_size=60), "what"):
        if world.schedule.at_rest and world.limited():
            break
        if what == "more":
            settled = data.draw(st.sampled_from([None, Settled(VMAP)]))
            world.want(group(f"g{data.draw(st.integers(0, 4))}", data.draw(st.integers(1, 9)), seed=1), settled)
        others = [each for each in world.wanted if each in world.held]
        training = world.in_training()
        gone = world.ended.keys() | world.elsewhere.keys() | world.held | training
        free = [each for each in world.wanted if each not in gone]
        if what == "claim" and free:  # those in training may be claimed too: this driver stood still meanwhile
            robbed = [each for each in world.wanted if each in training and data.draw(st.booleans(), "robbed")]
            some = st.lists(st.sampled_from(free + robbed), max_size=9)
            world.claim(data.draw(st.one_of(some, st.just(free + robbed)), "claimed"))
        if what == "decide":
            world.stored.setdefault(f"g{data.draw(st.integers(0, 4))}", drawn)
        if what in ("settle", "free") and others:
            freed = data.draw(st.sets(st.sampled_from(others)), "no longer held")
            world.held -= freed
            if what == "settle":
                world.elsewhere |= dict.fromkeys(freed, data.draw(st.sampled_from([*Outcome])))
        if what == "look":
            world.look()
        if what == "ready" or not world.doing:
            world.ready()
        busy = world.busy()
        held = [slot for slot in held if (work := world.doing.get(slot)) and isinstance(work, Train) and work.bar]
        slot = data.draw(st.sampled_from(busy)) if busy else None
        work = world.doing[slot] if slot is not None else None
        if what == "died":  # an idle one may die as well
            slot = data.draw(st.sampled_from(sorted(world.doing)))
            world.hear(slot, Lost(-11))
        elif slot is None:
            continue
        elif what == "killed":
            world.hear(slot, Lost(-9))
        elif what == "gone":
            world.hear(slot, Lost(None))
        elif what == "note":
            world.hear(slot, Note("a word"))
        elif isinstance(work, Ask):
            world.hear(slot, Chosen(work.group_id, replace(VMAP, width=width), bar))
        elif isinstance(work, Train) and what == "held":
            if work.bar and slot not in held:
                held.append(slot)
                world.hear(slot, Held())
        elif isinstance(work, Train) and what == "slower":
            if work.bar and slot not in held:
                world.hear(slot, Slower(0.5))
        elif isinstance(work, Train) and what == "progress":
            world.hear(slot, Progress(1, 0))
        elif isinstance(work, Train) and what == "no memory":
            world.hear(slot, OutOfMemory("not enough memory"))
        elif isinstance(work, Train) and what in ("end", "left"):
            world.left = (work.trials[0].id,) if what == "left" else ()
            size = len(work.trials)
            outcomes = data.draw(st.lists(st.sampled_from([*Outcome]), min_size=size, max_size=size))
            world.hear(slot, observed(work, outcomes, data.draw(st.sampled_from(["boom", "bang"]))))
        elif isinstance(work, Train) and what == "fail":
            world.hear(slot, observed(work, itertools.repeat(Outcome.FAILED, len(work.trials))))
    world.finish()


def test_cohorts_of_a_settled_group_come_before_the_questions_of_others() -> None:
    world = World()
    world.want(group("a", 3))
    world.want(group("b", 3))
    slot = world.ready()
    world.hear(slot, Chosen("a", VMAP))
    work = world.doing[slot]
    assert isinstance(work, Train)
    assert work.group_id == "a"


def test_what_is_wanted_later_trains_as_its_group_does_and_no_wider_than_it_fits() -> None:
    world = World()
    world.want(group("a", 8), Settled(VMAP))
    slot = world.ready()
    world.hear(slot, OutOfMemory("not enough memory"))
    world.want(group("a", 8))
    widths = []
    while (work := world.doing[slot]) is not None:
        assert isinstance(work, Train), "its choice stands: nobody is asked again"
        widths.append(len(work.trials))
        world.hear(slot, well(work))
    assert widths == [4, 4, 4, 4]
    assert [(each.group_id, each.width) for each in world.orders if isinstance(each, Narrow)] == [("a", 4)]


def test_trials_wanted_while_a_choice_is_made_are_cut_with_the_others() -> None:
    world = World()
    slot = world.ready()
    world.want(group("a", 2))
    world.want(group("a", 3))
    world.hear(slot, Chosen("a", VMAP))
    work = world.doing[slot]
    assert isinstance(work, Train)
    assert len(work.trials) == 5
    world.finish()
    assert sum(isinstance(each, Give) and isinstance(each.work, Ask) for each in world.orders) == 1


@pytest.mark.parametrize(("count", "kept"), [(1, False), (2, True)])
def test_a_trial_alone_decides_nothing_for_a_grid_to_come(count: int, kept: bool) -> None:
    world = World()
    world.want(group("a", count))
    world.hear(world.ready(), Chosen("a", VMAP))
    assert [each.keep for each in world.orders if isinstance(each, Settle)] == [kept]


def test_the_stores_choice_is_in_force_whatever_was_measured() -> None:
    world = World(choice=Choice("loop", "per_lane", 2, "chosen before"))
    world.want(group("a", 4))
    slot = world.ready()
    world.hear(slot, Chosen("a", VMAP))
    work = world.doing[slot]
    assert isinstance(work, Train)
    assert (work.executor, work.layout, len(work.trials)) == ("loop", "per_lane", 2)
    assert "loop, chosen before" in world.said[-1]


def test_cohorts_with_checkpoints_go_on_as_they_were_and_the_rest_is_cut() -> None:
    world, whole = World(), group("a", 5)
    begun = (whole.trials[1], whole.trials[4])
    world.want(whole, Settled(VMAP, (begun,)))
    first, second = world.ready(), world.ready()
    given = [world.doing[slot] for slot in (first, second)]
    assert [[trial.id for trial in work.trials] for work in given if isinstance(work, Train)] == [
        [trial.id for trial in begun],
        [whole.trials[n].id for n in (0, 2, 3)],
    ]


def test_trials_that_end_with_other_bits_than_stored_are_counted_apart_and_said() -> None:
    world = World()
    whole = group("a", 3)
    world.want(whole, Settled(VMAP))
    world.left = (whole.trials[0].id, whole.trials[2].id)
    slot = world.ready()
    work = world.doing[slot]
    assert isinstance(work, Train)
    world.hear(slot, well(work))
    assert (world.schedule.tally.left, world.schedule.tally.ended[Outcome.FINISHED]) == (2, 1)
    assert "2 of 3 trials were done before and end with other bits now" in world.said[-1]


def test_a_slot_lost_before_it_was_ready_is_not_replaced() -> None:
    world = World()
    world.want(group("a", 2), Settled(VMAP))
    world.doing[99] = None
    world.hear(99, Lost(1))
    assert not [each for each in world.orders if isinstance(each, Replace)]


def test_a_machine_that_goes_away_is_no_attempt_of_its_work_until_many_have_gone() -> None:
    for gone in (MOVES, MOVES + ATTEMPTS):
        world = World()
        world.want(group("a", 2), Settled(VMAP))
        for _ in range(gone):
            world.hear(world.ready(), Lost(None))
        failed = world.schedule.tally.ended[Outcome.FAILED]
        assert (failed, world.schedule.at_rest) == ((0, False) if gone == MOVES else (2, True))


def test_a_lost_slot_is_replaced_only_where_work_waits() -> None:
    world = World()
    idle, busy = world.ready(), world.ready()
    world.want(group("a", 2), Settled(VMAP))
    busy = world.busy()[0]
    world.hear(({idle, 0, 1} - {busy}).pop(), Lost(-11))
    assert not [each for each in world.orders if isinstance(each, Replace)]
    world.hear(busy, Lost(-11))
    assert [each.slot for each in world.orders if isinstance(each, Replace)] == [busy]


def test_a_cohort_that_does_not_fit_leaves_no_checkpoint_behind() -> None:
    world = World()
    world.want(group("a", 4), Settled(VMAP))
    slot = world.ready()
    work = world.doing[slot]
    world.hear(slot, OutOfMemory("not enough memory"))
    assert [each.work for each in world.orders if isinstance(each, Discard)] == [work]


def test_the_sample_for_the_probe_comes_from_the_seed_with_the_most_trials() -> None:
    few, many = trials(4, seed=0), trials(20, seed=1)
    ask = TERMS.probe("a", (*few, *many))
    assert (ask.layout, {trial.config.seed for trial in ask.sample}) == ("shared", {1})
    assert len(ask.sample) == 20


def test_trials_that_another_trains_are_waited_for_and_the_others_trained() -> None:
    world = World()
    whole = group("a", 4)
    world.held = {trial.id for trial in whole.trials[:2]}
    world.want(whole, Settled(VMAP))
    slot = world.ready()
    work = world.doing[slot]
    assert isinstance(work, Train)
    assert work.trials == whole.trials[2:]
    assert not world.schedule.waits
    world.hear(slot, well(work))
    assert (world.schedule.at_rest, world.schedule.waits) == (False, True)
    world.look()
    assert world.doing[slot] is None
    ended, freed = (trial.id for trial in whole.trials[:2])
    world.held, world.elsewhere = set(), {ended: Outcome.FINISHED}
    world.look()
    again = world.doing[slot]
    assert isinstance(again, Train)
    assert [trial.id for trial in again.trials] == [freed]
    world.finish()
    assert world.schedule.tally.elsewhere == {Outcome.FINISHED: 1}


def test_what_was_trained_of_trials_that_were_taken_over_is_dropped_and_said() -> None:
    world = World()
    whole = group("a", 3)
    world.want(whole, Settled(VMAP))
    slot = world.ready()
    work = world.doing[slot]
    assert isinstance(work, Train)
    world.held = {whole.trials[0].id}
    world.hear(slot, well(work))
    assert world.schedule.tally.ended == {Outcome.FINISHED: 2}
    assert "1 of 3 trials were taken over by another sweep" in world.said[-1]
    world.elsewhere, world.held = {whole.trials[0].id: Outcome.FAILED}, set()
    world.look()
    world.finish()
    assert world.schedule.tally.elsewhere == {Outcome.FAILED: 1}


@pytest.mark.parametrize(("limit", "tried"), [(1, 4), (4, 4), (5, 8)])
def test_so_many_failures_end_it_at_once_whatever_is_under_way(limit: int, tried: int) -> None:
    world = World(replace(TERMS, width=4, max_failures=limit, workers=1))
    others = group("c", 2)
    world.held = {trial.id for trial in others.trials}
    world.want(others, Settled(VMAP))
    world.want(group("a", 16), Settled(VMAP))
    world.want(group("b", 5))
    slots = [world.ready(), world.ready()]
    for number in range(tried // 4):
        work = world.doing[slots[number]]
        assert isinstance(work, Train)
        assert not world.schedule.at_rest
        world.hear(slots[number], observed(work, [Outcome.FAILED] * 4, error=f"each another {number}"))
    assert world.schedule.at_rest
    assert world.schedule.tally.untried == 2 + 16 + 5 - tried
    assert f"stopped, since {tried} failed; {23 - tried} trials are not trained" in world.said[-1]
    assert len(world.busy()) == 1  # no more was handed out


def test_where_how_groups_train_is_all_that_is_wanted_nothing_trains() -> None:
    world = World(replace(TERMS, settling=True))
    world.want(group("a", 4))
    world.want(group("b", 4), Settled(VMAP))
    world.hear(world.ready(), Chosen("a", VMAP))
    assert world.schedule.at_rest
    assert [each.group_id for each in world.orders if isinstance(each, Settle)] == ["a"]
    assert not [each for each in world.orders if isinstance(each, Commit)]
    assert world.schedule.tally.wanted_steps == 0


def trying(count: int = 40, workers: int = 2, **how: object) -> tuple[World, int, Train]:
    """A world in which a group's first cohort shows its speed, the slot where it does, and that cohort."""
    world = World(replace(TERMS, workers=workers), **how)  # type: ignore[arg-type]
    world.want(group("a", count))
    slot, _ = world.ready(), world.ready()
    world.hear(slot, Chosen("a", VMAP, BAR))
    work = world.doing[slot]
    assert isinstance(work, Train)
    return world, slot, work


def test_until_a_choice_has_shown_its_speed_one_cohort_trains_on_the_slot_that_chose() -> None:
    world, slot, work = trying()
    assert work.bar == BAR
    assert world.busy() == [slot]
    assert not world.settled
    world.hear(slot, Held())
    assert world.settled["a"][-1] == VMAP
    assert len(world.busy()) == 2
    world.finish()
    assert all(each.work.bar is None for each in world.orders if isinstance(each, Give) and each.work is not work
               and isinstance(each.work, Train))  # fmt: skip


def test_a_fused_cohort_that_is_slower_is_dropped_and_the_loop_is_kept_for_good() -> None:
    world, slot, work = trying()
    world.hear(slot, Progress(7, 0))
    world.hear(slot, Slower(0.42))
    assert [each.work for each in world.orders if isinstance(each, Discard)] == [work]
    (settle,) = [each for each in world.orders if isinstance(each, Settle)]
    assert (settle.choice.executor, settle.keep) == ("loop", True)
    assert settle.choice.reason == "20 trials at once had only 0.4× its speed at first"
    assert world.schedule.tally.steps == 0
    world.finish()
    assert not any(isinstance(each, Commit) and each.work.executor != "loop" for each in world.orders)


def test_what_another_sweep_settled_meanwhile_holds_and_nothing_of_the_first_cohort_is_committed() -> None:
    world, slot, work = trying(choice=Choice("loop", "shared", 8, "settled by another sweep"))
    world.hear(slot, Held())
    world.hear(slot, well(work))
    world.finish()
    assert {each.work.executor for each in world.orders if isinstance(each, Commit)} == {"loop"}


def test_a_cohort_that_ends_before_it_is_judged_settles_its_choice_and_is_committed_after_that() -> None:
    world, slot, work = trying()
    world.hear(slot, well(work))
    kinds = [type(each) for each in world.orders if isinstance(each, Settle | Commit)]
    assert kinds == [Settle, Commit]


def test_a_first_cohort_that_does_not_fit_is_tried_narrower_and_a_lone_trial_that_does_not_loops() -> None:
    world, slot, _ = trying(4, workers=1)
    widths = []
    while (now := world.doing[slot]) is not None and isinstance(now, Train) and now.bar:
        widths.append(len(now.trials))
        world.hear(slot, OutOfMemory("RuntimeError: not enough memory"))
    assert widths == [4, 2, 1]
    assert world.settled["a"][-1].executor == "loop"
    assert "does not fit the memory" in world.settled["a"][-1].reason
    world.finish()


def test_a_worker_that_dies_twice_in_the_first_steps_fused_leaves_the_loop() -> None:
    world, slot, _ = trying()
    world.hear(slot, Lost(-11))
    (again,) = world.busy()
    world.hear(again, Lost(-11))
    assert world.settled["a"][-1].executor == "loop"
    world.finish()


def test_what_was_asked_for_by_name_or_loops_has_nothing_to_show() -> None:
    for choice, bar in ((VMAP, None), (Choice("loop", "shared", 8, "slow"), BAR)):
        world = World()
        world.want(group("a", 4))
        world.hear(world.ready(), Chosen("a", choice, bar))
        assert world.settled["a"][-1] == choice


def ids_of(work: Work | None) -> set[str]:
    assert isinstance(work, Train)
    return {trial.id for trial in work.trials}


def test_where_others_have_trials_of_the_first_cohort_those_after_them_show_its_speed() -> None:
    world = World(replace(TERMS, workers=1))
    whole = group("a", 40)
    world.want(whole)
    slot = world.ready()
    world.claim(trial.id for trial in whole.trials[:5])
    world.hear(slot, Chosen("a", VMAP, BAR))
    first = world.doing[slot]
    assert isinstance(first, Train)
    assert first.bar == BAR
    assert not ids_of(first) & world.held
    assert len(first.trials) == 18  # of 35, not what was left of 20
    world.hear(slot, Lost(None))
    world.claim([first.trials[0].id])
    again = world.ready()
    assert not ids_of(world.doing[again]) & world.held
    world.hear(again, OutOfMemory("not enough memory"))
    world.claim([min(ids_of(world.doing[again]))])
    world.hear(again, Lost(-11))
    narrower = world.ready()
    assert len(ids_of(world.doing[narrower])) <= 9
    world.hear(narrower, Held())
    assert world.settled["a"] == [replace(VMAP, width=9)]
    world.finish()


@pytest.mark.parametrize("decided", [None, Choice("loop", "shared", 8, "another sweep's")])
def test_a_group_that_others_have_whole_is_open_until_they_leave_or_decide(decided: Choice | None) -> None:
    world = World()
    whole = group("a", 4)
    world.want(whole)
    slot = world.ready()
    world.claim(trial.id for trial in whole.trials)
    world.hear(slot, Chosen("a", VMAP, BAR))
    assert (world.busy(), world.settled, world.schedule.waits) == ([], {}, True)
    if decided:
        world.stored["a"] = decided
    world.held.clear()
    world.look()
    work = world.doing[slot]
    assert isinstance(work, Train if decided else Ask)
    world.finish()
    assert {each.work.executor for each in world.orders if isinstance(each, Commit)} == {"loop" if decided else "vmap"}


def test_what_others_leave_while_a_first_cohort_shows_its_speed_trains_once_that_is_settled() -> None:
    world = World(replace(TERMS, workers=1))
    whole = group("a", 40)
    world.want(whole)
    slot, other = world.ready(), world.ready()
    world.claim([whole.trials[0].id])
    world.hear(slot, Chosen("a", VMAP, BAR))
    world.held.clear()
    world.look()
    assert world.doing[other] is None
    world.begun.append(tuple(whole.trials[:2]))
    world.hear(slot, Held())
    assert ids_of(world.doing[other]) == {whole.trials[0].id}  # they had a checkpoint of it, and none of what trains
    world.finish()


def test_a_first_cohort_that_was_fast_enough_has_nothing_to_show_when_it_is_done_again() -> None:
    world, slot, work = trying(20, workers=1)
    world.hear(slot, Held())
    world.hear(slot, Lost(None))
    again = world.doing[world.busy()[0]]
    assert isinstance(again, Train)
    assert (again.trials, again.bar, again.moves) == (work.trials, None, 1)


@pytest.mark.parametrize("end", [Lost(None), Lost(-9), OutOfMemory("not enough memory"), None])
def test_a_first_cohort_of_a_group_that_trains_otherwise_is_given_up_whatever_becomes_of_it(end: object) -> None:
    world, slot, work = trying(choice=Choice("loop", "shared", 8, "another sweep's"))
    world.hear(slot, Held())
    world.hear(slot, end or well(work))
    assert [each.work.trials for each in world.orders if isinstance(each, Discard)] == [work.trials]
    world.claim([work.trials[0].id])
    world.finish()
    assert not [each for each in world.orders if isinstance(each, Narrow)]


def test_failures_that_end_it_count_a_first_cohort_once() -> None:
    world = World(replace(TERMS, max_failures=1))
    world.want(group("b", 2), Settled(VMAP))
    world.want(group("a", 40))
    failing, slot = world.ready(), world.ready()
    world.hear(slot, Chosen("a", VMAP, BAR))
    work = world.doing[failing]
    assert isinstance(work, Train)
    world.hear(failing, observed(work, [Outcome.FAILED] * 2))
    assert (world.schedule.at_rest, world.schedule.tally.untried) == (True, 40)
    world.hear(slot, Held())
    assert not world.settled.get("a")


def test_what_was_not_tried_is_counted_as_nothing_else_later() -> None:
    world = World(replace(TERMS, max_failures=1, workers=1))
    whole, others = group("a", 40), group("b", 2)
    world.held = {trial.id for trial in others.trials}
    world.want(others, Settled(VMAP))
    world.want(whole)
    slot, _ = world.ready(), world.ready()
    world.hear(slot, Chosen("a", VMAP, BAR))
    work = world.doing[slot]
    assert isinstance(work, Train)
    world.elsewhere = {whole.trials[-1].id: Outcome.FINISHED}
    world.hear(slot, observed(work, [Outcome.FAILED] * 20))
    world.elsewhere |= dict.fromkeys(world.held, Outcome.FINISHED)
    world.held.clear()
    world.look()
    assert (world.schedule.tally.untried, world.schedule.tally.elsewhere.total()) == (22, 0)


def test_a_group_that_is_given_up_leaves_no_claim_of_cohorts_that_were_to_train_again() -> None:
    world = World(replace(TERMS, width=1, workers=1))
    world.want(group("a", 4), Settled(VMAP))
    first, second, third = world.ready(), world.ready(), world.ready()
    for slot in (first, third):
        work = world.doing[slot]
        assert isinstance(work, Train)
        world.hear(slot, observed(work, [Outcome.FAILED]))
        if slot == first:
            world.hear(second, Lost(-11))
    assert world.schedule.tally.untried == 1
    world.finish()


def test_claims_of_a_lost_first_cohort_are_given_up_where_it_is_cut_anew() -> None:
    world = World(replace(TERMS, workers=1))
    whole = group("a", 36)
    world.want(whole)
    slot = world.ready()
    world.claim(trial.id for trial in whole.trials[:5])
    world.hear(slot, Chosen("a", VMAP, BAR))
    assert len(world.claimed) == 31
    world.hear(slot, Lost(None))
    world.held.clear()
    world.look()
    world.claim([whole.trials[5].id])
    assert len(ids_of(world.doing[world.ready()])) == len(world.claimed) == 18
    world.finish()


def test_where_how_groups_train_is_all_that_is_wanted_no_cohort_shows_its_speed() -> None:
    world = World(replace(TERMS, settling=True))
    world.want(group("a", 4))
    world.hear(world.ready(), Chosen("a", VMAP, BAR))
    assert world.schedule.at_rest
    assert (world.busy(), world.settled["a"]) == ([], [VMAP])


@pytest.mark.parametrize(("optimizers", "idle"), [("adamw", 4), ("adamw,sgd", 2), ("adamw,sgd,lion", 1)])
def test_a_group_is_asked_about_with_the_workers_that_no_other_group_keeps(tmp_path, optimizers, idle) -> None:
    asked: list[Ask] = []

    def do(work: Work) -> Iterator[Chosen | Trained]:
        if isinstance(work, Ask):
            asked.append(work)
            yield Chosen(work.group_id, Choice("loop", work.layout, 8, "pretended"))
        else:
            yield well(work)

    declared = page.declare(f"optimizer={optimizers}", "optimizer.lr=0.1,0.2", "seed=0..2", "tracker=none")
    with Store.open(tmp_path / "s.sqlite", "write") as store:
        page.sweep(page.plan(declared.study, store), store, declared.settings, backend=InProcess(do, size=4))
    assert {(ask.workers, ask.idle, ask.seeds, ask.trials) for ask in asked} == {(4, idle, 3, 6)}

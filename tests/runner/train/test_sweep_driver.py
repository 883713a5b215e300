"""A sweep on a backend in this process: what is cut, asked, stored, tried again and given up."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from backends import CPU, Died, InProcess
from hypothesis import given, settings
from hypothesis import strategies as st
from store_cases import make_trial

from thalweg.runner import page
from thalweg.runner.base.errors import SetupError
from thalweg.runner.facts.choice import Bar, Choice
from thalweg.runner.facts.observation import Observations, Outcome
from thalweg.runner.planning.plan import Plan
from thalweg.runner.store import Store
from thalweg.runner.terminal.plan import plan_details
from thalweg.runner.train.checkpoints import Shelf, facts_of
from thalweg.runner.train.cutting import cut
from thalweg.runner.train.driver import SweepResult
from thalweg.runner.train.messages import Ask, Chosen, Event, OutOfMemory, Progress, Slower, Train, Trained, Work


class Pretended:
    """Says what a worker would. `deaths` counts the pieces of work that kill whoever does them, with `code`.

    fits: trials that the pretended memory holds; broken: messages that cohorts fail with, one after another.
    """

    def __init__(self) -> None:
        self.deaths, self.code, self.fits = 0, -11, 10**9
        self.broken: tuple[str, ...] = ()
        self.also: Callable[[Work], Iterator[Event]] = said_of

    def do(self, work: Work) -> Iterator[Event]:
        if self.deaths:
            self.deaths -= 1
            raise Died(self.code)
        if isinstance(work, Train) and len(work.trials) > self.fits:
            yield Progress(10, 0)
            yield OutOfMemory("RuntimeError: not enough memory")
        elif isinstance(work, Train) and self.broken:
            message, *later = self.broken
            self.broken = tuple(later)
            yield Trained(tuple(failure(trial.id, message) for trial in work.trials), peak_bytes=0)
        else:
            yield from self.also(work)


def failure(trial_id: str, message: str) -> Observations:
    return Observations(trial_id=trial_id, outcome=Outcome.FAILED, error=f"Traceback …\n{message}\n")


def said_of(work: Work) -> Iterator[Event]:
    if isinstance(work, Ask):
        yield Chosen(work.group_id, Choice("vmap", work.layout, 64, "pretended"))
        return
    yield Progress(10, 0)
    yield Trained(
        tuple(
            Observations(trial_id=trial.id, outcome=Outcome.FINISHED, metrics={"val/loss": 1.0}, weight_hash="ab" * 32)
            for trial in work.trials
        ),
        peak_bytes=1000 * len(work.trials),
    )


class Heard:
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.fractions: list[float] = []
        self.training_of: list[str] = []

    def training(self, trial_id: str) -> None:
        self.training_of.append(trial_id)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def progress(self, done: int, diverged: int, failed: int, fraction: float, best: float | None) -> None:
        self.fractions.append(fraction)


class Bench:
    """A store, a small study, and sweeps of it. interrupt_after: rounds of the backend before a Ctrl-C."""

    def __init__(self, folder: Path) -> None:
        self.workers, self.heard = Pretended(), Heard()
        self.store = Store.open(folder / "s.sqlite", "write")
        self.folder = folder / "s.checkpoints"
        self.interrupt_after = 10**9

    def plan(self, *words: str) -> Plan:
        words = words or ("optimizer.lr=0.1..1.0:10lin", "seed=0,1", "study.name=mine")
        self.declared = page.declare(*words)
        return page.plan(self.declared.study, self.store)

    def sweep(self, *words: str, max_failures: int | None = None) -> SweepResult:
        made, settings = self.plan(*words), self.declared.settings
        backend = InProcess(self.workers.do, settings.launcher.workers or 2, before_round=self._interrupt)
        page.record(made, self.store)
        return page.train(made, self.store, settings, self.heard, backend, max_failures=max_failures)

    def _interrupt(self, number: int) -> None:
        if number > self.interrupt_after:
            raise KeyboardInterrupt

    def cohorts(self) -> list[tuple]:
        return self.store._db.execute("SELECT executor, width FROM cohorts ORDER BY id").fetchall()

    def choices(self) -> list[tuple]:
        return self.store._db.execute("SELECT executor, width FROM choices").fetchall()

    def lanes(self) -> list[tuple[str, ...]]:
        """The trials of each cohort, in the order in which cohorts were opened."""
        ids = dict(self.store._db.execute("SELECT seq, id FROM trials"))
        cohorts: dict[int, list[str]] = {}
        for cohort, trial in self.store._db.execute("SELECT cohort, trial FROM cohort_trials ORDER BY cohort, lane"):
            cohorts.setdefault(cohort, []).append(ids[trial])
        return [tuple(trials) for trials in cohorts.values()]

    def layouts(self) -> set[str]:
        return {layout for (layout,) in self.store._db.execute("SELECT layout FROM cohorts")}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.store.close()


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 70), min_size=1, max_size=5),
    st.sampled_from(["loop", "vmap"]),
    st.sampled_from(["shared", "per_lane"]),
    st.integers(1, 80),
    st.integers(1, 8),
)
def test_every_trial_is_in_one_cohort_no_wider_than_chosen(per_seed, executor, layout, width, workers) -> None:
    base = make_trial()
    number = itertools.count(1)
    trials = [
        replace(base, config=replace(base.config, seed=seed, optimizer=replace(base.config.optimizer, lr=next(number))))
        for seed, count in enumerate(per_seed)
        for _ in range(count)
    ]
    cohorts = cut(trials, Choice(executor, layout, width, ""), workers)
    assert sorted(id(t) for cohort in cohorts for t in cohort) == sorted(map(id, trials))
    assert all(0 < len(cohort) <= width for cohort in cohorts)
    if layout == "shared":
        assert all(len({trial.config.seed for trial in cohort}) == 1 for cohort in cohorts)
    if layout == "per_lane" and len(trials) >= 2 * workers * 16:
        assert len(cohorts) >= 2 * workers


def test_a_sweep_commits_every_trial_and_its_progress_only_grows(bench: Bench) -> None:
    result = bench.sweep()
    assert (result.finished, result.failed, result.interrupted) == (20, 0, False)
    assert bench.plan().to_train == 0
    assert bench.heard.fractions == sorted(bench.heard.fractions)
    assert bench.heard.fractions[-1] == 1.0


def test_a_choice_is_stored_once_and_used_again_when_the_grid_grows(bench: Bench) -> None:
    bench.sweep()
    assert bench.choices() == [("vmap", 64)]
    asked = len(bench.heard.notes)
    bench.sweep("optimizer.lr=0.1..1.0:10lin", "seed=0..3", "study.name=mine")
    assert len(bench.heard.notes) == asked
    assert {executor for executor, _ in bench.cohorts()} == {"vmap"}


def test_what_another_sweep_chose_meanwhile_is_in_force(bench: Bench) -> None:
    """Two choices for one group would give trials bits that depend on who was first."""

    def says(work: Work) -> Iterator[Event]:
        if isinstance(work, Ask):
            bench.store.record_choice(work.group_id, "cpu x86_64 torch 2.0", Choice("loop", "shared", 3, "meanwhile"))
        return said_of(work)

    bench.workers.also = says
    bench.sweep("optimizer.lr=0.1..1.0:9lin", "seed=0", "launcher.workers=1")
    assert bench.choices() == [("loop", 3)]
    assert bench.cohorts() == [("loop", 3)] * 3


def test_a_finished_trial_that_ends_with_other_bits_stays_and_is_said(bench: Bench) -> None:
    bench.sweep("optimizer.lr=0.1,0.2", "study.name=mine")
    before = dict(bench.store._db.execute("SELECT id, weight_hash FROM trials"))

    def says(work: Work) -> Iterator[Event]:
        for said in said_of(work):
            if isinstance(said, Trained):
                said = replace(said, observations=tuple(replace(o, weight_hash="cd" * 32) for o in said.observations))
            yield said

    bench.workers.also = says
    result = bench.sweep("optimizer.lr=0.1,0.2", "study.name=mine", "study.metric=val/accuracy")
    assert (result.left, result.finished, result.failed) == (2, 0, 0)
    assert dict(bench.store._db.execute("SELECT id, weight_hash FROM trials")) == before
    assert any("2 of 2 trials were done before and end with other bits now" in note for note in bench.heard.notes)
    plan = bench.plan("optimizer.lr=0.1,0.2", "study.name=mine", "study.metric=val/accuracy")
    assert (plan.wanted, plan.to_train, plan.lacking) == (2, 0, 2)  # or every sweep would train them, for ever
    assert any("2 trials of the done ones without val/accuracy" in line for line in plan_details(plan))


def test_a_single_trial_decides_nothing_for_the_grids_to_come(bench: Bench) -> None:
    bench.sweep("optimizer.lr=0.5")
    assert bench.choices() == []


def test_a_width_asked_for_is_not_taken_for_the_groups_own(bench: Bench) -> None:
    bench.sweep("optimizer.lr=0.1,0.2", "engine.width=1")
    assert bench.choices() == [("vmap", 64)]
    assert bench.cohorts() == [("vmap", 1), ("vmap", 1)]


def test_an_executor_asked_for_by_name_leaves_auto_its_own_choice(bench: Bench) -> None:
    bench.sweep("optimizer.lr=0.1,0.2", "engine=vmap")
    bench.sweep("optimizer.lr=0.3,0.4", "engine=auto", "study.name=other")
    assert len(bench.choices()) == 2


def test_an_executor_asked_for_by_name_keeps_its_layout_after_a_kill_that_left_few_trials(bench: Bench) -> None:
    words = ("optimizer.lr=0.1..1.0:10lin", "seed=0,1", "study.name=mine", "engine=vmap", "launcher.workers=1")
    bench.interrupt_after = 9
    assert bench.sweep(*words, "engine.width=2").interrupted
    bench.interrupt_after = 10**9
    left = bench.plan(*words).groups[0].trials
    assert 0 < len(left) < 16
    bench.sweep(*words)
    assert bench.layouts() == {"shared"}


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_task_whose_worker_died_is_done_by_another(bench: Bench, deaths: int) -> None:
    bench.workers.deaths = deaths
    result = bench.sweep("optimizer.lr=0.1,0.2", "launcher.workers=2")
    assert (result.finished, result.failed) == (2, 0)
    assert sum("starting another" in note for note in bench.heard.notes) == deaths


def test_a_cohort_that_kills_every_worker_fails_with_the_reason_and_is_retried_later(bench: Bench) -> None:
    bench.workers.deaths = 4  # the probe twice, then the cohort twice
    result = bench.sweep("optimizer.lr=0.1,0.2", "launcher.workers=1")
    assert (result.finished, result.failed) == (0, 2)
    assert "died 2 times" in (result.first_error or "")
    assert bench.sweep("optimizer.lr=0.1,0.2").finished == 2


def test_a_cohort_whose_workers_the_system_kills_is_halved(bench: Bench) -> None:
    bench.workers.deaths, bench.workers.code = 4, -9
    assert bench.sweep("optimizer.lr=0.1,0.2", "launcher.workers=1").finished == 2
    assert [width for _, width in bench.cohorts()] == [2, 2, 1, 1]


def test_a_cohort_out_of_memory_is_halved_until_it_fits_and_no_other_meets_the_same_end(bench: Bench) -> None:
    bench.workers.fits = 5
    result = bench.sweep("optimizer.lr=0.1..1.0:20lin", "seed=0..2", "launcher.workers=1")
    assert (result.finished, result.failed) == (60, 0)
    assert [width for _, width in bench.cohorts() if width > 5] == [20, 10]
    assert bench.choices() == [("vmap", 5)]
    assert bench.heard.fractions == sorted(bench.heard.fractions)
    assert result.peak_bytes == 5000
    assert bench.store._db.execute("SELECT max(peak_bytes) FROM cohorts").fetchone() == (5000,)


def test_what_did_not_fit_is_remembered_by_the_next_sweep(bench: Bench) -> None:
    bench.workers.fits = 5
    bench.sweep("optimizer.lr=0.1..1.0:10lin", "launcher.workers=1")
    before = len(bench.cohorts())
    bench.sweep("optimizer.lr=0.1..1.0:10lin", "seed=1", "launcher.workers=1")
    assert [width for _, width in bench.cohorts()[before:]] == [5, 5]


def test_a_trial_that_does_not_fit_alone_fails_with_the_reason(bench: Bench) -> None:
    bench.workers.fits = 0
    result = bench.sweep("optimizer.lr=0.1..1.0:4lin", "launcher.workers=1")
    assert (result.finished, result.failed, result.untried) == (0, 2, 2)
    assert "not enough memory" in (result.first_error or "")


def test_a_group_whose_first_cohorts_fail_alike_is_left_alone(bench: Bench) -> None:
    bench.workers.broken = ("ImportError: their nets.py",) * 9
    result = bench.sweep("optimizer.lr=0.1..1.0:20lin", "engine.width=4", "launcher.workers=1")
    assert (result.failed, result.untried, result.finished) == (8, 12, 0)
    assert any("12 trials are not tried: ImportError: their nets.py" in note for note in bench.heard.notes)
    bench.workers.broken = ()
    assert bench.sweep("optimizer.lr=0.1..1.0:20lin").finished == 20


@pytest.mark.parametrize("broken", [("one", "another", "another", "another"), ("one",)])
def test_failures_that_differ_or_beside_what_trains_stop_nothing(bench: Bench, broken: tuple[str, ...]) -> None:
    bench.workers.broken = broken
    result = bench.sweep("optimizer.lr=0.1..1.0:20lin", "engine.width=4", "launcher.workers=1")
    assert (result.failed, result.untried) == (4 * len(broken), 0)


def kill_and_keep(bench: Bench, count: int, *words: str) -> list[tuple[str, ...]]:
    """Sweep until a kill that leaves cohorts open, and give the last `count` of them a checkpoint each."""
    bench.interrupt_after = 2  # both slots have their first cohort
    assert bench.sweep(*words).interrupted
    bench.interrupt_after = 10**9
    groups = bench.plan(*words).groups
    (group,) = groups
    records = bench.store.unfinished_cohorts(group.group_id)[:count]
    for record in records:
        work = Train(
            group.group_id,
            tuple(next(t for t in group.trials if t.id == trial_id) for trial_id in record.trial_ids),
            record.executor,
            record.layout,
            bench.declared.settings.evaluation.points,
        )
        facts = facts_of(work)
        Shelf(bench.folder, facts, {}).save({"x": np.zeros(1)}, {**facts, "step": 50})
    return [record.trial_ids for record in records]


WORDS = ("optimizer.lr=0.1..1.0:20lin", "study.name=mine", "launcher.workers=2")


def test_a_killed_cohort_with_a_checkpoint_goes_on_as_it_was_and_the_rest_is_cut_anew(bench: Bench) -> None:
    (kept,) = kill_and_keep(bench, 1, *WORDS, "engine.width=7")
    before = len(bench.cohorts())
    left = bench.plan(*WORDS).to_train
    assert bench.sweep(*WORDS, "engine.width=3").finished == left
    lanes = bench.lanes()[before:]
    assert lanes[0] == kept
    assert all(len(lane) <= 3 for lane in lanes[1:])
    assert not bench.folder.exists()


def test_a_cohort_of_which_a_trial_is_no_longer_wanted_starts_afresh(bench: Bench) -> None:
    (kept,) = kill_and_keep(bench, 1, *WORDS, "engine.width=7")
    before = len(bench.cohorts())
    bench.sweep("optimizer.lr=0.1..1.0:10lin", "study.name=mine", "launcher.workers=2")
    assert kept not in bench.lanes()[before:]
    assert len(list(bench.folder.iterdir())) == 1  # of trials that another sweep may want
    bench.sweep(*WORDS)
    assert not bench.folder.exists()


def test_no_trial_is_in_two_cohorts_that_go_on(bench: Bench) -> None:
    kill_and_keep(bench, 2, *WORDS, "engine.width=7")
    bench.interrupt_after = 1  # now the same cohorts are open twice
    assert bench.sweep(*WORDS).interrupted
    bench.interrupt_after = 10**9
    before = len(bench.cohorts())
    bench.sweep(*WORDS)
    trained = [trial for lane in bench.lanes()[before:] for trial in lane]
    assert len(trained) == len(set(trained))


def test_an_interruption_keeps_what_was_heard(bench: Bench) -> None:
    bench.interrupt_after = 4
    result = bench.sweep("optimizer.lr=0.1..1.0:10lin", "seed=0,1", "launcher.workers=1", "engine.width=2")
    assert result.interrupted
    assert 0 < result.finished < 20


def test_mps_has_no_float64(bench: Bench) -> None:
    made = bench.plan("optimizer.lr=0.1,0.2", "engine.device=mps", "precision=float64")
    backend = InProcess(bench.workers.do, hello=replace(CPU, device="mps"))
    with pytest.raises(SetupError, match="float64"):
        page.sweep(made, bench.store, bench.declared.settings, bench.heard, backend)


def test_it_ends_once_as_many_failed_as_were_allowed_and_failed_ones_may_be_left_alone(bench: Bench) -> None:
    words = ("optimizer.lr=0.1..1.0:20lin", "study.name=mine", "engine.width=4", "launcher.workers=1")
    bench.workers.broken = ("boom",)
    result = bench.sweep(*words, max_failures=1)
    assert (result.failed, result.finished, result.untried) == (4, 0, 16)
    assert bench.plan(*words).retry == 4
    left = page.plan(bench.declared.study, bench.store, retry_failed=False)
    assert (left.to_train, left.failed, left.retry) == (16, 4, 0)
    assert bench.store._db.execute("SELECT count(*) FROM claims").fetchone() == (0,)
    assert bench.sweep(*words).finished == 20


def test_a_fused_choice_that_turns_out_slower_is_stored_as_the_loop_and_nothing_of_it_is_kept(bench) -> None:
    def slow(work: Work) -> Iterator[Event]:
        if isinstance(work, Ask):
            yield Chosen(work.group_id, Choice("vmap", work.layout, 64, "pretended"), Bar(1e-3, 0.5))
        elif work.executor == "vmap":
            assert work.bar
            yield Progress(10, 0)
            yield Slower(0.5)
        else:
            yield from said_of(work)

    bench.workers.also = slow
    assert bench.sweep().finished == 20
    assert bench.choices() == [("loop", 8)]
    executors = [executor for executor, _ in bench.cohorts()]
    assert executors.count("vmap") == 1
    assert any("at once had only 0.5× its speed at first" in note for note in bench.heard.notes)
    bench.workers.also = said_of
    bench.sweep("optimizer.lr=0.1..1.0:11lin", "seed=0,1", "study.name=mine")
    assert {executor for executor, _ in bench.cohorts()[len(executors) :]} == {"loop"}


@pytest.mark.parametrize("robbed", [False, True])
def test_a_slower_first_cohort_gives_up_its_claims_and_what_another_may_go_on_from_stays(bench, robbed) -> None:
    shelves, kept, claims = [], [], []

    def slow(work: Work) -> Iterator[Event]:
        if isinstance(work, Ask):
            yield Chosen(work.group_id, Choice("vmap", work.layout, 64, "pretended"), Bar(1e-3, 0.5))
        elif work.executor == "vmap":
            facts = facts_of(work)
            shelves.append(Shelf(bench.folder, facts, {}))
            shelves[0].save({"x": np.zeros(1)}, {**facts, "step": 50})
            if robbed:
                bench.store._db.execute("DELETE FROM claims WHERE trial = (SELECT min(trial) FROM claims)")
            yield Slower(0.5)
        else:
            kept.append(bool(shelves[0].files()))
            yield from said_of(work)

    record = bench.store.record_choice

    def recorded(*words: str) -> Choice:
        claims.append(bench.store._db.execute("SELECT count(*) FROM claims").fetchone()[0])
        return record(*words)

    bench.store.record_choice = recorded
    bench.workers.also = slow
    assert bench.sweep(*WORDS).finished == 20
    assert claims == [0]
    assert kept[0] is robbed


def test_a_trial_alone_trains_as_another_sweep_settled_meanwhile(bench: Bench) -> None:
    def says(work: Work) -> Iterator[Event]:
        if isinstance(work, Ask):
            bench.store.record_choice(work.group_id, "cpu x86_64 torch 2.0", Choice("loop", "shared", 3, "meanwhile"))
        return said_of(work)

    bench.workers.also = says
    bench.sweep("optimizer.lr=0.1", "seed=0")
    assert bench.cohorts() == [("loop", 1)]

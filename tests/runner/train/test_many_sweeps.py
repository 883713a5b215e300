"""Several sweeps on one store at once: each trial trained once, whoever is killed, stopped or slow."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from backends import InProcess, Slot
from hypothesis import given
from hypothesis import strategies as st
from store_cases import in_child, wait

from thalweg.runner import page
from thalweg.runner.facts.choice import Bar, Choice
from thalweg.runner.facts.observation import Observations, Outcome
from thalweg.runner.store import Store
from thalweg.runner.study.trial import Trial
from thalweg.runner.train import vigil
from thalweg.runner.train.messages import Ask, Chosen, Event, Held, Progress, Ready, Slower, Trained, Work
from thalweg.runner.train.vigil import Watch

WORDS = ("optimizer.lr=0.1..1.0:48lin", "engine.width=4")
FAILS_ABOVE = 0.97
"""Learning rate above which the pretended training fails: the last two of 48."""
LIMIT_SECONDS = 120
LEASE_SECONDS = 1.5
"""Long enough for a busy machine to let each process run in between."""


@pytest.fixture(autouse=True)
def a_short_lease(monkeypatch) -> None:
    monkeypatch.setattr(vigil, "BEAT_SECONDS", LEASE_SECONDS / 15)
    monkeypatch.setattr(vigil, "LEASE", 15)


class Interleaved(InProcess):
    """Each round lets each slot say one thing: the driver goes on while they work, as it does beside processes."""

    saying: dict[Slot, Iterator[Event]]

    def hear(self) -> Iterator[tuple[Slot, Event]]:
        time.sleep(0.002)
        for slot in self.slots:
            if slot not in self.saying and slot.waiting:
                work = slot.waiting.popleft()
                self.saying[slot] = iter([Ready()]) if work is None else self.do(work)
            event = next(self.saying.get(slot, iter(())), None)
            if event is None:
                self.saying.pop(slot, None)
            else:
                yield slot, event


def observed(trial: Trial, hashed: str) -> Observations:
    if trial.config.optimizer.lr > FAILS_ABOVE:
        return Observations(trial_id=trial.id, outcome=Outcome.FAILED, error="boom")
    return Observations(trial_id=trial.id, outcome=Outcome.FINISHED, metrics={"val/loss": 0.5}, weight_hash=hashed * 64)


def said_of(work: Work, desk: Path, seconds: float, hashed: str, verdict: Held | Slower | None) -> Iterator[Event]:
    """Train for a while, and leave a line for each trial that was trained to its end.

    verdict: of a first cohort, which is to show its speed; None where none is.
    """
    if isinstance(work, Ask):
        yield Chosen(work.group_id, Choice("vmap", work.layout, 4, "pretended"), Bar(1e-3, 0.5) if verdict else None)
        return
    (desk / f"begun-{os.getpid()}").touch()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        yield Progress(0, 0)
    if work.bar and verdict:
        yield verdict
        if isinstance(verdict, Slower):
            return
    with (desk / "trained").open("a") as file:
        file.write("".join(f"{trial.id}\n" for trial in work.trials))
    yield Trained(tuple(observed(trial, hashed) for trial in work.trials), peak_bytes=1)


def sweep(
    desk: Path,
    name: str = "mine",
    seconds: float = 0.02,
    hashed: str = "a",
    days: int = 0,
    beside: int = 1,
    verdict: Held | Slower | None = None,
) -> None:
    """Sweep, and leave beside the store how it ended.

    days: how far the clock here is behind. beside: how many have to have planned before any begins. verdict: of the
    first cohort, which is to show its speed.
    """
    signal.alarm(LIMIT_SECONDS)
    with Store.open(desk / "s.sqlite", "write", clock=lambda: datetime.now(UTC) - timedelta(days=days)) as store:
        declared = page.declare(*WORDS, f"study.name={name}")
        backend = Interleaved(partial(said_of, desk=desk, seconds=seconds, hashed=hashed, verdict=verdict))
        backend.saying = {}
        made = page.plan(declared.study, store)
        (desk / f"planned-{os.getpid()}").touch()
        wait_for(lambda: len([*desk.glob("planned-*")]) >= beside)
        result = page.sweep(made, store, declared.settings, backend=backend)
    (desk / f"result-{os.getpid()}").write_text(json.dumps(asdict(result)))


def start(desk: Path, **how: Any) -> int:
    return in_child(partial(sweep, desk, **how))


def ended(desk: Path, pid: int) -> dict:
    assert wait(pid) == 0
    return json.loads((desk / f"result-{pid}").read_text())


def begun(desk: Path, pid: int) -> None:
    wait_for((desk / f"begun-{pid}").exists)


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.005)


def query(desk: Path, sql: str) -> list[tuple]:
    db = sqlite3.connect(desk / "s.sqlite")
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def assert_once(desk: Path) -> None:
    """Every trial was trained once and committed once, the file is sound, and nothing is left of who trained."""
    trained = Counter((desk / "trained").read_text().split())
    assert (len(trained), set(trained.values())) == (48, {1})
    assert_whole(desk)


def assert_whole(desk: Path) -> None:
    assert query(desk, "PRAGMA integrity_check") == [("ok",)]
    assert query(desk, "SELECT outcome, count(*) FROM trials GROUP BY 1 ORDER BY 1") == [
        ("failed", 2),
        ("finished", 46),
    ]
    commits = "SELECT count(*) FROM cohort_trials WHERE outcome IN ('finished', 'failed', 'left') GROUP BY trial"
    assert query(desk, commits) == [(1,)] * 48
    assert query(desk, "SELECT (SELECT count(*) FROM claims), (SELECT count(*) FROM drivers)") == [(0, 0)]


@pytest.mark.long
@pytest.mark.parametrize(("sweeps", "studies"), [(2, 1), (2, 2), (8, 1), (8, 3)])
def test_sweeps_that_start_at_once_train_each_trial_once(tmp_path: Path, sweeps: int, studies: int) -> None:
    """Each by a clock of its own, days apart. A trial that fails for one is not tried by all others."""
    pids = [start(tmp_path, name=f"study-{number % studies}", days=number, beside=sweeps) for number in range(sweeps)]
    results = [ended(tmp_path, pid) for pid in pids]
    assert_once(tmp_path)
    assert sum(each["finished"] for each in results) == 46
    assert {each["finished"] + each["elsewhere"] for each in results} == {46}
    assert {each["failed"] for each in results} == {2}
    with Store.open(tmp_path / "s.sqlite") as store:
        assert len(store.studies()) == studies


@pytest.mark.parametrize("verdicts", [[Held()] * 3, [Slower(0.5)] * 3, [Held(), Slower(0.5)] * 2])
def test_sweeps_whose_first_cohorts_show_their_speed_at_once_all_train_as_one_of_them_settles(
    tmp_path: Path, verdicts: list[Held | Slower]
) -> None:
    pids = [start(tmp_path, verdict=each, beside=len(verdicts)) for each in verdicts]
    results = [ended(tmp_path, pid) for pid in pids]
    assert_whole(tmp_path)
    assert sum(each["finished"] for each in results) == 46
    assert {each["finished"] + each["elsewhere"] for each in results} == {46}
    committed = "SELECT DISTINCT executor FROM cohorts WHERE id IN (SELECT cohort FROM trials)"
    assert query(tmp_path, committed) == query(tmp_path, "SELECT executor FROM choices")


def test_one_killed_is_taken_over_after_its_lease_by_one_that_goes_on(tmp_path: Path) -> None:
    killed = start(tmp_path, seconds=60)
    begun(tmp_path, killed)
    other = start(tmp_path)
    begun(tmp_path, other)
    os.kill(killed, signal.SIGKILL)
    wait(killed)
    assert ended(tmp_path, other)["finished"] == 46
    assert query(tmp_path, "SELECT count(*) FROM drivers") == [(0,)]
    assert_once(tmp_path)


def test_one_killed_alone_is_gone_on_with_at_once(tmp_path: Path, monkeypatch) -> None:
    killed = start(tmp_path, seconds=60)
    begun(tmp_path, killed)
    os.kill(killed, signal.SIGKILL)
    wait(killed)
    monkeypatch.setattr(vigil, "LEASE", 10**9)
    assert ended(tmp_path, start(tmp_path))["finished"] == 46
    assert_once(tmp_path)


@pytest.mark.long
def test_a_slow_one_that_lives_is_not_robbed(tmp_path: Path) -> None:
    slow = start(tmp_path, seconds=3 * LEASE_SECONDS)
    begun(tmp_path, slow)
    other = start(tmp_path)
    assert ended(tmp_path, slow)["finished"] == 4
    assert ended(tmp_path, other)["elsewhere"] == 4
    assert_once(tmp_path)


@pytest.mark.long
def test_one_that_was_stopped_for_long_overwrites_nothing_when_it_wakes(tmp_path: Path) -> None:
    stopped = start(tmp_path, seconds=0.5, hashed="b")
    begun(tmp_path, stopped)
    os.kill(stopped, signal.SIGSTOP)
    other = start(tmp_path, hashed="c")
    assert ended(tmp_path, other)["finished"] == 46
    assert_whole(tmp_path)
    time.sleep(3 * LEASE_SECONDS)
    os.kill(stopped, signal.SIGCONT)
    assert ended(tmp_path, stopped)["elsewhere"] == 46
    assert query(tmp_path, "SELECT DISTINCT weight_hash FROM trials WHERE outcome = 'finished'") == [("c" * 64,)]
    assert query(tmp_path, "SELECT count(*) FROM cohort_trials WHERE outcome = 'lost'") == [(4,)]
    assert_whole(tmp_path)


@pytest.mark.long
def test_one_that_wakes_while_its_trials_are_trained_by_another_leaves_them_to_it(tmp_path: Path) -> None:
    stopped = start(tmp_path, seconds=0.5, hashed="b")
    begun(tmp_path, stopped)
    os.kill(stopped, signal.SIGSTOP)
    other = start(tmp_path, hashed="c", seconds=0.3)
    begun(tmp_path, other)
    wait_for(lambda: query(tmp_path, "SELECT count(*) FROM drivers") == [(1,)])
    os.kill(stopped, signal.SIGCONT)
    ended(tmp_path, stopped)
    ended(tmp_path, other)
    assert_whole(tmp_path)


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 9))
def test_a_driver_loses_its_lease_after_that_many_looks_that_saw_no_beat(beats: list[bool], lease: int) -> None:
    watch, number, still = Watch(lease), 0, -1
    for beat in beats:
        number += beat
        still = 0 if beat and still >= 0 else still + 1
        assert watch.look({7: number}) == ({7: number} if still >= lease else {})


def test_a_driver_that_is_seen_again_starts_anew() -> None:
    watch = Watch(2)
    assert watch.look({1: 5}) == watch.look({1: 5}) == {}
    assert watch.look({1: 5}) == {1: 5}
    assert watch.look({}) == watch.look({1: 5}) == watch.look({1: 5}) == {}

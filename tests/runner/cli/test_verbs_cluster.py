"""What collect says and takes in, told by a queue that is made up; a real one is asked in tests/acceptance."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from store_cases import train

from thalweg.runner import page
from thalweg.runner.cli import main
from thalweg.runner.planning.shard import Shard
from thalweg.runner.store import Store
from thalweg.runner.train import slurm

WORDS = ("optimizer=sgd", "optimizer.lr=0.1..1.0:10lin", "seed=0,1", "study.name=s", "tracker=none")
HERE = Path("results/thalweg.sqlite")
JOBS = ("1", "2_0", "2_1", "2_2")

Collect = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def collect(tmp_path, capsys, monkeypatch) -> Collect:
    """Submit 20 trials in three shares, none of which has begun; then: collect while the queue says this, in turn."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(slurm, "require", lambda: None)
    monkeypatch.setattr("thalweg.runner.cli.verbs_cluster.LOOK_SECONDS", 0.01)
    study = page.declare(*WORDS).study
    with Store.open(HERE, "write") as store:
        page.record(page.plan(study, store), store)
    slurm.remember(slurm.Submission("s", WORDS, None, None, JOBS, "results/slurm/s"), HERE)

    def call(*queues: dict[str, str], words: tuple[str, ...] = ()) -> tuple[int, list[str]]:
        told = iter(queues)
        monkeypatch.setattr(slurm, "queue", lambda: next(told))
        monkeypatch.setattr(sys, "argv", ["thalweg", "collect", "s", *words])
        capsys.readouterr()
        code = main()
        said = capsys.readouterr().err
        assert "Traceback" not in said
        return code, said.splitlines()

    return call


def ended(number: int) -> int:
    """Train a share whole in its own store; return how many trials it has."""
    shard = Shard(number, 3)
    with Store.open(shard.store(HERE), "write") as own:
        made = page.share(page.declare(*WORDS).study, shard, own)
        page.record(made, own)
        train(own, made.members, "s")
        return made.to_train


def test_it_says_what_waits_what_trains_and_whose_job_ended_early(collect: Collect) -> None:
    first = ended(1)
    code, said = collect({"2_1": "RUNNING"})
    assert code == 3
    missing = sum(Shard(3, 3).holds(trial_id) for trial_id in page.plan(page.declare(*WORDS).study, None).ids_to_train)
    assert said == [
        f"share 1 of 3: {first} trials taken in",
        f"s: 1 running; {first} of 20 trials are here",
        f"{first} of 20 trials are done, {20 - first} missing",
        f"share 3: {missing} missing; its job has ended: results/slurm/s/2_2_0_log.err",
    ]
    code, said = collect({})
    assert said[-1] == f"next: thalweg sweep {' '.join(WORDS)} --submit"


def test_waiting_takes_in_each_share_once_and_says_how_far_it_is(collect: Collect) -> None:
    each = [ended(number) for number in (1, 2, 3)]
    both, one = {"2_1": "RUNNING", "2_2": "PENDING"}, {"2_2": "RUNNING"}
    code, said = collect(both, both, one, {}, words=("--wait",))
    assert code == 0
    assert said[:5] == [
        f"share 1 of 3: {each[0]} trials taken in",
        f"s: 1 pending, 1 running; {each[0]} of 20 trials are here",
        f"share 2 of 3: {each[1]} trials taken in",
        f"s: 1 running; {each[0] + each[1]} of 20 trials are here",
        f"share 3 of 3: {each[2]} trials taken in",
    ]


def test_a_damaged_share_is_left_out_and_costs_the_others_nothing(collect: Collect) -> None:
    each = [ended(number) for number in (1, 2, 3)]
    with sqlite3.connect(Shard(2, 3).store(HERE)) as db:
        db.execute("UPDATE series SET points = x'00' WHERE trial = 1")
    db.close()
    code, said = collect({"2_0": "RUNNING"}, {}, words=("--wait",))
    assert code == 3
    damaged = [line for line in said if "is not merged" in line]
    assert len(damaged) == 1
    assert damaged[0].startswith("share 2 is not merged: ")
    assert damaged[0].endswith("if it stays so, move that file away")
    assert f"{each[0] + each[2]} of 20 trials are done, {each[1]} missing" in said


def test_of_many_shares_that_lack_trials_ten_are_named(collect: Collect, monkeypatch) -> None:
    jobs = ("1", *(f"2_{number}" for number in range(40)))
    slurm.remember(slurm.Submission("s", WORDS, None, None, jobs, "results/slurm/s"), HERE)
    _, said = collect({})
    assert sum("its job has ended" in line for line in said) == 10
    assert any(
        line.startswith("and ") and line.endswith(" more shares like that; logs: results/slurm/s") for line in said
    )

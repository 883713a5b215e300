"""The promises of the main job: only the missing trains, nothing twice, the same bits however it is run."""

from __future__ import annotations

import os
import pty
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from desk import SMALL, THALWEG, Desk, environment

LONG = ("optimizer.lr=0.01,0.02,0.04", "budget.steps=1500", "tracker=none", "study.name=long", "engine=vmap")
"""One cohort that takes a second or two."""


@pytest.fixture(scope="module")
def undisturbed(desks) -> dict[str, str]:
    """The weight hashes that LONG ends with when nothing happens to it."""
    desk = desks("undisturbed")
    desk.thalweg("sweep", *LONG, "launcher.checkpoint_seconds=null")
    assert len(desk.hashes()) == 3
    return desk.hashes()


def copy_of(swept: Desk, desk: Desk) -> Desk:
    shutil.copytree(swept.folder / "results", desk.folder / "results")
    return desk


@pytest.mark.long
def test_every_declared_trial_is_trained_once(swept: Desk) -> None:
    plan = swept.json("plan", *SMALL)
    assert (plan["wanted"], plan["to_train"]) == (plan["done"], 0)
    assert swept.query("SELECT count(*), count(DISTINCT id) FROM trials") == [(plan["wanted"], plan["wanted"])]
    assert swept.query("SELECT count(*) FROM cohort_trials") == [(plan["wanted"],)]


@pytest.mark.long
def test_a_second_sweep_trains_nothing_and_says_so(swept: Desk) -> None:
    cohorts = swept.query("SELECT count(*) FROM cohorts")
    again = swept.thalweg("sweep", *SMALL)
    assert "nothing to train" in again.stdout + again.stderr
    assert swept.query("SELECT count(*) FROM cohorts") == cohorts


@pytest.mark.long
def test_one_more_value_on_an_axis_trains_only_the_new_cells(swept: Desk, desk: Desk) -> None:
    copy_of(swept, desk)
    before = desk.hashes()
    plan = desk.json("plan", *SMALL, "seed=0..2")
    assert plan["to_train"] == plan["wanted"] // 3
    desk.thalweg("sweep", *SMALL, "seed=0..2")
    after = desk.hashes()
    assert len(after) == plan["wanted"]
    assert before.items() <= after.items()


@pytest.mark.long
def test_stderr_says_only_what_is_ours(desk: Desk) -> None:
    """A probe that is worth timing uses torch's profiler, which has a log of its own."""
    done = desk.thalweg("sweep", "optimizer.lr=0.001..0.1:48log", "budget.steps=800", "study.name=mine", "tracker=none")
    assert "profiler" not in done.stderr
    assert "ERROR" not in done.stderr


HOW = [("engine.width=5",), ("launcher.workers=2", "engine.width=17")]


@pytest.mark.long
@pytest.mark.parametrize("how", HOW)
def test_weights_do_not_depend_on_workers_or_width(swept: Desk, desk: Desk, how: tuple[str, ...]) -> None:
    """Of groups whose choice was the same one: timed on a busy machine, two may differ."""
    made = dict(swept.query("SELECT t.id, c.executor FROM trials t JOIN cohorts c ON c.id = t.cohort"))
    executor, _ = Counter(made.values()).most_common(1)[0]
    desk.thalweg("sweep", *SMALL, f"engine={executor}", *how)
    found = desk.hashes()
    assert found.keys() == swept.hashes().keys()
    assert all(found[trial] == digest for trial, digest in swept.hashes().items() if made[trial] == executor)


def kill_somewhere(desk: Desk, seed: int) -> int:
    """Start a sweep, SIGKILL its whole process group at a random moment; returns the number of trials done."""
    sweep = desk.start("sweep", *SMALL)
    try:
        sweep.wait(random.Random(seed).uniform(1.5, 5.5))
    except Exception:  # still running: that is the point
        os.killpg(sweep.pid, signal.SIGKILL)
    sweep.wait()
    if not desk.is_training():
        return 0
    assert desk.query("PRAGMA integrity_check") == [("ok",)]
    return len(desk.hashes())


@pytest.mark.long
@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_sweep_killed_again_and_again_ends_as_an_undisturbed_one(swept: Desk, desk: Desk, kills: int) -> None:
    first = random.SystemRandom().randrange(10**6)
    print(f"kills from seed {first}")  # noqa: T201 (shown when the test fails)
    done = 0
    for number in range(kills):
        now = kill_somewhere(desk, first + number)
        assert now >= done
        done = now
    desk.thalweg("sweep", *SMALL)
    assert desk.hashes() == swept.hashes()
    assert desk.query("SELECT count(*) FROM trials WHERE outcome IS NULL OR outcome = 'failed'") == [(0,)]


@pytest.mark.slow
def test_two_sweeps_at_once_train_each_trial_once_to_the_bits_of_one_alone(swept: Desk, desk: Desk) -> None:
    both = [desk.start("sweep", *SMALL, "launcher.workers=1") for _ in range(2)]
    said = [sweep.communicate(timeout=240) for sweep in both]
    assert [sweep.returncode for sweep in both] == [0, 0], said
    assert not any("locked" in out + err or "Traceback" in err for out, err in said)
    assert desk.hashes() == swept.hashes()
    assert desk.query("SELECT count(*) FROM cohort_trials") == [(len(swept.hashes()),)]
    assert [out for out, _ in said] == [said[0][0]] * 2  # both have the whole answer


@pytest.mark.long
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_sweep_keeps_what_it_has_and_says_how_to_go_on(desk: Desk, number: int, code: int) -> None:
    sweep = desk.start("sweep", "smoke", "tracker=none", "budget.steps=3000")
    wait_for(desk.is_training)
    os.kill(sweep.pid, number)
    out, err = sweep.communicate(timeout=30)
    assert sweep.returncode == code, err
    assert "Traceback" not in err
    assert "thalweg sweep smoke" in out + err


@pytest.mark.long
def test_a_sweep_whose_terminal_is_closed_keeps_what_it_has(desk: Desk, undisturbed) -> None:
    words = (*LONG, "launcher.checkpoint_seconds=0.05")
    ours, its = pty.openpty()
    sweep = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *THALWEG, "sweep", *words],
        cwd=desk.folder,
        env=environment(),
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # ignored behind nohup
    )
    os.close(its)
    os.set_blocking(ours, False)
    wait_for(lambda: drained(ours) and list(desk.checkpoints.glob("*.safetensors")))
    os.close(ours)
    assert sweep.wait(30) == 129
    assert desk.query("SELECT count(*) FROM claims") == [(0,)]  # given back, which a dead driver does not do
    assert "go on from a checkpoint" in desk.thalweg("sweep", *words).stderr
    assert desk.hashes() == undisturbed


def drained(terminal: int) -> bool:
    """Reads what a terminal shows, so that who writes there does not wait."""
    with suppress(BlockingIOError):
        os.read(terminal, 65536)
    return True


@pytest.mark.long
def test_a_sweep_that_waits_for_another_can_be_interrupted(desk: Desk) -> None:
    words = (*LONG, "budget.steps=200000", "launcher.checkpoint_seconds=null")
    first = desk.start("sweep", *words)
    try:
        wait_for(lambda: desk.is_training() and desk.query("SELECT count(*) FROM claims") == [(3,)])
        second = desk.start("sweep", *words)
        wait_for(lambda: desk.query("SELECT count(*) FROM drivers") == [(2,)])
        time.sleep(3)
        os.kill(second.pid, signal.SIGINT)
        _, err = second.communicate(timeout=30)
        assert second.returncode == 130, err
        assert "waiting for 3 trials that another sweep trains" in " ".join(err.split())
        assert desk.query("SELECT count(*) FROM claims") == [(3,)]
        assert desk.query("SELECT count(*) FROM drivers") == [(1,)]
        assert first.poll() is None
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()


@pytest.mark.long
def test_a_second_ctrl_c_leaves_without_waiting_for_workers_that_hang(desk: Desk, undisturbed) -> None:
    words = (*LONG, "launcher.checkpoint_seconds=0.05")
    sweep = desk.start("sweep", *words, "launcher.workers=2")
    try:
        wait_for(lambda: list(desk.checkpoints.glob("*.safetensors")))
        hanging = workers_of(sweep.pid)
        for worker in hanging:
            os.kill(worker, signal.SIGSTOP)
        wait_for(lambda: all(status(worker, "State").startswith("T") for worker in hanging))
        os.kill(sweep.pid, signal.SIGINT)
        wait_for(lambda: all(is_told_to_end(worker) for worker in hanging))  # now each is given a second
        os.kill(sweep.pid, signal.SIGINT)
        assert sweep.wait(30) == 130
        assert workers_of(sweep.pid) == hanging  # neither waited for nor killed
        for worker in hanging:
            os.kill(worker, signal.SIGCONT)
        wait_for(lambda: not group_members(sweep.pid), seconds=5)
    finally:
        for left in group_members(sweep.pid):
            os.kill(left, signal.SIGKILL)
    _, err = sweep.communicate()
    assert (len(hanging), "Traceback" in err) == (2, False), err
    assert desk.query("PRAGMA integrity_check") == [("ok",)]
    assert desk.json("plan", *words)["to_train"] == 3
    assert "go on from a checkpoint" in desk.thalweg("sweep", *words).stderr
    assert desk.hashes() == undisturbed


@pytest.mark.long
def test_workers_do_not_outlive_a_killed_driver(desk: Desk) -> None:
    sweep = desk.start("sweep", "smoke", "tracker=none", "budget.steps=3000", "launcher.workers=2")
    wait_for(desk.is_training)
    members = group_members(sweep.pid)
    assert len(members) >= 3
    os.kill(sweep.pid, signal.SIGKILL)
    sweep.wait()
    wait_for(lambda: not group_members(sweep.pid), seconds=5)


@pytest.mark.long
def test_a_long_cohort_goes_on_from_its_checkpoint_to_the_bits_of_an_undisturbed_one(desk: Desk, undisturbed) -> None:
    folder = desk.checkpoints
    words = (*LONG, "launcher.checkpoint_seconds=0.05")
    sweep = desk.start("sweep", *words)
    wait_for(lambda: len(list(folder.glob("*.safetensors"))) >= 2)
    os.killpg(sweep.pid, signal.SIGKILL)
    sweep.communicate()
    assert desk.hashes() == {}
    newest = max(folder.glob("*.safetensors"), key=lambda path: int(path.name.split("-")[1]))
    newest.write_bytes(newest.read_bytes()[:-1])
    said = " ".join(desk.thalweg("sweep", *words).stderr.split())
    assert "do not have the hash in its name" in said
    assert "3 trials go on from a checkpoint at step" in said
    assert desk.hashes() == undisturbed
    assert not folder.exists()


@pytest.mark.long
def test_a_dead_worker_costs_no_trial(desk: Desk) -> None:
    sweep = desk.start("sweep", *SMALL, "launcher.workers=2", "budget.steps=400")
    wait_for(desk.is_training)
    os.kill(workers_of(sweep.pid)[0], signal.SIGKILL)
    _, err = sweep.communicate(timeout=240)
    assert sweep.returncode == 0, err
    assert "a worker process died" in err
    assert desk.query("SELECT count(*) FROM trials WHERE outcome IS NULL OR outcome = 'failed'") == [(0,)]


@pytest.mark.slow
def test_a_cohort_whose_workers_are_killed_one_after_another_is_halved(desk: Desk, undisturbed) -> None:
    """As the system kills what takes too much memory."""
    sweep = desk.start("sweep", *LONG, "launcher.workers=1", "launcher.checkpoint_seconds=null")
    for number in (1, 2):
        wait_for(lambda number=number: desk.is_training() and desk.query("SELECT max(id) FROM cohorts") == [(number,)])
        (worker,) = workers_of(sweep.pid)
        os.kill(worker, signal.SIGKILL)
    _, err = sweep.communicate(timeout=240)
    assert sweep.returncode == 0, err
    assert "3 trials do not fit the memory; going on with 2 at once" in " ".join(err.split())
    assert "killed, perhaps since memory ran out" in " ".join(err.split())
    assert desk.query("SELECT width FROM cohorts ORDER BY id") == [(3,), (3,), (2,), (1,)]
    assert desk.hashes() == undisturbed


def wait_for(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def group_members(group: int) -> list[int]:
    """Living processes of a process group, from /proc."""
    members = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, _, pgrp = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(pgrp) == group and state != "Z":
            members.append(int(pid))
    return members


def workers_of(driver: int) -> list[int]:
    return [pid for pid in group_members(driver) if pid != driver and "spawn_main" in command_of(pid)]


def is_told_to_end(stopped: int) -> bool:
    """Whether a SIGTERM waits for a stopped process to go on."""
    return bool(int(status(stopped, "ShdPnd"), 16) >> signal.SIGTERM - 1 & 1)


def status(pid: int, name: str) -> str:
    """What /proc says of a living process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:"))


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""

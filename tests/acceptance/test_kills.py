"""Killed at random moments, alone or beside another: every trial finishes once, with the bits of a quiet sweep."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time

import pytest
from desk import ROOT, SMALL, Desk

KILLS = [pytest.param(20, marks=pytest.mark.slow), pytest.param(100, marks=pytest.mark.slow)]


@pytest.mark.parametrize("sweeps", [1, 2])
@pytest.mark.parametrize("kills", KILLS)
def test_killed_at_random_moments_every_trial_finishes_once(desks, desk: Desk, kills: int, sweeps: int) -> None:
    words = (*SMALL, f"seed=0..{kills // 10}", "launcher.workers=1", "launcher.checkpoint_seconds=0.5")
    undisturbed = desks(f"undisturbed-{kills}-{sweeps}")
    began = time.monotonic()
    undisturbed.thalweg("sweep", *words, timeout=3000)
    longest = time.monotonic() - began
    first = random.SystemRandom().randrange(10**6)
    print(f"kills from seed {first}")  # noqa: T201 (shown when the test fails)
    dice, done, killed, rounds = random.Random(first), 0, 0, 0
    while killed < kills:
        rounds += 1
        assert rounds < 3 * kills, "most sweeps ended before they could be killed"
        if done == len(undisturbed.hashes()):  # begin anew, so that every kill meets a sweep that trains
            assert desk.hashes() == undisturbed.hashes()
            assert_once(desk)
            desk.thalweg("rm", *desk_studies(desk), "--yes")
            done = 0
        running = [desk.start("sweep", *words) for _ in range(sweeps)]
        for each in running:
            killed += kill(each, dice.uniform(0.2, 0.7) * longest / sweeps)
        now = len(desk.hashes()) if desk.is_training() else 0
        assert now >= done, f"{done} done before, {now} after"
        assert not desk.store.exists() or desk.query("PRAGMA integrity_check") == [("ok",)]
        done = now
    desk.thalweg("sweep", *words, timeout=3000)
    assert desk.hashes() == undisturbed.hashes()
    assert_once(desk)


@pytest.mark.slow
def test_of_eight_sweeps_on_one_store_two_are_killed_and_every_trial_is_trained_once(desks, desk: Desk) -> None:
    """Half of them declare a part of what the others do, as a study of another name."""
    whole = (*SMALL, "seed=0..5", "launcher.workers=1")
    own = desk.folder / "conf" / "study"
    own.mkdir(parents=True)
    own.joinpath("part.yaml").write_text((ROOT / "conf/study/smoke.yaml").read_text())
    part = ("part", "--config-dir", "conf", *SMALL[1:], "seed=3..5", "launcher.workers=1")
    undisturbed = desks("undisturbed-eight")
    undisturbed.thalweg("sweep", *whole, timeout=1000)
    sweeps = [desk.start("sweep", *words) for words in (whole, part) * 4]
    deadline = time.monotonic() + 300
    while not (desk.is_training() and desk.hashes()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for each in sweeps[:2]:
        assert kill(each, 0)
    for each in sweeps[2:]:
        _, told = each.communicate(timeout=600)
        assert each.returncode == 0, told
    assert desk.hashes() == undisturbed.hashes()
    assert_once(desk)
    assert desk.query("PRAGMA integrity_check") == [("ok",)]


def kill(sweep: subprocess.Popen[str], after: float) -> bool:
    """SIGKILL a sweep's process group after some seconds; False if it had ended by then."""
    try:
        sweep.wait(after)
    except subprocess.TimeoutExpired:
        os.killpg(sweep.pid, signal.SIGKILL)
    sweep.communicate()
    return sweep.returncode == -signal.SIGKILL


def desk_studies(desk: Desk) -> list[str]:
    return [each["name"] for each in desk.json("ls")["studies"]]


def assert_once(desk: Desk) -> None:
    """Nothing is missing, failed or left, and no trial was committed twice."""
    assert desk.query("SELECT count(*) FROM trials WHERE outcome IS NULL OR outcome = 'failed'") == [(0,)]
    commits = "SELECT count(*) FROM cohort_trials WHERE outcome IS NOT NULL GROUP BY trial"
    assert set(desk.query(commits)) == {(1,)}

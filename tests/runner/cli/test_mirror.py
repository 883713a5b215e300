"""The processes that write W&B runs: they end with whoever started them, hold nobody up, and say one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from thalweg.runner.cli import mirror
from thalweg.runner.tracker.processes import started_by

SETTINGS = {"name": "wandb", "project": "p", "entity": None, "history_points": None, "tags": []}
JOB = mirror.Job("/nowhere/a.sqlite", "s", SETTINGS, [])
STAND_IN = """
import os, signal, subprocess, sys, time
sys.path[:] = {path!r}
from thalweg.runner.cli import mirror
def exported(job, report=None, training=False):
    %s
mirror._exported = exported
mirror.FIRST_SECONDS = 0
mirror._state_of = lambda store: (1,)
mirror.main()
"""
SLEEPS = "subprocess.Popen(['sleep', '60'], start_new_session=True); time.sleep(60)"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


def stand_in(monkeypatch, what: str) -> None:
    monkeypatch.setattr(mirror, "PROGRAM", STAND_IN % what)


def alive(pids: list[int]) -> list[int]:
    found = []
    for pid in pids:
        with suppress(OSError):
            found += [pid] if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z" else []
    return found


def until(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.long
def test_the_writer_beside_training_ends_with_it_and_all_it_started(monkeypatch):
    stand_in(monkeypatch, SLEEPS)
    before = set(started_by(os.getpid()))
    with mirror.beside(JOB):
        until(lambda: len(set(started_by(os.getpid())) - before) == 2)
        pids = list(set(started_by(os.getpid())) - before)
    until(lambda: alive(pids) == [], 5)  # killed at once; the system takes a moment to end it


@pytest.mark.long
def test_the_writer_beside_training_ends_when_the_driver_is_killed(tmp_path):
    script = (
        f"import sys, time; sys.path[:] = {sys.path!r}; from thalweg.runner.cli import mirror\n"
        f"mirror.PROGRAM = {STAND_IN % SLEEPS!r}\n"
        f"with mirror.beside(mirror.{JOB!r}): time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-P", "-c", script])
    until(lambda: len(started_by(parent.pid)) == 2)
    pids = started_by(parent.pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until(lambda: alive(pids) == [], 5)


def test_a_writer_that_is_killed_is_one_line(monkeypatch):
    stand_in(monkeypatch, "report('written', 3, 9); os.kill(os.getpid(), signal.SIGKILL)")
    assert mirror.after(JOB, lambda *said: None) == [
        "W&B 3/9 written; the process that writes them ended with code -9; the results are in the store;"
        " go on: thalweg sync"
    ]


def test_a_writer_that_takes_too_long_is_ended(monkeypatch):
    stand_in(monkeypatch, "report('written', 9, 9); " + SLEEPS)
    monkeypatch.setattr(mirror, "WAITED_SECONDS", 0.5)
    said = []
    before, begun = set(started_by(os.getpid())), time.monotonic()
    (line,) = mirror.after(JOB, lambda *each: said.append(each))
    assert "9/9 written; it takes too long" in line
    assert time.monotonic() - begun < 20
    assert said[-1] == ("written", 9, 9)
    assert set(started_by(os.getpid())) <= before


def test_ctrl_c_leaves_the_rest_to_sync(monkeypatch):
    stand_in(monkeypatch, "report('written', 1, 9); time.sleep(60)")

    def interrupted(what: str, done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    (line,) = mirror.after(JOB, interrupted)
    assert line.startswith("W&B; stopped;")
    assert line.endswith("go on: thalweg sync")


def test_what_wandb_prints_does_not_disturb_what_is_told(monkeypatch):
    stand_in(monkeypatch, "print('hello'); os.write(1, b'wandb: hi'); raise mirror.ThalwegError('the store is gone')")
    assert mirror.after(JOB, lambda *said: None) == ["no runs are written: the store is gone; go on: thalweg sync"]


@pytest.mark.long
def test_the_writer_beside_training_yields_to_it(monkeypatch):
    stand_in(monkeypatch, SLEEPS)
    before = set(started_by(os.getpid()))
    with mirror.beside(JOB):
        until(lambda: len(set(started_by(os.getpid())) - before) == 2)
        for pid in set(started_by(os.getpid())) - before:
            assert os.sched_getscheduler(pid) == os.SCHED_IDLE
            assert os.getpriority(os.PRIO_PROCESS, pid) == 19

"""What a sweep that goes wrong can be asked: its log, and where each of its processes is."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from thalweg.runner.base import log
from thalweg.runner.base.errors import UsageError
from thalweg.runner.base.signals import Signals

WORDS = ("optimizer=sgd", "optimizer.lr=0.1,0.2", "budget.steps=2000", "launcher.workers=2", "engine=loop",
         "engine.width=1", "tracker=none", "study.name=mine")  # fmt: skip


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_nothing_is_logged_unless_asked_for_and_then_only_while_it_is(tmp_path) -> None:
    path = tmp_path / "log"
    log.write("before")
    with log.to_file(path):
        log.write("während", number=1, path=tmp_path, none=None)
    log.write("after")
    (line,) = lines(path)
    assert (line["what"], line["number"], line["path"], line["none"]) == ("während", 1, str(tmp_path), None)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"])


def test_a_log_that_cannot_be_written_is_said_before_anything_starts(tmp_path) -> None:
    with pytest.raises(UsageError, match="cannot write the log"), log.to_file(tmp_path / "no" / "log"):
        pass


@pytest.mark.long
def test_a_sweep_shows_where_its_processes_are_and_goes_on(tmp_path) -> None:
    """On one signal to the driver: its own stacks, and those of each worker under its number."""
    command = [sys.executable, "-P", "-m", "thalweg", "sweep", *WORDS, "--log", "x.jsonl"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sweep:
        try:
            wait_for(tmp_path / "x.jsonl", lambda said: sum(each.get("kind") == "Progress" for each in said) > 1)
            sweep.send_signal(signal.SIGUSR1)
            _, err = sweep.communicate(timeout=120)
        finally:
            sweep.kill()
    assert sweep.returncode == 0
    said = lines(tmp_path / "x.jsonl")
    workers = {each["worker"] for each in said if each["what"] == "worker started"}
    assert len(workers) == 2
    assert {int(number) for number in re.findall(rf"Process (\d+), of {sweep.pid}:", err)} == workers
    assert re.search(r'runner/train/driver\.py", line \d+ in run', err)
    assert err.count('runner/train/worker.py", line') >= 2
    kinds = [each.get("kind") for each in said]
    assert kinds.count("Commit") == 2
    assert [each["what"] for each in (said[0], said[-1])] == ["command", "done"]


def wait_for(path: Path, enough) -> None:
    end = time.monotonic() + 60
    while not path.exists() or not enough(lines(path)):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_signal_of_another_kind_does_not_leave_the_wait_awake() -> None:
    """Its byte has to be taken from the waker, or every later wait ends at once, and the driver never rests."""
    before = signal.signal(signal.SIGUSR2, lambda number, frame: None)
    try:
        with Signals() as held:
            os.kill(os.getpid(), signal.SIGUSR2)
            held.release()
            held.waker.setblocking(False)
            with pytest.raises(BlockingIOError):
                held.waker.recv(1)
    finally:
        signal.signal(signal.SIGUSR2, before)

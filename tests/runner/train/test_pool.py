"""Workers that die in the middle of a word, and signals that come in the middle of anything."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection

import pytest

from thalweg.runner.base.signals import Signals
from thalweg.runner.train.messages import Progress
from thalweg.runner.train.pool import Pool, Worker


class Process:
    exitcode = -9
    terminated = False

    def terminate(self) -> None:
        self.terminated = True

    def join(self, timeout: float | None = None) -> None:
        return

    def is_alive(self) -> bool:
        return False


def a_worker(said: bytes) -> Pool:
    """A pool of one worker that died after writing `said` to its pipe."""
    ours, theirs = multiprocessing.Pipe()
    os.write(theirs.fileno(), said)
    theirs.close()
    pool = Pool()
    pool.workers.append(Worker(Process(), ours, "cpu"))  # type: ignore[arg-type]
    return pool


MESSAGE = pickle.dumps(Progress(5, 0))
WHOLE = struct.pack("!i", len(MESSAGE)) + MESSAGE


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_a_message_cut_short_anywhere_is_the_workers_death(length: int) -> None:
    pool = a_worker(WHOLE[:length])
    assert [heard for _, heard in pool.hear()] == [None]
    assert pool.workers == []


def test_a_whole_message_is_heard_before_the_death_is() -> None:
    pool = a_worker(WHOLE)
    assert [heard for _, heard in pool.hear()] == [Progress(5, 0)]
    assert [heard for _, heard in pool.hear()] == [None]


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
    """The far ends of the pipes of all workers that were started; their processes are pretended."""
    pipes: list[Connection] = []

    def spawned(pool: Pool) -> Worker:
        near, far = multiprocessing.Pipe()
        pipes.append(far)
        return Worker(Process(), near)  # type: ignore[arg-type]

    monkeypatch.setattr(Pool, "_spawned", spawned)
    return pipes


def test_a_worker_started_ahead_is_the_first_and_hears_then_where_to_train(theirs: list[Connection]) -> None:
    pool = Pool()
    pool.ahead()
    pool.ahead()
    assert (len(theirs), pool.workers) == (1, [])
    assert pool.workers == [pool.start("cpu"), pool.start("cuda:1")]
    assert [pipe.recv() for pipe in theirs] == ["cpu", "cuda:1"]
    pool.ahead()
    assert len(theirs) == 2


def test_a_worker_started_ahead_does_not_outlive_its_pool(theirs: list[Connection]) -> None:
    with Pool() as pool:
        pool.ahead()
        process = pool._ahead.process
    assert process.terminated  # type: ignore[attr-defined]
    with pytest.raises(EOFError):
        theirs[0].recv()


def test_the_death_of_a_worker_started_ahead_is_heard_once_it_is_wanted(theirs: list[Connection]) -> None:
    pool = Pool()
    pool.ahead()
    theirs[0].close()
    dead = pool.start("cpu")
    assert list(pool.hear()) == [(dead, None)]


@pytest.fixture
def listening() -> Iterator[None]:
    """Ctrl-C as a terminal's program has it: a shell that runs the tests in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listening")
def test_a_signal_wakes_the_wait_and_is_raised_only_when_released() -> None:
    ours, theirs = multiprocessing.Pipe()
    pool = Pool()
    pool.workers.append(Worker(Process(), ours, "cpu"))  # type: ignore[arg-type]
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert list(pool.hear(signals.waker)) == []
        with pytest.raises(KeyboardInterrupt):
            signals.release()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    theirs.close()


def test_a_signal_inside_an_import_leaves_no_half_module() -> None:
    code = """
import os, signal, sys
from thalweg.runner.base.signals import Signals
signal.signal(signal.SIGINT, signal.default_int_handler)
with Signals() as signals:
    os.kill(os.getpid(), signal.SIGINT)
    import json.tool, decimal, fractions
    assert signals.came
try:
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        signals.release()
except KeyboardInterrupt:
    sys.exit(7)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7

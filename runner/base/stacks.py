"""Where every process of a sweep is, on a signal: `kill -USR1 PID` prints the stacks of all to stderr; they go on.

The stacks come from C, so a process that hangs in a library shows them too.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

NUMBER = signal.SIGUSR1
BETWEEN_SECONDS = 0.2
"""One process after another: they write to the same place, in no lines of their own."""


def shown_on_signal() -> None:
    """Print this process's stacks on the signal. For a worker, which has no processes of its own."""
    with suppress(OSError, ValueError, AttributeError):  # a stderr that is no file: there is nowhere to print to
        faulthandler.register(NUMBER, file=sys.stderr, all_threads=True)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {NUMBER})


@contextmanager
def shown_and_passed_on() -> Iterator[None]:
    """While entered, print this process's stacks on the signal and pass it on to the processes that it started.

    Outside the main thread, and where stderr is no file, nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(NUMBER, _pass_on)
    with suppress(OSError, ValueError, AttributeError):
        faulthandler.register(NUMBER, file=sys.stderr, all_threads=True, chain=True)
    try:
        yield
    finally:
        faulthandler.unregister(NUMBER)
        signal.signal(NUMBER, before)


@contextmanager
def held_back() -> Iterator[None]:
    """While entered, the signal waits; and so it does for a process started now, until that one shows its stacks."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {NUMBER})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _pass_on(number: int, frame: FrameType | None) -> None:
    from multiprocessing import active_children

    for child in active_children():
        if child.pid is not None:
            time.sleep(BETWEEN_SECONDS)
            os.write(2, f"Process {child.pid}, of {os.getpid()}:\n".encode())
            with suppress(ProcessLookupError):
                os.kill(child.pid, number)

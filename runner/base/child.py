"""How every process of ours that runs a user's code is started, and what it does first. Not what it does then."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import ModuleType

from thalweg.runner.base import stacks

HASH_SEED = "PYTHONHASHSEED"
ORDER = "0"
"""The seed by which every process of ours walks sets of words. A model may build its layers in that order, and so draw
their weights."""


def spawned(target: Callable[..., None], *args: object) -> tuple[SpawnProcess, Connection]:
    """Start a process that does `target(pipe, *args)`; return it, and our end of the pipe.

    Spawned, not forked, so that it starts CUDA and threads afresh.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs, *args), daemon=True)
    with _sigint_ignored(), stacks.held_back(), _no_main(), _one_order():  # a child inherits what they set
        process.start()
    theirs.close()
    return process, ours


def walks_in_order() -> bool:
    """Whether this process walks sets of words as those do."""
    return not sys.flags.hash_randomization


def belong_to_parent(*, silent: bool = False) -> None:
    """Leave Ctrl-C and a closed terminal to the parent, and end when that ends, however it does.

    silent: whatever is printed goes nowhere.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if silent:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for standard in (1, 2):
            os.dup2(nowhere, standard)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])  # the one wait without a limit: it ends with the parent, which is what it waits for
    os._exit(1)


@contextmanager
def _no_main() -> Iterator[None]:
    """Hides the caller's script while a process is started, which would run it once more, sweep and all."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _one_order() -> Iterator[None]:
    """Lets a process that is started walk sets of words in the same order as any other."""
    before = os.environ.get(HASH_SEED)
    os.environ[HASH_SEED] = ORDER
    try:
        yield
    finally:
        del os.environ[HASH_SEED]
        if before is not None:
            os.environ[HASH_SEED] = before


@contextmanager
def _sigint_ignored() -> Iterator[None]:
    """Ignores SIGINT for a moment; only the main thread may, and elsewhere there is nothing to do."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

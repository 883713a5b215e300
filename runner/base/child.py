"""What every process that a sweep or a plan starts does first. Knows nothing of what it does then."""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing import parent_process
from multiprocessing.connection import wait


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

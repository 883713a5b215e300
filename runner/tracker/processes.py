"""Processes that were started here: how they yield to training, and how each ends, by its id, with all it started."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

END_SECONDS = 5.0
"""How long one that was killed may take to end."""


def yield_to_others() -> None:
    """Run this process, and what it starts, only where nothing else wants the core."""
    with suppress(OSError):
        os.nice(19)
    if hasattr(os, "SCHED_IDLE"):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def started_by(pid: int) -> list[int]:
    """The processes that a process started, and that these started; empty where there is no /proc."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *started_by(child)]
    return found


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all it started: W&B's service is in a session of its own, and would stay 20 s."""
    all_of_it = [process.pid, *started_by(process.pid)] if process.poll() is None else []
    end_all(all_of_it)
    with suppress(subprocess.TimeoutExpired):  # one that the system holds is left to it
        process.wait(END_SECONDS)


def end_all(pids: list[int]) -> None:
    """End processes at once."""
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)

"""Uploads written runs with W&B's own parallel `wandb sync`, in a process of its own. Knows no trials."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import IO

from thalweg.runner.tracker.environment import upload_environment
from thalweg.runner.tracker.processes import end

PARALLEL = 8
BATCH = 500  # folders a process: bounds the command line
POLL_SECONDS = 0.1
STALL_SECONDS = 60  # without a single run arriving; W&B itself would retry an absent server for days


def is_uploaded(folder: Path) -> bool:
    """Whether W&B has left its mark that the run in `folder` is on the server."""
    return any(folder.glob("*.wandb.synced"))


def upload(folders: Sequence[Path], until: float | None, report: Callable[[int], None]) -> str | None:
    """Upload run folders, until a `time.monotonic()` if given. Returns what went wrong, in W&B's words.

    Which runs arrived is read from W&B's marks afterwards. A run uploaded twice is one run: its id is fixed.
    """
    done = 0
    for start in range(0, len(folders), BATCH):
        batch = folders[start : start + BATCH]
        with tempfile.TemporaryFile("w+", errors="replace") as said:
            in_time = _sync(batch, said, until, partial(_report_after, report, done))
            if not in_time:
                return None if until is not None else f"nothing arrived for {STALL_SECONDS} s"
            if not all(map(is_uploaded, batch)):
                said.seek(0)
                return _last_words(said.read())
        done += len(batch)
    return None


def _report_after(report: Callable[[int], None], before: int, count: int) -> None:
    report(before + count)


def _sync(folders: Sequence[Path], said: IO[str], until: float | None, report: Callable[[int], None]) -> bool:
    """Run `wandb sync` to its end: True. False if it was ended here, out of time or stalled."""
    command = [sys.executable, "-P", "-m", "wandb", "sync", "-n", str(PARALLEL), *map(str, folders)]
    environment = upload_environment(os.environ)
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, env=environment
    )
    arrived, since = 0, time.monotonic()
    try:
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
            now, count = time.monotonic(), sum(map(is_uploaded, folders))
            if count > arrived:
                arrived, since = count, now
                report(arrived)
            if now - since > STALL_SECONDS or (until is not None and now > until):
                return False
        return True
    finally:
        end(process)


def _last_words(text: str) -> str:
    """The last line W&B printed, without its prefix and without the API key."""
    lines = [line.removeprefix("wandb:").strip() for line in text.replace("\r", "\n").splitlines()]
    last = next((line for line in reversed(lines) if line), "wandb sync said nothing")
    key = os.environ.get("WANDB_API_KEY")
    return "".join(c for c in (last.replace(key, "…") if key else last) if c.isprintable())[:200]

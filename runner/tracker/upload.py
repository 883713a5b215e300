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
from threading import Thread
from typing import IO

from thalweg.runner.tracker.environment import server_of, upload_environment
from thalweg.runner.tracker.processes import end

PARALLEL = 8
BATCH = 500  # folders a process: bounds the command line
POLL_SECONDS = 0.1
ANSWER_SECONDS = 4.0  # of a server that is asked whether it is there
STALL_SECONDS = 60  # without a single run arriving; W&B itself would retry an absent server for days


def is_uploaded(folder: Path) -> bool:
    """Whether W&B has left its mark that the run in `folder` is on the server."""
    return any(folder.glob("*.wandb.synced"))


def upload(folders: Sequence[Path], until: float | None, report: Callable[[int], None]) -> str | None:
    """Upload run folders, until a `time.monotonic()` if given. Returns what went wrong, in W&B's words.

    Without an end it is asked beforehand whether the server answers: W&B itself would try again for a minute.

    Which runs arrived is read from W&B's marks afterwards. A run uploaded twice is one run: its id is fixed.
    """
    if until is None and (silence := _silence(server_of(os.environ))):
        return silence
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


def _silence(server: str) -> str | None:
    """Why there is nobody to upload to; None where a server answers, be it with a refusal, which W&B words better."""
    found: list[str | None] = []
    asking = Thread(target=lambda: found.append(_asked(server)), daemon=True)
    asking.start()
    asking.join(ANSWER_SECONDS)
    return found[0] if found else f"{server} did not answer within {ANSWER_SECONDS:g} s"


def _asked(server: str) -> str | None:
    from http.client import HTTPException
    from ssl import SSLError
    from urllib.error import HTTPError, URLError
    from urllib.request import urlopen

    try:
        urlopen(server, timeout=ANSWER_SECONDS).close()
    except HTTPError as error:
        return f"{server} answers {error.code}" if error.code == 429 or error.code >= 500 else None
    except URLError as error:
        return None if isinstance(error.reason, SSLError) else f"{server}: {error.reason}"
    except (OSError, HTTPException, ValueError) as error:
        return f"{server}: {error}"
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

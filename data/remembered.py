"""What one process fetched, decoded or found out of files, for all that come after. Knows no format.

It lies in THALWEG_DATA, else ~/.cache/thalweg. What is lost is made again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from thalweg.runner.base.errors import SetupError

END = "\n"
"""Behind what is kept, so that a file which a full disk cut off counts as none."""

LOCKED_SECONDS = 3600.0
"""How long another process may take to fetch data, over a slow line, or to decode them."""


def cache() -> Path:
    """Where data lie that were fetched, decoded or found out: THALWEG_DATA, else ~/.cache/thalweg."""
    chosen = os.environ.get("THALWEG_DATA")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "thalweg"


def key_of(*parts: object) -> str:
    """Return a name for what depends on these parts alone."""
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def remembered(key: str, find: Callable[[], str]) -> str:
    """Return what `find` finds, or found in this process or another when it was asked by this key."""
    place = cache() / "remembered" / key
    with suppress(OSError, UnicodeDecodeError):
        if (kept := place.read_text(encoding="utf-8")).endswith(END):
            return kept.removesuffix(END)
    found = find()
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = place.with_name(f"{key}.{os.getpid()}")
        aside.write_text(found + END, encoding="utf-8")
        aside.replace(place)
    return found


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One process at a time, since workers that start together would write the same files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError:  # a read-only cache: whoever filled it is done
        yield
        return
    with lock:
        end = time.monotonic() + LOCKED_SECONDS
        while not _locked(lock):
            if time.monotonic() >= end:
                raise SetupError(
                    f"another process has been putting data into {folder} for {LOCKED_SECONDS / 60:.0f} minutes",
                    "end it, and try again",
                )
            time.sleep(0.2)
        yield


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

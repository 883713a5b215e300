"""Which trials have been written as runs of a tracker: JSON lines in a file of its own beside the store.

Derived, like the runs: losing it costs nothing but looking into the run folders again. Knows no wandb.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO


class LedgerBusy(Exception):  # noqa: N818 - it is a state of affairs, not a fault
    """Another process is writing W&B runs for this store."""


@dataclass(frozen=True)
class Entry:
    """One trial's run: what was written, where, how long its file is, and whether W&B has said that it has it."""

    trial: str
    fingerprint: str
    folder: str
    size: int = -1  # of a run that an earlier release wrote: written again
    uploaded: bool = False


def ledger_path(store: Path, tracker: str) -> Path:
    """`results/thalweg.sqlite` -> `results/thalweg.wandb.jsonl`."""
    return store.with_name(f"{store.stem}.{tracker}.jsonl")


def read_ledger(path: Path) -> dict[str, Entry]:
    """The last entry of each trial; a torn or foreign line counts as absent. Empty without a file."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return {}
    entries = {}
    for line in lines[:-1]:  # what follows the last newline is nothing, or torn
        try:
            entry = Entry(**json.loads(line))
        except (ValueError, TypeError):
            continue
        entries[entry.trial] = entry
    return entries


class Ledger:
    """The ledger while one process writes it."""

    def __init__(self, file: IO[bytes], entries: dict[str, Entry]) -> None:
        self._file = file
        self.entries = entries

    def add(self, entry: Entry) -> None:
        """Append one line, in one write."""
        self._file.write(json.dumps(asdict(entry)).encode() + b"\n")
        self._file.flush()
        self.entries[entry.trial] = entry


@contextmanager
def writing(path: Path) -> Iterator[Ledger]:
    """Open for appending, alone; cut off a torn last line. Raises LedgerBusy, OSError."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LedgerBusy from None
        content = path.read_bytes()
        file.truncate(content.rfind(b"\n") + 1)
        yield Ledger(file, read_ledger(path))

"""One writer at a time: an advisory lock beside the store, released by the kernel even after SIGKILL.

The file stays behind, since removing a lock file races with whoever is opening it. Workers are spawned, not
forked, and so never hold it.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from thalweg.runner.base.errors import StoreError


class Lock:
    """The exclusive right to write to the store at `path`, from construction to `release`.

    Raises StoreError if another process has it, OSError if the lock file cannot be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            self._take(path)
        except BaseException:
            self.release()
            raise

    def _take(self, path: Path) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._file, 20, 0).decode(errors="replace").strip()
            raise StoreError(
                f"another sweep{f' (pid {owner})' if owner.isdigit() else ''} is writing to {path}",
                "wait until it has ended, or write elsewhere with --store PATH",
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the right up."""
        os.close(self._file)

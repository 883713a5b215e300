"""Who writes to a store: an advisory lock beside it, which the kernel takes back even after SIGKILL.

Many may hold it at once. Whoever finds nobody else there holds it alone until `share`, and so may create the store,
upgrade it, and forget what the dead have left. The file stays behind, since removing a lock file races with whoever is
opening it. Workers are spawned, not forked, and so never hold it.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from thalweg.runner.base.errors import StoreError

PATIENCE_SECONDS = 10.0
"""How long others may take to open a store: to create it takes milliseconds, to upgrade it seconds a gigabyte."""


class Lock:
    """A place among those who write to the store at `path`, from construction to `release`.

    Raises StoreError if somebody lets nobody in, OSError if the lock file cannot be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            self.alone = self._enter()
            self._sign()
        except BaseException:
            self.release()
            raise

    def _enter(self) -> bool:
        """Wait for a place; return whether nobody else has one."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            for how in (fcntl.LOCK_EX, fcntl.LOCK_SH):
                with suppress(BlockingIOError):
                    fcntl.flock(self._file, how | fcntl.LOCK_NB)
                    return how == fcntl.LOCK_EX
            if time.monotonic() > until:
                raise self.taken("lets nobody else write to")
            time.sleep(0.02)

    def taken(self, does: str) -> StoreError:
        """The refusal of who cannot write beside another, who `does` something to the store."""
        last = os.pread(self._file, 20, 0).decode(errors="replace").strip()
        return StoreError(
            f"a sweep of another release{f' (pid {last})' if last.isdigit() else ''} {does} {self._path}",
            "wait until it has ended, or write elsewhere with --store PATH",
        )

    def _sign(self) -> None:
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def share(self) -> None:
        """Let others in."""
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def release(self) -> None:
        """Leave."""
        os.close(self._file)

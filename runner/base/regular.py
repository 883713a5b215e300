"""The one way to open a file that a user names: a regular file, links followed, or an OSError that says what it is.

A named pipe would wait for a writer for ever, a device gives bytes without end.
"""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path

KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}


def open_regular(path: Path | str) -> BufferedReader:
    """Open a regular file to read its bytes. Raises OSError, whose `strerror` is for a sentence, for anything else."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if said := kind(os.fstat(descriptor).st_mode):
            raise OSError(0, f"it is {said}; expected a file", os.fspath(path))
        os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def kind(mode: int) -> str | None:
    """What a file's mode says it is, in words; None for a regular file."""
    return None if stat.S_ISREG(mode) else KINDS.get(stat.S_IFMT(mode), "no regular file")

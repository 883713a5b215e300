"""Writes a file whole or not at all, whatever ends the process meanwhile. Knows no format."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file: it is there in full, or as it was before, even after a power cut. Raises OSError."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")  # another process may write the same
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise

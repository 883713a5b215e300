"""The report of a study: one self-contained HTML file, from rows, answers and series. Knows no torch and no SQL."""

from __future__ import annotations

import hashlib
import os
import re
from datetime import datetime
from pathlib import Path

from runner.errors import UsageError
from runner.report.page import page
from runner.report.source import Source, Trained

__all__ = ["Source", "Trained", "file_name", "page", "write"]


def file_name(study: str) -> str:
    """Return the file of a study's report: its name where that is plain, else made plain and told apart by a hash."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", study).strip("-.")[:60]
    if plain == study:
        return f"{plain}.html"
    return f"{plain or 'study'}-{hashlib.sha256(study.encode()).hexdigest()[:6]}.html"


def write(source: Source, path: Path, now: datetime) -> int:
    """Write the report to `path`, whole or not at all; return its size in bytes. Raises UsageError if it cannot."""
    content = page(source, now).encode()
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"cannot write the report to {path}: {reason}", "name another file: --out FILE") from None
    return len(content)

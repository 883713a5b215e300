"""A log of what a sweep does, one JSON object a line, for whoever must find out why. Silent unless told where to write.

Python's logging, under the name `thalweg`: a program that calls thalweg may send it elsewhere.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from thalweg.runner.base.errors import UsageError

_LOG = logging.getLogger("thalweg")
_LOG.addHandler(logging.NullHandler())
_LOG.propagate = False


def listens() -> bool:
    """Whether anybody reads what is logged: what is dear to describe need not be, else."""
    return _LOG.isEnabledFor(logging.INFO)


def write(what: str, **facts: Any) -> None:
    """Log that something happened; facts are anything that JSON has, or text makes of it."""
    _LOG.info(what, extra={"facts": facts})


@contextmanager
def to_file(path: Path | None) -> Iterator[None]:
    """While entered, append what is logged to a file; to none where there is no path. Raises UsageError."""
    if path is None:
        yield
        return
    try:
        handler = logging.FileHandler(path.expanduser(), encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"cannot write the log {path}: {reason}", "name another file: --log FILE") from None
    handler.setFormatter(_Line())
    before = _LOG.level
    _LOG.addHandler(handler)
    _LOG.setLevel(logging.INFO)
    try:
        yield
    finally:
        _LOG.setLevel(before)
        _LOG.removeHandler(handler)
        handler.close()


class _Line(logging.Formatter):
    """time: UTC. pid: of the process that wrote it."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": when, "pid": os.getpid(), "what": record.getMessage(), **getattr(record, "facts", {})}
        return json.dumps(line, default=str, ensure_ascii=False)

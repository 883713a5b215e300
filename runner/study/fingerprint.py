"""A fingerprint of the files that the arguments of a `_target_` name. Knows no format.

It is part of a trial's id: other bytes, other trials.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from thalweg.data.files import content, files_under
from thalweg.runner.base.errors import ConfigError


def named_in(values: Iterable[object]) -> tuple[str, ...]:
    """Return those of some values, lists laid flat, that are the path of a file or folder which is there."""
    return tuple(value for value in _texts(values) if value not in ("", ".") and _is_there(value))


def fingerprint(paths: Iterable[str]) -> str | None:
    """Return 16 hex digits of the names and contents of files and folders; None for no paths.

    Hidden files of a folder are left out. Raises ConfigError for a path where nothing is, and for what cannot be read.
    """
    digest, wanted = hashlib.sha256(b"thalweg.files.v1"), sorted(set(paths))
    for path in wanted:
        if not _is_there(path):
            raise ConfigError(f"dataset.files names {path!r}; nothing is there from {Path.cwd()}", "name what exists")
        try:
            for file in files_under(Path(path)):
                status = file.stat()
                digest.update(f"\n{file.as_posix()}\n{_content(file, status.st_size, status.st_mtime_ns)}".encode())
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}", "it is part of what a trial is") from error
    return digest.hexdigest()[:16] if wanted else None


def _texts(values: Iterable[object]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list | tuple):
            yield from _texts(value)


def _is_there(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # a text that no file system takes for a name
        return False


@lru_cache(maxsize=10_000)
def _content(file: Path, size: int, modified: int) -> str:
    """SHA-256 of a file's bytes; read again only when its size or time of change is another."""
    return content(file)

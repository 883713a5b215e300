"""A fingerprint of the files that the arguments of a `_target_` name. Knows no format.

It is part of a trial's id: other bytes, other trials. An argument names a file if its text has a separator or a suffix
(`data/a`, `a.csv`) and something is there, or if its key is listed under `files`. A bare word is a word, whatever lies
in the current folder.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from thalweg.data.files import content, digest
from thalweg.data.walk import data_of, walked
from thalweg.runner.base.errors import ConfigError


def named_by(files: Sequence[str], arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the paths that `files` and the arguments of a target name, in that order.

    Raises ConfigError for one of `files` that is neither an argument's key nor there.
    """
    named: list[str] = []
    for said in files:
        if said in arguments:
            named += _texts([arguments[said]])
        if said not in arguments or _is_there(said):
            named.append(said)
    for path in named:
        if not _is_there(path):
            raise ConfigError(f"dataset.files names {path!r}; nothing is there from {Path.cwd()}", "name what exists")
    return tuple(dict.fromkeys([*named, *(text for text in _texts(arguments.values()) if _is_path(text))]))


def words_taken(files: Sequence[str], arguments: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the keys and texts of arguments that are bare words, though something of that name is there."""
    return tuple(
        (key, text)
        for key, value in arguments.items()
        if key not in files
        for text in _texts([value])
        if text not in (*files, "", ".") and not _is_path(text) and _is_there(text)
    )


@lru_cache(maxsize=64)
def fingerprint(paths: tuple[str, ...]) -> str | None:
    """Return 16 hex digits of the files that some paths name, whose names count from there on; None for no paths.

    What is no data in a folder is left out. Kept until `forget`. Raises ConfigError for what cannot be read.
    """
    roots = [Path(path).expanduser() for path in paths]
    each = [digest("thalweg.files.v2", root, data_of(walked(root))) for root in roots]
    return hashlib.sha256("\n".join(["thalweg.files.v2", *each]).encode()).hexdigest()[:16] if paths else None


def fingerprint_before(files: Sequence[str], arguments: Mapping[str, Any]) -> str | None:
    """Return the fingerprint of the same files in version 0.1.0, which took a bare word for a path, too.

    None if there was none, or it saw less than there is: it followed no links to folders.
    """
    words = [text for text in _texts(arguments.values()) if text not in ("", ".")]
    return _before(tuple(sorted({text for text in (*files, *words) if _is_there(text, home=False)})))


@lru_cache(maxsize=64)
def _before(paths: tuple[str, ...]) -> str | None:
    try:
        files = [file for path in paths for file in walked(Path(path)) if not file.hidden]
    except ConfigError:  # a bare word, whose folder nobody reads
        return None
    if not paths or any(file.linked for file in files):
        return None
    made = hashlib.sha256(b"thalweg.files.v1")
    for file in files:
        made.update(f"\n{file.path.as_posix()}\n{content(file.path, file.version)}".encode("utf-8", "surrogateescape"))
    return made.hexdigest()[:16]


def forget() -> None:
    """Walk anew from now on: a study is declared, and files may have changed since the last."""
    fingerprint.cache_clear()
    _before.cache_clear()


def _texts(values: Iterable[object]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list | tuple):
            yield from _texts(value)


def _is_path(text: str) -> bool:
    marked = any(sign and sign in text for sign in (os.sep, os.altsep)) or Path(text).suffix != ""
    return marked and _is_there(text)


def _is_there(path: str, home: bool = True) -> bool:
    try:
        return (Path(path).expanduser() if home else Path(path)).exists()
    except (OSError, ValueError, RuntimeError):  # a text that no file system takes for a name, a home not known
        return False

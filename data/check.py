"""The user's own files, read before anything is planned: can they be trained on, and as what? Knows no torch."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

from thalweg.data.files import fingerprint_of, marked
from thalweg.data.image_folder import marks_at
from thalweg.data.schema import ArraysConfig, ImageFolderConfig, TableConfig, TextConfig
from thalweg.data.stored import stored
from thalweg.data.table import read_table
from thalweg.data.text import text


def declared(config: Any) -> Any:
    """Return a dataset with the fingerprint of its files as it stands now. Raises the ConfigError that loading would
    raise; of most images only the head is read, as decoding them takes too long here.
    """
    seen = replace(config, fingerprint=fingerprint_of(config))
    return replace(seen, fingerprint=marked(seen.fingerprint, _read(seen)[0]))


def notes(config: TableConfig) -> tuple[str, ...]:
    """Return what is worth knowing of how a table that was declared is read, in sentences."""
    return _read(replace(config, fingerprint=fingerprint_of(config)))[1]


@lru_cache(maxsize=64)
def _read(config: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The marks and notes of a dataset. Its fingerprint is part of what is asked: other files, other answers."""
    if isinstance(config, TableConfig):
        read = read_table(config)
        return read.marks, read.notes
    if isinstance(config, ArraysConfig):
        stored(config)
    if isinstance(config, TextConfig):
        text(config)
    return (marks_at(config.path, config.fingerprint) if isinstance(config, ImageFolderConfig) else ()), ()

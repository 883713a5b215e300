"""The user's own files, read before anything is planned: can they be trained on, and as what? Knows no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from thalweg.data.arrange import Sizes
from thalweg.data.files import class_folders, fingerprint_of, marked
from thalweg.data.image_folder import marks_at
from thalweg.data.schema import DATASETS, ArraysConfig, ImageFolderConfig, TableConfig, TextConfig
from thalweg.data.stored import stored
from thalweg.data.table import read_table
from thalweg.data.text import text


def declared(config: Any) -> Any:
    """Return a dataset with the fingerprint of its files as it stands now. Raises the ConfigError that loading would
    raise; of most images only the head is read, as decoding them takes too long here.
    """
    seen = replace(config, fingerprint=fingerprint_of(config))
    return replace(seen, fingerprint=marked(seen.fingerprint, _read(seen).marks))


def notes(config: TableConfig) -> tuple[str, ...]:
    """Return what is worth knowing of how a table that was declared is read, in sentences."""
    return _read(replace(config, fingerprint=fingerprint_of(config))).notes


def trainable(plain: Mapping[str, Any]) -> int | None:
    """How many examples train of a dataset that takes all there are, as its files are now; None if it has none.

    0 where it holds a wrong value, which is said when all is checked.
    """
    schema = DATASETS.get(str(plain.get("name")))
    if schema not in (TableConfig, ArraysConfig, ImageFolderConfig):
        return None
    try:
        config = TypeAdapter(schema).validate_python({**plain, "fingerprint": None})
    except ValidationError:
        return 0
    return _read(replace(config, fingerprint=fingerprint_of(config))).rows


@dataclass(frozen=True)
class _Read:
    """What is known of files. rows: how many examples train; 0 where the configuration says how many."""

    marks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    rows: int = 0


@lru_cache(maxsize=64)
def _read(config: Any) -> _Read:
    """What is known of a dataset. Its fingerprint is part of what is asked: other files, other answers."""
    if isinstance(config, TableConfig):
        read = read_table(config)
        return _Read(read.marks, read.notes, len(read.splits.train.y))
    if isinstance(config, ArraysConfig):
        return _Read(rows=len(stored(config).train.y))
    if isinstance(config, TextConfig):
        text(config)
    if isinstance(config, ImageFolderConfig):
        marks, images = marks_at(config.path, config.fingerprint), sum(map(len, class_folders(config.path).values()))
        sizes = Sizes.of_shares(images, config.validation, config.test, config.train_size)
        return _Read(marks, rows=config.train_size or sizes.train)
    return _Read()

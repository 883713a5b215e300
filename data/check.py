"""Whether the user's own files can be trained on, asked before anything is planned. Knows no torch."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from thalweg.data.files import class_folders
from thalweg.data.schema import ImageFolderConfig, TableConfig, TextConfig
from thalweg.data.table import table
from thalweg.data.text import text


@lru_cache(maxsize=16)
def refuse_unusable(config: Any) -> None:
    """Raise the ConfigError that loading would raise. Images are only counted: decoding them takes too long here."""
    if isinstance(config, TableConfig):
        table(config)
    elif isinstance(config, TextConfig):
        text(config)
    elif isinstance(config, ImageFolderConfig):
        class_folders(config.path)

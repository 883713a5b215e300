"""Where the store of a command or a notebook is."""

from __future__ import annotations

import os
from pathlib import Path

from thalweg.runner.project.project import here

DEFAULT = Path("results", "thalweg.sqlite")


def place(given: str | Path | None = None) -> Path:
    """Return where the store is: as given, else THALWEG_STORE, else thalweg.yaml, else under the current folder."""
    project = here()
    chosen = given or os.environ.get("THALWEG_STORE") or (project and project.store)
    return Path(chosen or DEFAULT).expanduser()

"""A project to begin with: the files that `thalweg init` writes. They lie in `template/` as they are written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from thalweg.runner.base.errors import UsageError

FILES = Path(__file__).resolve().parent / "template"
RENAMED = {"gitignore": ".gitignore"}
"""A file that tools would take for theirs while it lies in our source."""


def write_project(folder: Path) -> list[str]:
    """Write the project into a folder that is empty or not there yet; return the names of its files.

    Raises UsageError where it is neither, or cannot be written.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            what = "is not empty" if folder.is_dir() else "is a file"
            raise UsageError(f"{folder} {what}; a project begins in a folder of its own", "name a new folder")
        return [_copy(source, folder) for source in _files()]
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror or error}") from error


def _files() -> Iterator[Path]:
    for inside, folders, names in os.walk(FILES):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        yield from (Path(inside, name) for name in sorted(names))


def _copy(source: Path, folder: Path) -> str:
    name = source.relative_to(FILES).as_posix()
    target = folder / RENAMED.get(name, name)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("x", encoding="utf-8", newline="\n") as file:
        file.write(source.read_text(encoding="utf-8"))
    return target.relative_to(folder).as_posix()

"""The one walk over files of the user's: what is read of a folder is what its fingerprint is of. Knows no format.

Links are followed. What a system or an editor leaves in a folder is no data: hidden files (`.DS_Store`, `._a.png`,
`.ipynb_checkpoints`), and those that are not hidden (`Thumbs.db`, `__MACOSX`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.base.regular import kind

LEFT_BY_SYSTEMS = {
    *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information", "@eadir"),
    *("icon\r", "lost+found"),
}
"""Names, in small letters, of files and folders that systems leave in others and do not hide by a dot."""


@dataclass(frozen=True)
class File:
    """A file that was come across: its path, its size and times of change, which tell whether it is still the same.

    linked: a link to a folder led to it. hidden and left: why it is no data; a name begins with a dot, or is one of
    `LEFT_BY_SYSTEMS`.
    """

    path: Path
    version: tuple[int, int, int, int]
    linked: bool = False
    hidden: bool = False
    left: bool = False


def files_under(place: Path) -> list[Path]:
    """Return the file itself, or the files of a folder in the order of their names, those that are no data left out.

    Raises ConfigError for what is no file or cannot be read.
    """
    return [file.path for file in data_of(walked(place))]


def is_data(name: str) -> bool:
    """Whether a file or folder of this name is data."""
    return not name.startswith(".") and name.lower() not in LEFT_BY_SYSTEMS


def data_of(files: list[File]) -> list[File]:
    """Return those that are data."""
    return [file for file in files if not file.hidden and not file.left]


def walked(place: Path) -> list[File]:
    """Return the file itself, or all files of a folder, in the order of their names.

    Raises ConfigError for links that lead nowhere or back, for what is neither file nor folder, and for what cannot be
    read; hidden ones of these are passed over.
    """
    try:
        status = place.stat()
        if not stat.S_ISDIR(status.st_mode):
            _refuse_special(place, status.st_mode)
            return [File(place, _version(status))]
        found = list(_inside(place, ((status.st_dev, status.st_ino),), File(place, (0, 0, 0, 0))))
    except OSError as error:
        raise ConfigError(f"{error.filename or place} cannot be read: {error.strerror or error}") from error
    return sorted(found, key=lambda file: file.path.relative_to(place).as_posix())


def _inside(folder: Path, above: tuple[tuple[int, int], ...], parent: File) -> Iterator[File]:
    """Yield the files of a folder. above: the device and number of it and of the folders that lead to it."""
    with os.scandir(folder) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        path = folder / entry.name
        hidden = parent.hidden or entry.name.startswith(".")
        left = parent.left or entry.name.lower() in LEFT_BY_SYSTEMS
        try:
            status = path.stat()
            if not stat.S_ISDIR(status.st_mode):
                _refuse_special(path, status.st_mode)
                yield File(path, _version(status), parent.linked, hidden, left)
                continue
            if (status.st_dev, status.st_ino) in above:
                raise ConfigError(f"{path} is a link that leads back to a folder it is in", "remove it")
            here = File(path, (0, 0, 0, 0), parent.linked or entry.is_symlink(), hidden, left)
            yield from _inside(path, (*above, (status.st_dev, status.st_ino)), here)
        except (OSError, ConfigError) as error:
            if hidden or left:
                continue
            if isinstance(error, OSError) and entry.is_symlink() and not path.exists():
                raise ConfigError(f"{path} is a link to {os.readlink(path)}, where nothing is", "remove it") from error
            raise


def _refuse_special(path: Path, mode: int) -> None:
    if said := kind(mode):
        raise ConfigError(f"{path} is {said}; expected a file or folder")


def _version(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino

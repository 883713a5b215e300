"""The user's data files: where they are, and a fingerprint of what is in them. Knows no format.

A fingerprint is part of a trial's id: other bytes, other trials.
"""

from __future__ import annotations

import hashlib
import os
import sysconfig
from functools import lru_cache
from pathlib import Path

from thalweg.runner.base.errors import ConfigError

SKIPPED = {"__pycache__", "site-packages", "dist-packages", "test", "tests"}
"""Folders of the standard library's that are not read: installed packages, and tests full of odd characters."""

IMAGES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""The endings of image files that torchvision's ImageFolder takes."""


def found(path: str) -> Path:
    """Return the file or folder that `dataset.path` names. Raises ConfigError if it is not there."""
    place = Path(path).expanduser()
    if not place.exists():
        start = "" if place.is_absolute() else f" from {Path.cwd()}"
        raise ConfigError(f"dataset.path is {path!r}; nothing is there{start}", "name a file or folder that exists")
    return place


def files_under(place: Path) -> list[Path]:
    """Return the file itself, or the files of a folder in the order of their names; hidden ones are left out.

    Raises OSError for a folder that cannot be read.
    """
    if place.is_file():
        return [place]
    inside = (Path(folder) / name for folder, _, names in os.walk(place, onerror=_raise) for name in names)
    shown = (file for file in inside if not any(part.startswith(".") for part in file.relative_to(place).parts))
    return sorted(shown, key=lambda file: file.relative_to(place).as_posix())


def class_folders(path: str) -> list[Path]:
    """Return the folders of images under `path`, one a class, in the order of their names.

    Raises ConfigError if there are fewer than two, or one is without images.
    """
    place = found(path)
    classes = sorted(entry for entry in place.iterdir() if entry.is_dir()) if place.is_dir() else []
    if len(classes) < 2:
        raise ConfigError(f"{place} has {len(classes)} folders; expected one folder of images for each class")
    for folder in classes:
        if not any(file.suffix.lower() in IMAGES for file in files_under(folder)):
            raise ConfigError(f"{folder} has no images; expected some of {', '.join(IMAGES)}", "remove it, or fill it")
    return classes


def stdlib_files() -> tuple[Path, list[Path]]:
    """Return the folder of the running Python's standard library, and its source files in the order of names."""
    root = Path(sysconfig.get_paths()["stdlib"])
    sources = (file for file in root.rglob("*.py") if not SKIPPED & set(file.relative_to(root).parts))
    return root, sorted(sources, key=lambda file: file.relative_to(root).as_posix())


@lru_cache(maxsize=64)
def fingerprint(path: str | None) -> str:
    """Return 16 hex digits of the files under `path`: relative names and contents, nothing else.

    None means the standard library. Files are read once in a process, as thousands of trials may be declared on them.
    """
    root, files = stdlib_files() if path is None else (found(path), files_under(found(path)))
    digest = hashlib.sha256(b"thalweg.files.v1")
    for file in files:
        digest.update(f"\n{file.relative_to(root).as_posix()}\n{content(file)}".encode())
    return digest.hexdigest()[:16]


def content(file: Path) -> str:
    """Return the SHA-256 of a file's bytes, 64 hex digits. Raises OSError if it cannot be read."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _raise(error: OSError) -> None:
    raise error


def refuse_changed(name: str, path: str | None, expected: str | None) -> None:
    """Raise ConfigError if the files are not those whose fingerprint a trial has."""
    if expected is not None and (now := fingerprint(path)) != expected:
        raise ConfigError(
            f"the files of dataset={name} have changed: the trial was declared on {expected}, there is {now} now",
            "declare the study anew: other data are other trials",
        )

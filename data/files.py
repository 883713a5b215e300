"""The user's data files: where they are, and a fingerprint of what is in them. Knows no format.

A fingerprint is part of a trial's id: other bytes, other trials. Behind a `+` it says what versions before would have
read otherwise of these files (`MENDED`), so that their trials are others too.
"""

from __future__ import annotations

import hashlib
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import time_ns
from typing import Any

from thalweg.data.remembered import key_of, remembered
from thalweg.data.schema import ArraysConfig, ImageFolderConfig
from thalweg.data.walk import File, data_of, files_under, is_data, walked
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.base.regular import open_regular

SKIPPED = {"__pycache__", "site-packages", "dist-packages", "test", "tests"}
"""Folders of the standard library's that are not read: installed packages, and tests full of odd characters."""

IMAGES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""The endings of image files that torchvision's ImageFolder takes."""

LARGE = 64 * 2**20
"""Bytes whose hash is remembered beyond the process; of fewer it takes a tenth of a second."""
SETTLED = 2 * 10**9
"""Nanoseconds after which a file that is written again has another time of change on any file system."""

MENDED = {
    "hidden": "hidden files of an image folder were trained on",
    "pictures": "16-bit pictures were all white or black, transparency and the camera's rotation were ignored",
    "index": "a saved row index of a table was a feature",
    "onehot": "of one-hot targets the first column was the class",
    "scale": "features of a table that are huge, tiny or never change were scaled wrong",
}
"""Mark in a fingerprint -> what was read wrong of such files, in words that follow "before this was mended:"."""


def found(path: str, key: str = "path") -> Path:
    """Return the file or folder that a key of the dataset names. Raises ConfigError if it is not there, or neither."""
    try:
        place = Path(path).expanduser()
        there = place.exists()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a NUL, a home that is not known
        seen = f"dataset.{key} is {path!r}, which is not a path: {error}"
        raise ConfigError(seen, "name a file or folder") from error
    if not there:
        start = "" if place.is_absolute() else f" from {Path.cwd()}"
        raise ConfigError(f"dataset.{key} is {path!r}; nothing is there{start}", "name a file or folder that exists")
    if not place.is_dir() and not place.is_file():
        walked(place)  # says what it is
    return place


def read_bytes(file: Path) -> bytes:
    """Return what is in a file. Raises ConfigError for what is no regular file or cannot be read."""
    try:
        with open_regular(file) as opened:
            return opened.read()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}") from error


def class_folders(path: str) -> dict[Path, list[Path]]:
    """Return the folders of images under `path`, one a class, in the order of their names, and the images of each.

    The images are in torchvision's order, folder by folder. Raises ConfigError if there are fewer than two classes, or
    one is without images.
    """
    place = found(path)
    inside = sorted(place.iterdir()) if place.is_dir() else []
    classes = {entry: files_under(entry) for entry in inside if entry.is_dir() and is_data(entry.name)}
    if len(classes) < 2:
        raise ConfigError(f"{place} has {len(classes)} folders; expected one folder of images for each class")
    images = {folder: [file for file in files if _is_image(file)] for folder, files in classes.items()}
    for folder, files in images.items():
        if not files:
            raise ConfigError(f"{folder} has no images; expected some of {', '.join(IMAGES)}", "remove it, or fill it")
        files.sort(key=lambda file: (str(file.parent), file.name))
    return images


def stdlib_files() -> tuple[Path, list[Path]]:
    """Return the folder of the running Python's standard library, and its source files in the order of names."""
    root = Path(sysconfig.get_paths()["stdlib"])
    sources = (file for file in root.rglob("*.py") if not SKIPPED & set(file.relative_to(root).parts))
    return root, sorted(sources, key=lambda file: file.relative_to(root).as_posix())


def fingerprint_of(config: Any) -> str:
    """Return 16 hex digits of the files that a dataset reads: relative names and contents, nothing else.

    A dataset without a path reads the standard library. The mark `hidden` is put behind where it belongs.
    """
    if isinstance(config, ArraysConfig):
        each = [digest("thalweg.files.v1", root, data_of(walked(root))) for root in _places(config)]
        return hashlib.sha256("\n".join(["thalweg.arrays.v1", *each]).encode()).hexdigest()[:16]
    seen = seen_at(getattr(config, "path", None))
    marks = ["hidden"] if isinstance(config, ImageFolderConfig) and seen.hidden_images else []
    return marked(seen.fingerprint, marks)


def _places(config: ArraysConfig) -> tuple[Path, Path]:
    return found(config.x, "x"), found(config.y, "y")


def fingerprint_before(config: Any) -> str | None:
    """Return the fingerprint that a dataset of the same data had in version 0.1.0, if it was another; else None."""
    path = getattr(config, "path", None)
    return seen_at(path).before if isinstance(config, ImageFolderConfig) else None


@dataclass(frozen=True)
class Seen:
    """What a walk found. before: the fingerprint of the same images in 0.1.0, where it was another."""

    fingerprint: str
    before: str | None
    hidden_images: bool


@lru_cache(maxsize=64)
def seen_at(path: str | None) -> Seen:
    """Walk what `path` names, None being the standard library. Kept until `forget`: a study may name it often."""
    if path is None:
        root, sources = stdlib_files()
        return Seen(
            digest("thalweg.files.v1", root, [file for source in sources for file in walked(source)]), None, False
        )
    root = found(path)
    files = walked(root)
    data = data_of(files)
    now = digest("thalweg.files.v1", root, data)
    shown = [file for file in files if not file.hidden]
    alike = not any(file.left and _is_image(file.path) for file in shown)
    before = digest("thalweg.files.v1", root, shown) if alike and len(shown) > len(data) else None
    hidden = any(file.hidden and _is_image(file.path) and file.path.parent != root for file in files)
    return Seen(now, before, hidden)


def forget() -> None:
    """Walk anew from now on: a study is declared, and files may have changed since the last."""
    seen_at.cache_clear()


def digest(tag: str, root: Path, files: Sequence[File]) -> str:
    """Return 16 hex digits of files: names relative to `root`, and contents.

    Large ones are read once, by the first process that asks: what was found then is taken as long as each name, size,
    inode and time of change, which no program can set, is the same. Not of files so new that they may be changed again
    and keep their times.
    """
    newest = max((changed for file in files for changed in file.version[1:3]), default=0)
    if sum(file.version[0] for file in files) < LARGE or time_ns() - newest < SETTLED:
        return _digest(tag, root, files)
    names = [(file.path.relative_to(root).as_posix(), file.version) for file in files]
    return remembered(key_of("digest", tag, str(root.resolve()), names), lambda: _digest(tag, root, files))


def _digest(tag: str, root: Path, files: Sequence[File]) -> str:
    made = hashlib.sha256(tag.encode())
    for file in files:
        name = file.path.relative_to(root).as_posix()
        made.update(f"\n{name}\n{content(file.path, file.version)}".encode("utf-8", "surrogateescape"))
    return made.hexdigest()[:16]


@lru_cache(maxsize=200_000)
def content(file: Path, version: tuple[int, ...]) -> str:
    """Return the SHA-256 of a file's bytes, 64 hex digits; read again only when its version is another.

    Raises ConfigError if it cannot be read.
    """
    try:
        with open_regular(file) as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}", "it is part of what a trial is") from error


def marked(fingerprint: str, marks: Iterable[str]) -> str:
    """Return a fingerprint with some of `MENDED` put behind it, in their order there."""
    given = {*marks_of(fingerprint), *marks}
    return "+".join([fingerprint.partition("+")[0], *(mark for mark in MENDED if mark in given)])


def marks_of(fingerprint: str | None) -> tuple[str, ...]:
    """Return what a fingerprint says that versions before would have read otherwise."""
    return tuple((fingerprint or "").split("+")[1:])


def refuse_changed(config: Any, marks: Iterable[str] = ()) -> None:
    """Raise ConfigError if the files are not those, or not read as those, whose fingerprint a trial has.

    marks: what was found while reading.
    """
    if config.fingerprint is None:
        return
    forget()
    names = [name for name in (fingerprint_of(config), fingerprint_before(config)) if name]
    now = [marked(name, marks) for name in names]
    if config.fingerprint not in now:
        said = f"the trial was declared on {config.fingerprint}, there is {now[0]} now"
        raise ConfigError(
            f"the files of dataset={config.name} have changed: {said}",
            "sweep the study again: other data make other trials",
        )


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGES

"""Checkpoints of cohorts in training, as files in a folder beside the store.

    results/thalweg.sqlite
    results/thalweg.checkpoints/COHORT-STEP-HASH.safetensors

One file is one checkpoint: arrays, and in the header the facts about them as JSON. COHORT is the hash of what makes
the cohort (trials in order, executor, layout, evaluations), HASH the SHA-256 of the whole file, which is compared
before a byte of it is read. A file is written under another name, synced and renamed, so a kill leaves the one before.
Nothing is pickled. The driver asks only names and headers; arrays are the worker's.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thalweg.runner.base.canonical import tagged_hash
from thalweg.runner.base.whole import write_whole
from thalweg.runner.train.messages import Train

if TYPE_CHECKING:
    import numpy as np

NAME = re.compile(r"(?P<cohort>[0-9a-f]{16})-(?P<step>\d+)-(?P<hash>[0-9a-f]{64})\.safetensors")
KEPT = 2
"""Checkpoints of a cohort on disk: the newest, and the one before in case the newest is damaged."""
LONGEST_HEADER = 100_000_000  # as safetensors itself has it

Arrays = Mapping[str, "np.ndarray"]
Facts = Mapping[str, Any]


def folder_of(store: Path) -> Path:
    """Where the checkpoints of a store's cohorts are."""
    return store.with_suffix(".checkpoints")


def facts_of(work: Train) -> dict[str, Any]:
    """What makes a cohort: the same as the engine's `Cohort.facts`."""
    return {
        "trials": [trial.id for trial in work.trials],
        "executor": work.executor,
        "layout": work.layout,
        "evaluations": work.evaluations,
    }


@dataclass(frozen=True)
class Shelf:
    """The checkpoints of one cohort. `made_by` (versions, device) decides bits as the cohort does."""

    folder: Path
    facts: Facts
    made_by: Mapping[str, str]

    @property
    def cohort(self) -> str:
        """The cohort's part of the file names."""
        return tagged_hash("thalweg.checkpoint.v1", dict(self.facts))[:16]

    def files(self) -> list[Path]:
        """The cohort's checkpoints, the newest first."""
        found = [(int(name["step"]), path) for path, name in _named(self.folder) if name["cohort"] == self.cohort]
        return [path for _, path in sorted(found, reverse=True)]

    def save(self, arrays: Arrays, facts: Facts) -> Path:
        """Write a checkpoint; it is there in full or not at all. Raises OSError if the disk does not take it."""
        content = sealed(arrays, facts, self.made_by)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self.cohort}-{facts['step']}-{hashlib.sha256(content).hexdigest()}.safetensors"
        write_whole(path, content)
        _sync(self.folder)
        for older in self.files()[KEPT:]:
            remove(older)
        return path

    def newest(self, complain: Callable[[str], None]) -> tuple[Arrays, Facts] | None:
        """The newest checkpoint that can be trusted. Each that cannot is said to `complain`, and removed."""
        return next((found for path in self.files() if (found := self._trusted(path, complain))), None)

    def read(self, name: str, complain: Callable[[str], None]) -> tuple[Arrays, Facts] | None:
        """The checkpoint of that name, if it can be trusted; else it is said, and removed, as `newest` has it."""
        return self._trusted(self.folder / name, complain)

    def _trusted(self, path: Path, complain: Callable[[str], None]) -> tuple[Arrays, Facts] | None:
        try:
            return self._read(path)
        except (OSError, ValueError) as error:
            complain(f"checkpoint {path.name[:24]}… is not used: {error}")
            remove(path)
            return None

    def _read(self, path: Path) -> tuple[Arrays, Facts]:
        return opened(path, _name(path)["hash"], self.facts, self.made_by)

    def clear(self) -> None:
        """Remove the cohort's checkpoints."""
        for path in self.files():
            remove(path)


def sealed(arrays: Arrays, facts: Facts, made_by: Mapping[str, str]) -> bytes:
    """A checkpoint as the content of a file."""
    from safetensors.numpy import save

    return save(dict(arrays), metadata={"facts": json.dumps(dict(facts)), "made_by": json.dumps(dict(made_by))})


def opened(path: Path, digest: str, of: Facts, by: Mapping[str, str]) -> tuple[Arrays, Facts]:
    """A checkpoint that a file holds, of this content, with these facts among its own, made by these versions.

    Raises ValueError, in words, for a file that is damaged, another cohort's, or of other versions.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(f"its {len(content):,} bytes do not have the hash in its name")
    facts, made_by = _header(content)
    for name, expected in of.items():
        if facts.get(name) != expected:
            raise ValueError(f"its {name} are another cohort's")
    for name, expected in by.items():
        if made_by.get(name) != expected:
            raise ValueError(f"it was made by {name} {made_by.get(name)}, this is {expected}")
    try:
        return load(content), facts
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def tidy(folder: Path, unfinished: Callable[[Iterable[str]], bool]) -> None:
    """Remove what no sweep can use: half-written files, and checkpoints of trials that are all done.

    `unfinished` says whether any of these trial ids still has to train. The folder goes with its last file.
    """
    for path, _ in _named(folder):
        with suppress(OSError, ValueError):
            if unfinished(_facts(path)["trials"]):
                continue
        remove(path)
    for partial in folder.glob("*.partial"):
        remove(partial)
    with suppress(OSError):
        folder.rmdir()


def held(folder: Path) -> Iterator[tuple[Path, Facts]]:
    """Each checkpoint of a folder whose header can be read, and the facts there."""
    for path, _ in _named(folder):
        with suppress(OSError, ValueError):
            yield path, _facts(path)


def remove(path: Path) -> None:
    """Remove a file that is of no use. Where that cannot be, it stays, of no use: a sweep does not end for it."""
    with suppress(OSError):
        path.unlink()


def _facts(path: Path) -> Facts:
    with path.open("rb") as file:
        start = file.read(8)
        return _header(start + file.read(min(int.from_bytes(start, "little"), LONGEST_HEADER)))[0]


def _header(content: bytes) -> tuple[Facts, Mapping[str, Any]]:
    """What a safetensors header, JSON with its length in the first eight bytes, says of a cohort and of who made it.

    Raises ValueError where it says nothing of the kind.
    """
    length = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + length])["__metadata__"]
        facts, made_by = (dict(json.loads(header[part])) for part in ("facts", "made_by"))
        facts |= {"trials": [*map(_id, facts["trials"])], "step": int(facts["step"])}
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError("its header says nothing of a cohort") from error
    return facts, made_by


def _id(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _named(folder: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    with suppress(OSError):
        for path in sorted(folder.iterdir()):
            if match := NAME.fullmatch(path.name):
                yield path, match


def _name(path: Path) -> re.Match[str]:
    match = NAME.fullmatch(path.name)
    assert match is not None
    return match


def _sync(folder: Path) -> None:
    """Make a rename survive a power cut."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)

"""Weights that studies keep: a folder of files beside the store, whose hashes say which of them are still somebody's.

    results/thalweg.sqlite
    results/thalweg.weights/TRIAL-HASH.safetensors
    results/thalweg.weights/TRIAL-STEP-HASH.safetensors     a state, see `lasting`; there as long as its trial is stored
    results/thalweg.weights/frozen/HASH.safetensors         what is frozen, once for all; as long as a file names it

| the file's trial        | the file                                                                      |
|-------------------------|-------------------------------------------------------------------------------|
| done, with this hash    | stays                                                                         |
| stored, and not done    | stays: workers write first, and who goes on from a checkpoint does not again  |
| done, with another hash | goes                                                                          |
| not stored              | goes                                                                          |

Deletes and copies files; what they hold is known to `weights`. Knows no SQL and no torch.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from thalweg.runner.base.whole import write_whole
from thalweg.runner.facts.weights import Size, Weights
from thalweg.runner.train.weights import FROZEN, file_of, frozen_file, names_frozen, read, read_frozen

NAME = re.compile(r"(?P<trial>[0-9a-f]{64})-((?P<step>\d{1,8})-)?(?P<hash>[0-9a-f]{64})\.safetensors")

Hashes = Callable[[Iterable[str]], Mapping[str, str | None]]
"""Trial ids -> of those that are stored the weight hash, None of those that are not done."""


def folder_of(store: Path) -> Path:
    """Where the kept weights of a store's trials are."""
    return store.with_suffix(".weights")


@dataclass(frozen=True)
class File:
    """A file of kept weights, as its name has it; with a step, of a state, whose hash is that of the file's content."""

    path: Path
    trial_id: str
    hash: str
    step: int | None = None

    @property
    def bytes(self) -> int:
        """How large it is; nothing once it is gone."""
        return _bytes(self.path)

    @property
    def frozen(self) -> str | None:
        """The hash of the frozen parameters that it names, if it names any."""
        return None if self.step is not None else names_frozen(self.path)


@dataclass(frozen=True)
class Frozen:
    """A file of frozen parameters, as its name has it."""

    path: Path
    hash: str

    @property
    def bytes(self) -> int:
        """How large it is; nothing once it is gone."""
        return _bytes(self.path)


def _bytes(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


def frozen(folder: Path) -> list[Frozen]:
    """All files of frozen parameters in a folder of kept weights."""
    return [Frozen(path, path.stem) for path in sorted((folder / FROZEN).glob("*.safetensors"))]


def files(folder: Path) -> list[File]:
    """All files of kept weights in a folder; none where there is no such folder."""
    return list(_files(folder))


def _files(folder: Path) -> Iterator[File]:
    with suppress(FileNotFoundError, NotADirectoryError):
        for path in sorted(folder.iterdir()):
            if name := NAME.fullmatch(path.name):
                yield File(path, name["trial"], name["hash"], int(name["step"]) if name["step"] else None)


def kept(folder: Path, trial_id: str, weight_hash: str | None) -> Weights | None:
    """A trial's kept weights, if there are any. Raises OSError, or ValueError in words, for a file of no use."""
    path = file_of(folder, trial_id, weight_hash or "")
    return read(path, trial_id, weight_hash) if weight_hash and path.exists() else None


def lacking(folder: Path, hashes: Mapping[str, str | None]) -> list[str]:
    """Ids of done trials of which no file is here."""
    return [trial_id for trial_id, known in hashes.items() if known and not file_of(folder, trial_id, known).exists()]


def size_of(folder: Path, hashes: Mapping[str, str | None]) -> Size | None:
    """What those of these trials take that were kept; None where none were."""
    sizes: Counter[str] = Counter()
    shared = set()
    for file in files(folder):
        if file.trial_id in hashes:
            sizes[file.trial_id] += file.bytes
            shared.add(file.frozen)
    once = sum(part.bytes for part in frozen(folder) if part.hash in shared)
    return Size(round(mean(sizes.values())), once) if sizes else None


def tidy(folder: Path, hashes: Hashes, *, alone: bool = True) -> int:
    """Remove what is nobody's any more; return the bytes. alone: no sweep is at work, so half-written files go too."""
    found = files(folder)
    known = hashes(file.trial_id for file in found)
    removed = _remove(file for file in found if _is_nobodys(file, known))
    if alone:
        removed += _remove(_unnamed(folder))
        for partial in (*folder.glob("*.partial"), *folder.glob(f"{FROZEN}/*.partial")):
            partial.unlink(missing_ok=True)
    for empty in (folder / FROZEN, folder):
        with suppress(OSError):
            empty.rmdir()
    return removed


def _unnamed(folder: Path) -> list[Frozen]:
    """Frozen parameters that no trial's file names. While a sweep is at work the file that does may still be coming."""
    found = frozen(folder)
    named = {file.frozen for file in files(folder)} if found else set()
    return [part for part in found if part.hash not in named]


def only(folder: Path, of: Collection[str], chosen: Collection[str], *, alone: bool = True) -> int:
    """Of what is kept of some trials keep only that of the chosen; return of how many it went. alone: as in `tidy`."""
    gone = [file for file in files(folder) if file.trial_id in of and file.trial_id not in chosen]
    _remove(gone)
    if alone:
        _remove(_unnamed(folder))
    return len({file.trial_id for file in gone})


def faults(folder: Path, hashes: Hashes) -> list[str]:
    """What is wrong with the files, a sentence each: each is read whole and hashed."""
    found = files(folder)
    known, wrong = hashes(file.trial_id for file in found), []
    for part in _unnamed(folder):
        wrong.append(f"frozen parameters {part.hash[:8]}… are of no trial's kept weights; thalweg gc removes them")
    for file in found:
        try:
            _check(file)
        except (OSError, ValueError) as error:
            wrong.append(f"kept weights {file.path.name[:8]}…: {error}; remove {file.path}, and they are trained again")
        if _is_nobodys(file, known):
            wrong.append(f"kept weights {file.path.name[:8]}… are of no trial as it is stored; thalweg gc removes them")
    return wrong


def bring(source: Path, folder: Path, hashes: Hashes) -> tuple[int, list[str]]:
    """Copy the weights of trials as they are stored here; return how many, and what was wrong with others."""
    found = files(source)
    known = hashes(file.trial_id for file in found)
    theirs = {file.trial_id for file in found if file.step is None and known.get(file.trial_id) == file.hash}
    taken, wrong = set(), []
    for file in (file for file in found if file.trial_id in theirs):
        path = folder / file.path.name
        if path.exists():
            continue
        try:
            _check(file)
            folder.mkdir(exist_ok=True)
            if file.frozen:
                _take(frozen_file(source, file.frozen), frozen_file(folder, file.frozen))
            write_whole(path, file.path.read_bytes())
            taken.add(file.trial_id)
        except (OSError, ValueError) as error:
            wrong.append(f"the kept weights of {file.trial_id[:8]} are not taken: {error}")
    return len(taken), wrong


def _take(source: Path, path: Path) -> None:
    """Copy frozen parameters, unless they are there and sound."""
    with suppress(OSError, ValueError):
        read_frozen(path)
        return
    path.parent.mkdir(exist_ok=True)
    write_whole(path, source.read_bytes())


def _is_nobodys(file: File, known: Mapping[str, str | None]) -> bool:
    if file.step is not None:
        return file.trial_id not in known
    return file.trial_id not in known or known[file.trial_id] not in (None, file.hash)


def _check(file: File) -> None:
    """Raise OSError or ValueError for a file that is not what its name says."""
    if file.step is None:
        read(file.path, file.trial_id, file.hash)
    elif hashlib.sha256(file.path.read_bytes()).hexdigest() != file.hash:
        raise ValueError("its content does not have the hash in its name")


def _remove(gone: Iterable[File | Frozen]) -> int:
    removed = 0
    for file in gone:
        removed += file.bytes
        file.path.unlink(missing_ok=True)
    return removed

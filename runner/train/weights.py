"""Final weights of trials, as files in a folder.

    FOLDER/TRIAL-HASH.safetensors
    FOLDER/frozen/HASH.safetensors

TRIAL is the trial's full id, HASH that of its weights, as the store has it. A file holds what the hash is of, and in
its header the names of the module's state_dict, with a hash of their own. What is frozen lies in a file that all trials
share that have it alike, named by its own hash, which their headers name; it is there before any that names it. Each is
written under another name, synced and renamed, and read only whole: all that it holds is hashed again, so that no other
trial's weights, nor damaged ones, are taken for these. Knows no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from thalweg.runner.base.canonical import tagged_hash
from thalweg.runner.base.regular import open_regular
from thalweg.runner.base.whole import write_whole
from thalweg.runner.facts.weights import Weights, weight_hash

if TYPE_CHECKING:
    import numpy as np

TAG = "thalweg.weights.header.v1"
FROZEN = "frozen"
LONGEST_HEADER = 100_000_000  # as safetensors itself has it


def file_of(folder: Path, trial_id: str, weight_hash: str) -> Path:
    """Where a trial's weights of this hash are, or would be."""
    return folder / f"{trial_id}-{weight_hash}.safetensors"


def frozen_file(folder: Path, digest: str) -> Path:
    """Where frozen parameters of this hash are, or would be."""
    return folder / FROZEN / f"{digest}.safetensors"


def write(folder: Path, weights: Weights) -> Path:
    """Write a trial's weights into a folder, and return the file: of those that are `unlike` only why they are.

    Raises OSError.
    """
    from safetensors.numpy import save

    about: dict[str, object] = {
        "trial": weights.trial_id,
        "names": weights.names,
        "unlike": weights.unlike,
        "more": weights.more,
    }
    arrays = {} if weights.unlike else dict(weights.arrays)
    folder.mkdir(exist_ok=True)  # not what it lies in: where that is missing, it is another machine's
    if frozen := {name: arrays.pop(name) for name in weights.frozen if name in arrays}:
        about[FROZEN] = _write_frozen(folder, frozen)
    header = {"thalweg": json.dumps(about), "check": tagged_hash(TAG, about)}
    path = file_of(folder, weights.trial_id, weights.hash)
    write_whole(path, save(arrays, metadata=header))
    return path


def _write_frozen(folder: Path, arrays: dict[str, np.ndarray]) -> str:
    """Write frozen parameters, unless they are there and sound; return their hash."""
    from safetensors.numpy import save

    digest, content = weight_hash(arrays), save(arrays)
    path = frozen_file(folder, digest)
    path.parent.mkdir(exist_ok=True)
    if not path.exists() or path.read_bytes() != content:
        write_whole(path, content)
    return digest


def read_frozen(path: Path) -> dict[str, np.ndarray]:
    """Return frozen parameters. Raises OSError, and ValueError, in words, for others than those of its name's hash."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        with open_regular(path) as file:
            arrays = load(file.read())
    except FileNotFoundError as error:
        raise ValueError(f"its frozen parameters, {path}, are not there") from error
    except SafetensorError as error:
        raise ValueError(f"its frozen parameters, {path}, are damaged") from error
    if weight_hash(arrays) != path.stem:
        raise ValueError(f"its frozen parameters, {path}, are damaged")
    return arrays


def names_frozen(path: Path) -> str | None:
    """The hash of the frozen parameters that a trial's file names; None where it names none, or cannot be read."""
    try:
        with open_regular(path) as file:
            start = file.read(8)
            header = _header(start + file.read(min(int.from_bytes(start, "little"), LONGEST_HEADER)))
        named = json.loads(header["thalweg"]).get(FROZEN)
    except (OSError, KeyError, TypeError, AttributeError, ValueError):
        return None
    return named if isinstance(named, str) else None


def read(path: Path, trial_id: str, weight_hash: str | None = None) -> Weights:
    """Return a trial's weights. weight_hash: what theirs must be; else that of the file's name.

    Raises OSError, and ValueError, in words, for a file that does not hold these weights.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    with open_regular(path) as file:
        content = file.read()
    try:
        header = _header(content)
        arrays, about = load(content), json.loads(header["thalweg"])
        said = header["check"]
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError("it is not a file of weights, or damaged") from error
    if said != tagged_hash(TAG, about):
        raise ValueError("its header is damaged")
    frozen = read_frozen(frozen_file(path.parent, about[FROZEN])) if FROZEN in about else {}
    whole = arrays | frozen
    weights = Weights(about["trial"], whole, about["names"], about["unlike"], about["more"], frozenset(frozen))
    expected = weight_hash or path.stem.rpartition("-")[2]
    if weights.trial_id != trial_id:
        raise ValueError(f"it holds the weights of {weights.trial_id[:8]}")
    if weights.hash != expected and not weights.unlike:
        raise ValueError(f"the weights in it have the hash {weights.hash[:16]}…, not {expected[:16]}…")
    return weights


def _header(content: bytes) -> Mapping[str, str]:
    """What is ours of a safetensors header: JSON, its length in the first eight bytes."""
    length = int.from_bytes(content[:8], "little")
    return dict(json.loads(content[8 : 8 + length])["__metadata__"])

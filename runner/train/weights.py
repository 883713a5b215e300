"""Final weights of trials, as files in a folder.

    FOLDER/TRIAL-HASH.safetensors

TRIAL is the trial's full id, HASH that of its weights, as the store has it. A file holds what the hash is of, and in
its header the names of the module's state_dict, with a hash of their own. It is written under another name, synced and
renamed, and read only whole: all that it holds is hashed again, so that no other trial's weights, nor damaged ones, are
taken for these. Knows no torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from thalweg.runner.base.canonical import tagged_hash
from thalweg.runner.base.regular import open_regular
from thalweg.runner.base.whole import write_whole
from thalweg.runner.facts.weights import Weights

TAG = "thalweg.weights.header.v1"


def file_of(folder: Path, trial_id: str, weight_hash: str) -> Path:
    """Where a trial's weights of this hash are, or would be."""
    return folder / f"{trial_id}-{weight_hash}.safetensors"


def write(folder: Path, weights: Weights) -> Path:
    """Write a trial's weights into a folder, and return the file: of those that are `unlike` only why they are.

    Raises OSError.
    """
    from safetensors.numpy import save

    about = {"trial": weights.trial_id, "names": weights.names, "unlike": weights.unlike, "more": weights.more}
    header = {"thalweg": json.dumps(about), "check": tagged_hash(TAG, about)}
    content = save({} if weights.unlike else dict(weights.arrays), metadata=header)
    folder.mkdir(exist_ok=True)  # not what it lies in: where that is missing, it is another machine's
    path = file_of(folder, weights.trial_id, weights.hash)
    write_whole(path, content)
    return path


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
        raise ValueError("it is no file of weights, or damaged") from error
    if said != tagged_hash(TAG, about):
        raise ValueError("its header is damaged")
    weights = Weights(about["trial"], arrays, about["names"], about["unlike"], about["more"])
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

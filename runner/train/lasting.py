"""States of trials from which longer ones go on, as files in the folder of kept weights.

    FOLDER/TRIAL-STEP-HASH.safetensors

A file is a checkpoint of one trial: slots, buffers and all, and its losses so far. Like others it has the SHA-256 of
its content in its name, and says by what versions, device, executor and layout it was made, on which bits depend.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from thalweg.runner.base.whole import write_whole
from thalweg.runner.train.checkpoints import Arrays, Facts, opened, sealed
from thalweg.runner.train.kept import files


def write(folder: Path, trial_id: str, content: tuple[Arrays, Facts], made_by: Mapping[str, str]) -> Path:
    """Write a trial's state in place of an earlier one. Raises OSError."""
    arrays, facts = content
    whole = sealed(arrays, facts, made_by)
    folder.mkdir(exist_ok=True)
    path = folder / f"{trial_id}-{facts['step']}-{hashlib.sha256(whole).hexdigest()}.safetensors"
    write_whole(path, whole)
    for earlier in folder.glob(f"{trial_id}-*-*.safetensors"):
        if earlier != path:
            earlier.unlink(missing_ok=True)
    return path


def read(folder: Path, trial_id: str, made_by: Mapping[str, str]) -> tuple[Arrays, Facts]:
    """A trial's state. Raises OSError, or ValueError in words, for one that is damaged, not here, or made otherwise."""
    for path in folder.glob(f"{trial_id}-*-*.safetensors"):
        return opened(path, path.stem.rpartition("-")[2], {"trials": [trial_id]}, made_by)
    raise ValueError(f"the state of {trial_id[:8]} is not in {folder}")


def steps_of(folder: Path) -> dict[str, int]:
    """Trial id -> the step that its state was kept at, of all that are in a folder."""
    return {file.trial_id: file.step for file in files(folder) if file.step is not None}

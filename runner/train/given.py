"""Whether a function of the user's gives the data that it gave when trials here trained: the hash of its arrays.

    results/thalweg.sqlite
    results/thalweg.given/KEY

KEY stands for what is declared of the data (function, arguments, fingerprint of files) and for the code that makes
them; the file holds the hash of what they gave first. Where that is another, something outside is in them: the time, a
network, random numbers of no seed. Knows no torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from thalweg.runner.base.canonical import as_dict, tagged_hash
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.project.code import code_of
from thalweg.runner.study.target import DatasetTarget
from thalweg.runner.study.trial import TrialConfig

LENGTH = 64
SPLIT = ("kind", "train_size", "validation", "test", "label_noise", "split_seed", "augment")
"""What is done with the arrays once they are given."""


def folder_of(weights: Path) -> Path:
    """Where the hashes are, beside the folder of kept weights."""
    return weights.with_suffix(".given")


def refuse_others(folder: Path, config: TrialConfig, digest: Callable[[DatasetTarget], str]) -> None:
    """Raise ConfigError where a function gives other arrays than it did; those that it gives first are remembered.

    digest: of the arrays that it gives. Where the folder cannot be written, nothing is known and nothing refused.
    """
    data = config.dataset
    if not isinstance(data, DatasetTarget):
        return
    now, path = digest(data), folder / _key(data, config)
    with suppress(OSError):
        before = _first(path, now)
        if len(before) == LENGTH and before != now:
            said = f"{data.name} gives other arrays than when trials here trained (hash {now[:8]}, not {before[:8]})"
            why = "its arguments, its files and its code are the same, so something else is in them"
            hint = "name its files in dataset.files, or give it an argument that says which data these are: version=2"
            raise ConfigError(f"{said}: {why}", hint)


def _key(data: DatasetTarget, config: TrialConfig) -> str:
    declared = {key: value for key, value in as_dict(data).items() if key not in SPLIT}
    return tagged_hash("thalweg.given.v1", {"data": declared, "code": code_of(config)})


def _first(path: Path, digest: str) -> str:
    """What a file holds, which is made to hold this where there is none: whole, and by one process alone."""
    path.parent.mkdir(exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    aside.write_text(digest, encoding="ascii")
    try:
        with suppress(FileExistsError):
            os.link(aside, path)
        return path.read_text(encoding="ascii", errors="replace")
    finally:
        aside.unlink()

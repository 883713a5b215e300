"""What checkpoints say of trials that still train: their losses so far. It reads no weights and knows no torch.

For who watches. Nothing rests on it: unlike what training goes on from, it is not compared with the file's hash.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thalweg.runner.facts.observation import Series
from thalweg.runner.train.checkpoints import held

if TYPE_CHECKING:
    import numpy as np

BATCH_LOSS = "train/batch_loss"


def so_far(folder: Path, wanted: Iterable[str]) -> dict[str, dict[str, Series]]:
    """Return trial -> its series, by the newest checkpoint that it lives in, of those wanted that have one."""
    wanted = set(wanted)
    newest: dict[str, tuple[int, Path]] = {}
    for path, facts in held(folder):
        for trial in wanted.intersection(facts["trials"]):
            newest[trial] = max(newest.get(trial, (0, path)), (int(facts["step"]), path))
    found: dict[str, dict[str, Series]] = {}
    for path in {path for _, path in newest.values()}:
        with suppress(OSError, ValueError):  # removed meanwhile: there is a newer one
            found |= _observed(path, {trial for trial, (_, at) in newest.items() if at == path})
    return found


def _observed(path: Path, wanted: set[str]) -> dict[str, dict[str, Series]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            facts = json.loads(file.metadata()["facts"])
            names = [name for name in file.keys() if name.startswith(("val/", "step/"))]  # noqa: SIM118 - no mapping
            arrays = {name: file.get_tensor(name) for name in ("lane_of", "batch_loss", *names)}
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    living = {facts["trials"][place]: int(place) for place in arrays["lane_of"]}
    return {trial: _series(arrays, facts, living[trial]) for trial in wanted & living.keys()}


def _series(arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any], place: int) -> dict[str, Series]:
    import numpy as np

    series = {BATCH_LOSS: Series(np.arange(facts["step"]), arrays["batch_loss"][:, place])}
    for name, values in arrays.items():
        if name.startswith("step/"):
            series[f"train/{name.removeprefix('step/')}"] = Series(np.arange(len(values)), values[:, place])
        elif name.startswith("val/"):
            series[name] = Series(np.array(facts["evaluated"]), values[:, place])
    return series

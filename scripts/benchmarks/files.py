"""A workload's data, batches and first weights as plain files, for sides that know nothing of thalweg.

Made before the clock starts, so that every side trains on the same examples in the same order from the same weights.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from thalweg.runner.study.trial import Trial


def write_files(folder: Path, trial: Trial) -> Path:
    """Write `data.npz` (x, y of train and validation), `rows.npy` `[T, B]`, and `init.npz`, weights in model order."""
    import torch

    from thalweg.runner.engine.prepare import prepared
    from thalweg.runner.engine.streams import batch_indices
    from thalweg.runner.engine.workload import initialised

    config = trial.config
    workload = prepared(config, torch.device("cpu"))
    arrays: dict[str, Any] = {}
    for name in ("train", "val"):
        split = workload.splits[name]
        x, y = split.take(torch.arange(split.rows))
        arrays |= {f"{name}_x": x.flatten(1).numpy(), f"{name}_y": y.numpy()}
    np.savez(folder / "data.npz", **arrays)
    rows = batch_indices(config.seed, 0, config.budget.steps, config.budget.batch_size, workload.splits["train"].rows)
    np.save(folder / "rows.npy", rows)
    weights = initialised(config, workload.extent).parameters()
    np.savez(folder / "init.npz", *[weight.detach().numpy() for weight in weights])
    return folder


def losses_in(folder: Path) -> dict[str, tuple[list[float], float]]:
    """lr, as it was typed -> (all batch losses, time at which training began), as plain sides leave them."""
    found = {}
    for path in folder.rglob("losses.json"):
        said = json.loads(path.read_text())
        found[repr(said["lr"])] = (said["losses"], said["began"])
    return found

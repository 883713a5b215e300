"""A workload whose best weight decay is known exactly, beside the model `planted`. Knows no optimizer.

The model has two parameters and returns (x₀·u, x₁·v). To train, x = (√h, 0) and y = (√h·noise, 0): the mean squared
error is ½h(u − noise)², and v has no gradient at all, so that only the decay moves it. To validate, x = (1, 1) and
y = (±√.2, r): the mean squared error over both signs is .1 + ½u² + ½(v − r)², best where v has decayed to r.
"""

from __future__ import annotations

import math

import numpy as np

from thalweg.data.arrange import VALUES, normals
from thalweg.data.schema import PlantedConfig
from thalweg.data.splits import Split, Splits

FLOOR = 0.1
"""The validation loss that nothing can lower."""
HELD_OUT = 2


def planted(config: PlantedConfig) -> Splits:
    """Return the splits: x and y float32 [N, 2]; validation and test are the two rows that say the loss exactly."""
    root = math.sqrt(config.curvature)
    noise = config.noise * normals(config.split_seed, VALUES, config.train_size)
    off = math.sqrt(2 * FLOOR)
    held_out = _split(np.ones((HELD_OUT, 2)), np.array([[off, config.target], [-off, config.target]]))
    return Splits(
        train=_split(np.tile([root, 0.0], (config.train_size, 1)), np.column_stack([root * noise, 0 * noise])),
        validation=held_out,
        test=held_out,
        kind=config.kind,
        outputs=2,
    )


def _split(x: np.ndarray, y: np.ndarray) -> Split:
    return Split(x.astype(np.float32), y.astype(np.float32))

"""Data of your own: a function that returns (x, y), or a torch Dataset. Its arguments come from conf/dataset/."""

import numpy as np


def spirals(examples: int, turns: float, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Return points in the plane, [examples, 2], and which of two spiral arms each lies on, [examples]."""
    rng = np.random.default_rng(0)
    arm = rng.integers(0, 2, examples)
    radius = rng.uniform(0.1, 1.0, examples)
    angle = np.pi * (arm + 2 * turns * radius)
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return x + noise * rng.normal(size=x.shape), arm

"""Examples drawn from a rule that is known: a teacher's classes, and a noisy linear regression. Knows no file.

Validation and test are drawn first, so that they do not depend on how many examples train.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thalweg.data.arrange import NOISE, RULE, VALUES, normals, with_noise
from thalweg.data.schema import NoisyRegressionConfig, TeacherConfig
from thalweg.data.splits import Split, Splits

HELD_OUT = 2000
"""Examples to validate, and as many to test; both without noise."""


def teacher(config: TeacherConfig) -> Splits:
    """Return normal features and the largest output of a random perceptron (ReLU, one hidden layer) on them.

    Saad & Solla 1995 (teacher and student). Outputs are centred over the examples that validate, so that no class
    is rare.
    """
    x = normals(config.split_seed, VALUES, 2 * HELD_OUT + config.train_size, config.features)
    drawn = normals(config.split_seed, RULE, config.hidden, config.features + config.classes)
    first, second = drawn[:, : config.features], drawn[:, config.features :]
    outputs = np.maximum(x @ first.T / math.sqrt(config.features), 0) @ second
    y = (outputs - outputs[:HELD_OUT].mean(0)).argmax(1)
    noisy = with_noise(y[2 * HELD_OUT :], config.classes, config.label_noise, config.split_seed)
    return _splits(x, y, noisy, config, config.classes)


def noisy_regression(config: NoisyRegressionConfig) -> Splits:
    """Return normal features and a random linear function of them, of variance 1, with noise where it trains."""
    x = normals(config.split_seed, VALUES, 2 * HELD_OUT + config.train_size, config.features)
    w = normals(config.split_seed, RULE, config.features)
    y = (x @ (w / np.linalg.norm(w)))[:, None]
    noise = config.label_noise * normals(config.split_seed, NOISE, config.train_size, 1)
    return _splits(x, y.astype(np.float32), (y[2 * HELD_OUT :] + noise).astype(np.float32), config, 1)


def _splits(
    x: NDArray[np.float64],
    y: NDArray[Any],
    y_train: NDArray[Any],
    config: TeacherConfig | NoisyRegressionConfig,
    outputs: int,
) -> Splits:
    features = x.astype(np.float32)
    return Splits(
        train=Split(features[2 * HELD_OUT :], y_train),
        validation=Split(features[:HELD_OUT], y[:HELD_OUT]),
        test=Split(features[HELD_OUT : 2 * HELD_OUT], y[HELD_OUT : 2 * HELD_OUT]),
        kind=config.kind,
        outputs=outputs,
    )

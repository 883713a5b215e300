"""What a schedule spends: the sum of the rate over a trial's steps, and that of rate times decay.

At a fixed number of steps a longer warmup into a constant rate spends less of both, so that more than the beginning
differs; half a cosine after it spends as much whatever the warmup.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from thalweg.optim.schedule import FORMS
from thalweg.runner.facts.row import lookup
from thalweg.runner.show.numbers import is_number


def spent(config: Mapping[str, Any]) -> tuple[float, float]:
    """Return Σ lr and Σ lr·wd of a trial, (NaN, NaN) where its configuration has no schedule of ours.

    Independent decay is no multiple of the rate: of it the second is Σ m·wd, m the schedule's multiplier.
    """
    shape, steps, lr, wd = (
        lookup(config, key) for key in ("schedule", "budget.steps", "optimizer.lr", "optimizer.weight_decay")
    )
    if not isinstance(shape, Mapping) or shape.get("name") not in FORMS or not (is_number(steps) and is_number(lr)):
        return math.nan, math.nan
    whole = _multipliers(int(steps), tuple(sorted(shape.items())))
    wd = wd if is_number(wd) else 0.0
    return lr * whole, (wd if lookup(config, "optimizer.decay") == "independent" else lr * wd) * whole


@lru_cache(maxsize=1024)
def _multipliers(steps: int, shape: tuple[tuple[str, Any], ...]) -> float:
    name, others = dict(shape)["name"], {key: value for key, value in shape if key != "name"}
    return float(FORMS[name](np.arange(steps), steps, **others).sum())

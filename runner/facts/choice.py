"""How the trials of one group are trained: chosen once, stored, and reused, so that resuming keeps the bits."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from thalweg.runner.study.trial import Trial

LOOP_WIDTH = 8
"""Trials that a cohort of the loop holds: nothing is gained by more, and a kill loses at most one cohort."""

SMALLEST_WORTH_CUTTING = 16
"""Trials of a cohort below which it is not cut only to keep more workers busy."""

Layout = Literal["shared", "per_lane"]
"""shared: a cohort has one seed and draws each batch once. per_lane: each lane draws its own."""


@dataclass(frozen=True)
class Choice:
    """Executor, batch layout and largest cohort of a group, with the reason in words."""

    executor: str
    layout: Layout
    width: int
    reason: str


@dataclass(frozen=True)
class Bar:
    """What steps of fused trials must not take longer than, in seconds of one trial's step.

    patience: seconds after which they are given up if none was fast enough.
    """

    seconds: float
    patience: float


def layout_for(trials: Sequence[Trial]) -> Layout:
    """Share batches where a seed has trials enough to fill a cohort; else let lanes draw their own."""
    seeds = Counter(trial.config.seed for trial in trials)
    return "shared" if len(seeds) == 1 or len(trials) / len(seeds) >= 8 else "per_lane"


def pieces(trials: int, width: int, wanted: int) -> int:
    """Into how many cohorts trials that may train together are cut: none wider, and as many as wanted while wide."""
    return max(math.ceil(trials / width), min(wanted, trials // SMALLEST_WORTH_CUTTING), 1)

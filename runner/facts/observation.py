"""What training a trial yields: its outcome, final metrics, series and weight hash. Knows no torch and no store."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Metric = str
"""A final value that a study can be judged by, such as val/loss; which ones there are is up to a trial's task.

Every finished trial has the test ones too: they never choose.
"""
GUESS = "guess"
"""Stands in a metric's name in place of its split: guess/loss is what the same answer to every example scores."""


class Outcome(StrEnum):
    """How a trial ended. Diverged is a result, not an error; failed is retried by the next sweep."""

    FINISHED = "finished"
    DIVERGED = "diverged"
    PRUNED = "pruned"
    FAILED = "failed"

    @property
    def is_done(self) -> bool:
        """Whether a sweep has nothing left to do for a trial that ended so."""
        return self in (Outcome.FINISHED, Outcome.DIVERGED)


@dataclass(frozen=True)
class Series:
    """A metric over training: `values[i]` was observed before optimizer step `steps[i]` (0-based).

    steps: int64 [n], ascending; values: float64 [n], finite except possibly the last of a diverged trial.
    """

    steps: np.ndarray
    values: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Observations:
    """All that was observed of one trial.

    metrics holds final values and only finite ones: a diverged trial has no `val/loss`. `diverged_step` is the
    0-based step whose update was refused. `weight_hash` is of the parameters and buffers as they stood then.
    """

    trial_id: str
    outcome: Outcome
    diverged_step: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=dict)
    weight_hash: str | None = None
    error: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Reached:
    """What was observed of a trial that came to a rung and is not done: no outcome, and no final metric."""

    trial_id: str
    step: int
    series: dict[str, Series] = field(default_factory=dict)
    seconds: float = 0.0

"""The tidy table: one row a member of a study. What every reader (terminal, JSON, analysis, tracker) is given.

It knows neither SQL nor torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner.canonical import Scalar
from runner.observation import Outcome


@dataclass(frozen=True, kw_only=True)
class Row:
    """One trial as one study sees it.

    axes: every axis, var and derived key of its block -> value. metrics: final values, finite only. outcome is
    None while the trial has not been trained. `outside`: an edited YAML no longer declares it.
    """

    trial_id: str
    block: str
    axes: Mapping[str, Scalar]
    outcome: Outcome | None
    diverged_step: int | None
    metrics: Mapping[str, float]
    config: Mapping[str, Any]
    outside: bool = False
    error: str | None = None

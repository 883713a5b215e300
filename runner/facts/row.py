"""The tidy table: one row a member of a study. What terminal, JSON and analysis are given.

It knows neither SQL nor torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from thalweg.runner.base.canonical import Scalar
from thalweg.runner.facts.observation import Outcome
from thalweg.runner.study.stop import Pruned


@dataclass(frozen=True, kw_only=True)
class Row:
    """One trial as one study sees it.

    axes: every axis, var and derived key of its block -> value. metrics: final values, finite only. outcome
    is None while the trial has not been trained. `outside`: an edited YAML no longer declares it.
    `ended`: when, ISO 8601 in UTC; None while untrained.
    `pruned`: where the study's own rule stopped it; its outcome says so too, in this study alone.
    `overridden`: a command line with overrides declared it, whether or not the YAML does too.
    """

    trial_id: str
    block: str
    axes: Mapping[str, Scalar]
    outcome: Outcome | None
    diverged_step: int | None
    metrics: Mapping[str, float]
    config: Mapping[str, Any]
    outside: bool = False
    overridden: bool = False
    error: str | None = None
    ended: str | None = None
    pruned: Pruned | None = None

    @property
    def has_ended(self) -> bool:
        """Whether it was trained to an end, whatever that was; one that was stopped early was not."""
        return self.outcome is not None and self.outcome is not Outcome.PRUNED


def lookup(config: Mapping[str, Any], key: str) -> Any:
    """Return the value of a dotted key, None if there is none."""
    value: Any = config
    try:
        for part in key.split("."):
            value = value[part]
    except (KeyError, TypeError):  # nothing there, or a value that has no keys
        return None
    return value


@dataclass(frozen=True)
class TrialStatus:
    """How far a trial is: its outcome (None while untrained) and the names of the final metrics it has.

    left: it was trained again since, and ended with other bits; so what is stored was left as it was.
    """

    outcome: Outcome | None
    metrics: frozenset[str] = frozenset()
    left: bool = False

    def is_done(self, required: str) -> bool:
        """Whether nothing is left to train for a study that asks for the final metric `required`.

        | outcome            | has the metric | done                                       |
        |--------------------|----------------|--------------------------------------------|
        | finished           | yes            | yes                                        |
        | finished           | no             | no: measured again; yes, if that was tried |
        | diverged           | either         | yes                                        |
        | pruned, failed, no | either         | no                                         |
        """
        if self.outcome is Outcome.FINISHED:
            return required in self.metrics or self.left
        return self.outcome is Outcome.DIVERGED

    def lacks(self, required: str) -> bool:
        """Whether it will not have the metric: training it again gave other bits."""
        return self.outcome is Outcome.FINISHED and self.left and required not in self.metrics

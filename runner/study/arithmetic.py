"""Repairs after which some configurations train, read or evaluate to other numbers, and which configurations these are.

A trial that a repair touches is another trial than before: its configuration carries the number of the last such
repair. So it has an id of its own and is missing until it is trained; the old one stays stored, outside the study. A
trial that none touches carries 0, which ids leave out: they hold.

To add one: a row at the end of `REPAIRS`, with the next number, and a test with a store of before. Where a
configuration does not say whether it is touched (it knows not what a user's model does), touch too many, not too few.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from thalweg.runner.study.trial import Trial, TrialConfig


@dataclass(frozen=True)
class Repair:
    """number: from 1, rising. what: what went wrong before, in words that follow "trained before this was mended:"."""

    number: int
    what: str
    touches: Callable[[TrialConfig], bool]


REPAIRS: tuple[Repair, ...] = ()


def stamped(config: TrialConfig) -> TrialConfig:
    """Return a configuration as it trains today: with the number of the last repair that touches it."""
    number = max((repair.number for repair in REPAIRS if repair.touches(config)), default=0)
    return config if config.arithmetic == number else replace(config, arithmetic=number)


def earlier(trial: Trial) -> list[tuple[Trial, Repair]]:
    """Return a trial as it was before each repair that touches it, and that repair; the oldest first."""
    found, before = [], 0
    for repair in REPAIRS:
        if repair.number <= trial.config.arithmetic and repair.touches(trial.config):
            found.append((Trial(replace(trial.config, arithmetic=before)), repair))
            before = repair.number
    return found

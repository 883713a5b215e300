"""Where series of two trials, or of one trained twice, part: the first step and quantity that differ. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from thalweg.runner.facts.observation import Series


@dataclass(frozen=True)
class Difference:
    """quantity: the name of what differs; step: the first at which it does. then, now: its values, as text."""

    quantity: str
    step: int
    then: str
    now: str

    def __str__(self) -> str:
        return f"{self.quantity} at step {self.step:,} was {self.then} and is {self.now}"


def first_difference(then: Mapping[str, Series], now: Mapping[str, Series]) -> Difference | None:
    """The first point at which series of the same name differ."""
    found = [each for name in sorted(then.keys() & now.keys()) if (each := _difference(name, then[name], now[name]))]
    return min(found, key=lambda each: each.step, default=None)


def _difference(name: str, then: Series, now: Series) -> Difference | None:
    steps, at_then, at_now = np.intersect1d(then.steps, now.steps, assume_unique=True, return_indices=True)
    a, b = then.values[at_then], now.values[at_now]
    differ = np.flatnonzero((a != b) & ~(np.isnan(a) & np.isnan(b)))
    if len(differ):
        at = differ[0]
        return Difference(name, int(steps[at]), repr(float(a[at])), repr(float(b[at])))
    if name.startswith("train/") and len(then.steps) != len(now.steps):
        alone = np.setxor1d(then.steps, now.steps)
        words = ("there", "not there") if alone[0] in then.steps else ("not there", "there")
        return Difference(name, int(alone[0]), *words)
    return None

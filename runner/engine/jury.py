"""Whether the first steps of a fused cohort, as they really are, take no longer than the loop was seen to.

They are taken in small pieces, so that little is lost by those that are slow. Where a block's steps are cut changes no
bit of it. Knows neither store nor schedule.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from thalweg.runner.engine.timing import seconds_of
from thalweg.runner.facts.choice import Bar

PIECES = (1, 1, 1, 1, 2, 4, 8, 8)
"""Steps that are timed together, one piece after another."""
UNTIMED = 2
"""Pieces that do not count: a recording's first step records, and its second one is done twice to be checked."""


class TooSlow(Exception):  # noqa: N818
    """The steps are slower than the bar. speed: of the bar's."""

    def __init__(self, speed: float) -> None:
        super().__init__(f"{speed:.2f}")
        self.speed = speed


class Jury:
    """Steps of a cohort until they are found to be as fast as the bar, when `held` is called, or TooSlow is raised."""

    def __init__(self, bar: Bar, device: torch.device, held: Callable[[], None]) -> None:
        self.bar, self.device, self.held = bar, device, held
        self.decided = False
        self.seconds: list[float] = []  # of a step of one trial
        self.spent = 0.0

    def advance(self, run: Callable[[int, int], Tensor], start: int, stop: int, trials: int) -> Tensor:
        """Run the steps of a block for so many trials; their losses."""
        losses = []
        while start < stop and not self.decided:
            end = min(stop, start + PIECES[len(self.seconds)])
            took = seconds_of(self.device, lambda start=start, end=end: losses.append(run(start, end)))  # type: ignore[misc]
            self.spent += took
            self._hear(took / (end - start) / trials)
            start = end
        if start < stop:
            losses.append(run(start, stop))
        return torch.cat(losses) if len(losses) > 1 else losses[0]

    def end(self) -> None:
        """Take what was not found slow until its end for fast enough."""
        if not self.decided:
            self.decided = True
            self.held()

    def _hear(self, seconds: float) -> None:
        self.seconds.append(seconds)
        counted = self.seconds[UNTIMED:]
        if not counted:
            return
        if min(counted) <= self.bar.seconds:
            self.end()
        elif len(self.seconds) == len(PIECES) or self.spent > self.bar.patience:
            raise TooSlow(self.bar.seconds / min(counted))

"""The schedules of optim/schedule.py as torch LR schedulers; they hold no formula of their own."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Literal

import numpy as np
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from thalweg.optim import schedule
from thalweg.optim.duration import in_steps, unit_of

FORMS: dict[str, Callable[..., np.ndarray]] = {
    "warmup_cosine": schedule.warmup_cosine,
    "linear": schedule.linear,
    "constant": schedule.constant,
    "inverse_sqrt": schedule.inverse_sqrt,
    "wsd": schedule.wsd,
    "one_cycle": schedule.one_cycle,
}
DURATIONS = ("warmup", "cooldown")


class ScheduledLR(LRScheduler):
    """Any schedule of optim/schedule.py by its name: ScheduledLR(optimizer, 1000, "wsd", warmup="5%", cooldown=200).

    `shape` are the arguments of the closed form. A warmup or cooldown is steps (30), a share of the run ("5%") or
    epochs ("2ep", with `steps_per_epoch`), rounded up to whole steps; floor and start are shares of the base rate.

    Call `step()` after each optimizer step. The first step is taken at the schedule's first value, not at the base
    rate; from step `total` on the rate stays where the schedule ends. Writes each group's "lr" (its own base rate times
    m) and "multiplier" (m, which independent decay follows). ValueError, with the optimizer as it was, for a warmup
    longer than the run and for a share outside [0, 1].
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total: int,
        form: str,
        *,
        steps_per_epoch: float | None = None,
        last_epoch: int = -1,
        **shape: Any,
    ) -> None:
        if form not in FORMS:
            raise ValueError(f"there is no schedule {form!r}; known: {', '.join(FORMS)}")
        self.total, self.form = total, form
        self.shape = {
            name: _steps(name, value, total, steps_per_epoch) if name in DURATIONS else value
            for name, value in shape.items()
        }
        self._multiplier_at(0)  # raises before the optimizer is touched
        super().__init__(optimizer, last_epoch)

    @property
    def multiplier(self) -> float:
        """The schedule's m at the coming step."""
        return self._multiplier_at(self.last_epoch)

    def _multiplier_at(self, step: int) -> float:
        return float(FORMS[self.form](step, self.total, **self.shape))

    def get_lr(self) -> list[float | Tensor]:
        """Return each group's rate at the coming step."""
        return [base * self.multiplier for base in self.base_lrs]

    def step(self, epoch: int | None = None) -> None:
        """Move to the next step and write every group's rate and multiplier; a group that joined has its own rate."""
        for group in self.optimizer.param_groups[len(self.base_lrs) :]:
            self.base_lrs.append(group.setdefault("initial_lr", deepcopy(group["lr"])))
        super().step(epoch)
        for group in self.optimizer.param_groups:
            group["multiplier"] = self.multiplier


class WarmupCosine(ScheduledLR):
    """Linear warmup over `warmup` steps, then half a cosine from the base rate to `floor` times it.

    warmup: steps (30), a share of the run ("5%") or epochs ("2ep", with `steps_per_epoch`). start, offset: in step t
    the warmup is at start + (1−start)·(t+offset)/warmup times the base rate. The rest as `ScheduledLR`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total: int,
        warmup: int | str,
        *,
        floor: float = 0.0,
        start: float = 0.0,
        offset: Literal[0, 1] = 1,
        steps_per_epoch: float | None = None,
        last_epoch: int = -1,
    ) -> None:
        super().__init__(
            optimizer,
            total,
            "warmup_cosine",
            steps_per_epoch=steps_per_epoch,
            last_epoch=last_epoch,
            warmup=warmup,
            floor=floor,
            start=start,
            offset=offset,
        )


def _steps(name: str, duration: int | str, total: int, steps_per_epoch: float | None) -> int:
    """Return a duration in steps; ValueError for one that cannot be counted."""
    if isinstance(duration, int) and not isinstance(duration, bool):
        return duration
    unit = unit_of(duration) if isinstance(duration, str) else None
    if unit is None:
        raise ValueError(
            f'{name} is {duration!r}; it should be steps (30), a share of the run ("5%") or epochs ("2ep")'
        )
    per_unit = total if unit == "%" else steps_per_epoch
    if per_unit is None:
        raise ValueError(f"{name} is {duration!r}, and steps_per_epoch is not given; give it, or count in steps")
    return in_steps(str(duration), per_unit)

"""The schedules of optim/schedule.py as torch LR schedulers; they hold no formula of their own."""

from __future__ import annotations

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from optim.schedule import warmup_cosine


class WarmupCosine(LRScheduler):
    """Linear warmup over `warmup` steps, then half a cosine from the base rate to `floor` times it.

    Call `step()` after each optimizer step; the first is taken at the warmup's first value, base/warmup, and
    from step `total` on the rate stays at the floor. Writes each group's "lr" (its own base rate times m) and
    "multiplier" (m). ValueError, with the optimizer as it was, if warmup > total or floor is outside [0, 1].
    """

    def __init__(
        self, optimizer: Optimizer, total: int, warmup: int, *, floor: float = 0.0, last_epoch: int = -1
    ) -> None:
        warmup_cosine(0, total, warmup, floor)  # raises before the optimizer is touched
        self.total, self.warmup, self.floor = total, warmup, floor
        super().__init__(optimizer, last_epoch)

    @property
    def multiplier(self) -> float:
        """The schedule's m at the coming step."""
        return float(warmup_cosine(self.last_epoch, self.total, self.warmup, self.floor))

    def get_lr(self) -> list[float | Tensor]:
        """Return each group's rate at the coming step."""
        return [base * self.multiplier for base in self.base_lrs]

    def step(self, epoch: int | None = None) -> None:
        """Move to the next step and write every group's rate and multiplier."""
        super().step(epoch)
        for group in self.optimizer.param_groups:
            group["multiplier"] = self.multiplier

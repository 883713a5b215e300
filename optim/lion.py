"""Lion: the sign of an interpolated momentum, with weight decay taken off the weights.

    u ← sign(β1·m + (1−β1)·g)
    θ ← θ − lr·u − decay·θ
    m ← β2·m + (1−β2)·g

Chen et al. (2023), "Symbolic Discovery of Optimization Algorithms", arXiv:2302.06675, algorithm 2. Its decay is
coupled and acts before the step, which is the default here. All weights move by lr, so the best rate is about a
third to a tenth of AdamW's, and the best coupled decay as much larger (their section 5).

In place and without a second scratch buffer: with d = g − m, m moves by (1−β2)·d, and u is the sign of the new m
plus (β2−β1)·d.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from thalweg.optim.decay import decay_coefficient, shrink
from thalweg.optim.optimizer import RuleOptimizer

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim.optimizer import ParamsT

    from thalweg.optim.rule import Coefficients, Hyper, Slots
    from thalweg.optim.schema import DecayOn, DecayOrder, Decoupled


@dataclass(frozen=True, kw_only=True)
class LionRule:
    """θ ← θ − decay·θ − lr·sign(β1·m + (1−β1)·g); the momentum never sees the decay."""

    decay: Decoupled
    decay_order: DecayOrder
    elementwise: ClassVar[bool] = True
    slots: ClassVar[tuple[str, ...]] = ("exp_avg",)
    hyper: ClassVar[tuple[str, ...]] = ("lr", "weight_decay", "beta1", "beta2")

    def coefficients(
        self, hyper: Hyper, multiplier: np.ndarray | float, step: np.ndarray | int
    ) -> dict[str, np.ndarray]:
        """Return `rate`, `decay` and the two weights of d; `step` plays no part."""
        lr, weight_decay, beta1, beta2 = (np.asarray(hyper[name], np.float64) for name in self.hyper)
        rate = np.asarray(lr * multiplier)
        return {
            "rate": rate,
            "one_minus_beta2": np.asarray(1 - beta2),
            "beta2_minus_beta1": np.asarray(beta2 - beta1),
            "decay": decay_coefficient(self.decay, weight_decay, rate, multiplier),
        }

    def update(self, theta: Tensor, grad: Tensor, slots: Slots, c: Coefficients) -> None:
        """Apply one step in place to `theta` and `slots`; `grad` is lost."""
        if self.decay_order == "before":
            shrink(theta, c)
        mean = slots["exp_avg"]
        difference = grad.sub_(mean)
        mean.addcmul_(difference, c["one_minus_beta2"])
        direction = difference.mul_(c["beta2_minus_beta1"]).add_(mean).sign_()
        theta.addcmul_(direction, c["rate"], value=-1)
        if self.decay_order == "after":
            shrink(theta, c)


class Lion(RuleOptimizer):
    """θ ← (1 − decay)·θ − lr·sign(β1·m + (1−β1)·g) as a torch.optim.Optimizer.

    decay: "coupled" (lr·weight_decay, the paper's) or "independent" (weight_decay times the schedule's multiplier, the
    rate as a share of its peak). decay_order: "before" the step or "after" it. decay_on: "all" parameters, or
    "weights" of two or more dimensions. Every argument may differ by group. Raises ValueError for a value out of range.
    """

    config_name = "lion"
    rule = LionRule
    keeps = LionRule.slots

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        *,
        weight_decay: float = 0.0,
        maximize: bool = False,
        decay: Decoupled = "coupled",
        decay_order: DecayOrder = "before",
        decay_on: DecayOn = "all",
    ) -> None:
        rates = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, rates | {"decay": decay, "decay_order": decay_order, "decay_on": decay_on})

"""AdamW: Adam with weight decay taken off the weights instead of added to the gradient.

Loshchilov & Hutter (2019), "Decoupled Weight Decay Regularization", arXiv:1711.05101. With m the schedule's
multiplier, lr the peak rate and Adam's step as in optim/adam.py at the rate lr·m:

    coupled       θ ← θ − lr·m·λ·θ      as torch.optim.AdamW
    independent   θ ← θ − m·λ·θ         as the paper's algorithm 2

`decay_order` before: decay, then Adam's step (both sources). after: Adam's step, then the new weights decay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from thalweg.optim.adam import AMSGRAD_SLOTS, HYPER, SLOTS, adam_coefficients, adam_update
from thalweg.optim.decay import decay_coefficient, shrink
from thalweg.optim.optimizer import RuleOptimizer

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim.optimizer import ParamsT

    from thalweg.optim.rule import Coefficients, Hyper, Slots
    from thalweg.optim.schema import DecayOn, DecayOrder, Decoupled


@dataclass(frozen=True, kw_only=True)
class AdamWRule:
    """θ ← θ − decay·θ, then θ ← θ − lr·m̂/(√v̂+ε) (or the other way round); the moments never see the decay."""

    decay: Decoupled
    decay_order: DecayOrder
    amsgrad: bool = False
    elementwise: ClassVar[bool] = True
    hyper: ClassVar[tuple[str, ...]] = HYPER

    @property
    def slots(self) -> tuple[str, ...]:
        """Adam's moments, and with `amsgrad` the largest second one so far."""
        return AMSGRAD_SLOTS if self.amsgrad else SLOTS

    def coefficients(
        self, hyper: Hyper, multiplier: np.ndarray | float, step: np.ndarray | int
    ) -> dict[str, np.ndarray]:
        """Return Adam's coefficients and `decay`: lr·multiplier·λ or multiplier·λ."""
        rate = np.asarray(hyper["lr"], np.float64) * multiplier
        weight_decay = np.asarray(hyper["weight_decay"], np.float64)
        decay = decay_coefficient(self.decay, weight_decay, rate, multiplier)
        return adam_coefficients(hyper, rate, step) | {"decay": decay}

    def update(self, theta: Tensor, grad: Tensor, slots: Slots, c: Coefficients) -> None:
        """Apply one step in place to `theta` and `slots`; `grad` is lost."""
        if self.decay_order == "before":
            shrink(theta, c)
        adam_update(theta, grad, slots, c)
        if self.decay_order == "after":
            shrink(theta, c)


class AdamW(RuleOptimizer):
    """θ ← (1 − decay)·θ − lr·m̂/(√v̂+ε) as a torch.optim.Optimizer; by default equal to torch.optim.AdamW.

    decay: "coupled" (lr·weight_decay) or "independent" (weight_decay times the schedule's multiplier, the rate as a
    share of its peak). decay_order: "before" the step or "after" it. decay_on: "all" parameters, or "weights" of two
    or more dimensions. Every argument may differ by group. Raises ValueError for a value out of range.
    """

    config_name = "adamw"
    rule = AdamWRule
    keeps = AMSGRAD_SLOTS

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        maximize: bool = False,
        decay: Decoupled = "coupled",
        decay_order: DecayOrder = "before",
        decay_on: DecayOn = "all",
    ) -> None:
        rates = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        options = {"amsgrad": amsgrad, "maximize": maximize}
        super().__init__(params, rates | options | {"decay": decay, "decay_order": decay_order, "decay_on": decay_on})

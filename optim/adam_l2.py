"""AdamL2: Adam with the weight decay added to the gradient, so that both moments see it.

    g ← g + λ·θ, then Adam's step as in optim/adam.py (Kingma & Ba 2015, arXiv:1412.6980)

What torch.optim.Adam(weight_decay=λ) computes. Where the gradient is small, λ cancels in m̂/√v̂: the decay then
moves a weight by about lr a step whatever λ is (Loshchilov & Hutter 2019, section 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from thalweg.optim.adam import AMSGRAD_SLOTS, HYPER, SLOTS, adam_coefficients, adam_update
from thalweg.optim.optimizer import RuleOptimizer

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim.optimizer import ParamsT

    from thalweg.optim.rule import Coefficients, Hyper, Slots
    from thalweg.optim.schema import DecayOn


@dataclass(frozen=True, kw_only=True)
class AdamL2Rule:
    """g ← g + λ·θ, then θ ← θ − lr·m̂/(√v̂+ε)."""

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
        """Return Adam's coefficients and `decay`, which is λ itself: it follows no schedule of its own."""
        rate = np.asarray(hyper["lr"], np.float64) * multiplier
        decay = np.asarray(hyper["weight_decay"], np.float64)
        return adam_coefficients(hyper, rate, step) | {"decay": decay}

    def update(self, theta: Tensor, grad: Tensor, slots: Slots, c: Coefficients) -> None:
        """Apply one step in place to `theta` and `slots`; `grad` is lost."""
        grad.addcmul_(theta, c["decay"])
        adam_update(theta, grad, slots, c)


class AdamL2(RuleOptimizer):
    """g ← g + λ·θ, then θ ← θ − lr·m̂/(√v̂+ε), as a torch.optim.Optimizer: torch.optim.Adam's weight decay.

    decay_on: "all" parameters, or "weights" of two or more dimensions. Every argument may differ by group. Raises
    ValueError for a value out of range.
    """

    config_name = "adam_l2"
    rule = AdamL2Rule
    keeps = AMSGRAD_SLOTS

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        maximize: bool = False,
        decay_on: DecayOn = "all",
    ) -> None:
        rates = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, rates | {"amsgrad": amsgrad, "maximize": maximize, "decay_on": decay_on})

"""SGD with momentum: heavy ball or Nesterov, with weight decay in any of its three conventions.

    b ← μ·b + (1−τ)·g               heavy ball (Polyak 1964), τ the dampening
    θ ← θ − lr·m·b                  or, Nesterov:  θ ← θ − lr·m·(g + μ·b)   (Sutskever et al. 2013)

with m the schedule's multiplier, lr the peak rate and b zero at the start. As in torch.optim.SGD the rate stands
outside the momentum, and τ acts from the second step on and not at all where μ is 0. Decay (optim/decay.py): l2 adds
λ·θ to g first; coupled and independent act on θ `before` the step or `after` it. Loshchilov & Hutter (2019,
algorithm 1) put the rate inside the momentum: the same while the rate is constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from thalweg.optim.decay import decay_coefficient, shrink
from thalweg.optim.optimizer import Group, RuleOptimizer

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim.optimizer import ParamsT

    from thalweg.optim.rule import Coefficients, Hyper, Rule, Slots
    from thalweg.optim.schema import Decay, DecayOn, DecayOrder


@dataclass(frozen=True, kw_only=True)
class SGDRule:
    """b ← μ·b + (1−τ)·g, then θ ← θ − lr·b; with `nesterov` θ ← θ − lr·(g + μ·b). For l2 `decay_order` is moot."""

    nesterov: bool
    decay: Decay
    decay_order: DecayOrder
    elementwise: ClassVar[bool] = True
    slots: ClassVar[tuple[str, ...]] = ("momentum_buffer",)
    hyper: ClassVar[tuple[str, ...]] = ("lr", "weight_decay", "momentum", "dampening")

    def coefficients(
        self, hyper: Hyper, multiplier: np.ndarray | float, step: np.ndarray | int
    ) -> dict[str, np.ndarray]:
        """Return `rate` (lr·multiplier), `momentum`, `gain` (1−τ, at first 1) and `decay`."""
        lr, weight_decay, momentum, dampening = (np.asarray(hyper[name], np.float64) for name in self.hyper)
        rate = np.asarray(lr * multiplier)
        undamped = (np.asarray(step) == 0) | (momentum == 0)
        return {
            "rate": rate,
            "momentum": momentum,
            "gain": np.where(undamped, 1.0, 1 - dampening),
            "decay": decay_coefficient(self.decay, weight_decay, rate, multiplier),
        }

    def update(self, theta: Tensor, grad: Tensor, slots: Slots, c: Coefficients) -> None:
        """Apply one step in place to `theta` and `slots`, which may be none without momentum; `grad` is lost."""
        if self.decay == "l2":
            grad.addcmul_(theta, c["decay"])
        elif self.decay_order == "before":
            shrink(theta, c)
        buffer = slots.get("momentum_buffer")
        if buffer is not None:
            buffer.mul_(c["momentum"]).addcmul_(grad, c["gain"])
        direction = grad if buffer is None else grad.addcmul_(buffer, c["momentum"]) if self.nesterov else buffer
        theta.addcmul_(direction, c["rate"], value=-1)
        if self.decay != "l2" and self.decay_order == "after":
            shrink(theta, c)


class SGDMomentum(RuleOptimizer):
    """b ← μ·b + (1−τ)·g, θ ← θ − lr·b as a torch.optim.Optimizer; by default equal to torch.optim.SGD.

    decay: "l2" (added to the gradient), "coupled" (lr·weight_decay off the weights) or "independent"
    (weight_decay times the schedule's multiplier, the rate as a share of its peak). decay_order: "before" the step
    or "after" it; moot for l2. decay_on: "all" parameters, or "weights" of two or more dimensions. Every argument
    may differ by group. Raises ValueError for a value out of range and, as torch, for Nesterov without momentum or
    with dampening.
    """

    config_name = "sgd"
    rule = SGDRule
    keeps = SGDRule.slots

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        *,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        maximize: bool = False,
        decay: Decay = "l2",
        decay_order: DecayOrder = "before",
        decay_on: DecayOn = "all",
    ) -> None:
        rates = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        options = {"nesterov": nesterov, "maximize": maximize}
        super().__init__(params, rates | options | {"decay": decay, "decay_order": decay_order, "decay_on": decay_on})

    def _slots(self, rule: Rule, hyper: dict[str, float]) -> tuple[str, ...]:
        return rule.slots if hyper["momentum"] else ()  # so that momentum switched on begins with the next gradient

    def _fault(self, group: Group) -> str | None:
        fault = super()._fault(group)
        if fault is None and group["nesterov"] and not (group["momentum"] > 0 and group["dampening"] == 0):
            seen = f"momentum {group['momentum']} and dampening {group['dampening']}"
            return f"nesterov is True with {seen}; Nesterov momentum requires a momentum and zero dampening"
        return fault

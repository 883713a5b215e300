"""The scale of each trial's loss: what its gradient is multiplied by on its way back, so that little of it is lost.

A number below 6e-8 is zero in half precision, one above 65,504 infinite. So the gradient is taken of s·loss and divided
by s. Where it is not finite the trial's step is skipped, and

    s ← s/2                   where the gradient is not finite
    s ← 2·s                   after `interval` steps in a row where it is, and the count begins anew

Micikevicius et al. (2018), arXiv:1710.03740, with the constants of torch.amp.GradScaler. Knows no step and no rule.
Shapes: K trials, P parameters of a trial.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

GROWTH, BACKOFF = 2.0, 0.5


@dataclass(frozen=True)
class Scale:
    """K trials' scales, `[K]` each: `factor`, what losses are multiplied by; `good`, steps since it changed last or the
    gradient was not finite; `missed`, steps that were skipped. Written in place."""

    factor: Tensor
    good: Tensor
    missed: Tensor

    @classmethod
    def start(cls, factor_K: Tensor) -> Scale:
        """Before the first step."""
        none = torch.zeros_like(factor_K, dtype=torch.int64)
        return cls(factor_K, none, none.clone())

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Scale:
        """From tensors as a state names them."""
        return cls(*(tensors[f"scale/{name}"] for name in ("factor", "good", "missed")))

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by its name."""
        return {"factor": self.factor, "good": self.good, "missed": self.missed}

    def mapped(self, of: Callable[[Tensor], Tensor]) -> Scale:
        """The scale whose tensors `of` makes of these."""
        return Scale(of(self.factor), of(self.good), of(self.missed))

    def divide(self, grad_KP: Tensor) -> None:
        """Make a scaled gradient the loss's own, in place. As in torch by a product, which is exact for powers of 2."""
        grad_KP.mul_(self.factor.double().reciprocal().to(grad_KP.dtype)[:, None])

    def move(self, finite_K: Tensor, interval_K: Tensor) -> None:
        """Go on to the next step's scale. finite_K: whose gradient was finite."""
        good_K = torch.where(finite_K, self.good + 1, 0)
        grows_K = good_K == interval_K
        larger_K = torch.where(grows_K, self.factor * GROWTH, self.factor)
        larger_K = torch.where(larger_K.isfinite(), larger_K, self.factor)
        self.factor.copy_(torch.where(finite_K, larger_K, self.factor * BACKOFF))
        self.good.copy_(torch.where(grows_K, 0, good_K))
        self.missed.add_(~finite_K)

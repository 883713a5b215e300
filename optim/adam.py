"""The arithmetic that AdamW and AdamL2 share: moments, bias corrections, step. It knows no weight decay.

Adam (Kingma & Ba 2015, arXiv:1412.6980), with t = 1, 2, … and g the gradient it is handed:

    m ← β1·m + (1−β1)·g          m̂ = m / (1−β1^t)
    v ← β2·v + (1−β2)·g²         v̂ = v / (1−β2^t)
    θ ← θ − lr·m̂ / (√v̂ + ε)

computed as θ ← θ − rate·m / (√v + eps) with rate = lr·√(1−β2^t)/(1−β1^t) and eps = ε·√(1−β2^t): the same
number with a pass over memory less. With AMSGrad (Reddi et al. 2018, arXiv:1904.09237) the largest v so far stands
in for v, as in torch before the bias correction. Slots are named as in torch.optim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor

    from thalweg.optim.rule import Coefficients, Hyper, Slots

SLOTS = ("exp_avg", "exp_avg_sq")
AMSGRAD_SLOTS = (*SLOTS, "max_exp_avg_sq")
HYPER = ("lr", "weight_decay", "beta1", "beta2", "eps")


def adam_coefficients(hyper: Hyper, rate: np.ndarray, step: np.ndarray | int) -> dict[str, np.ndarray]:
    """Return the float64 coefficients of `adam_update` at a learning rate `rate` and a 0-based `step`."""
    beta1, beta2, eps = (np.asarray(hyper[name], np.float64) for name in ("beta1", "beta2", "eps"))
    t = np.asarray(step, np.int64) + 1
    root = np.sqrt(1 - _power(beta2, t))
    return {
        "rate": np.asarray(rate * root / (1 - _power(beta1, t))),
        "eps": np.asarray(eps * root),
        "one_minus_beta1": np.asarray(1 - beta1),
        "one_minus_beta2": np.asarray(1 - beta2),
    }


def _power(base: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    """Return base**exponent for integers ≥ 0 by repeated squaring.

    numpy's own power rounds by an element's place in the array (seen with AVX-512: one ulp between a [T, K]
    table and one of its rows), and a trial's bits would then depend on its company.
    """
    result = np.ones(np.broadcast_shapes(base.shape, exponent.shape))
    for bit in range(int(exponent.max()).bit_length()):
        result = np.where(exponent >> bit & 1, result * base, result)
        base = base * base
    return result


def adam_update(theta: Tensor, grad: Tensor, slots: Slots, c: Coefficients) -> None:
    """Move the moments and theta in place; `grad` serves as scratch, so that nothing is allocated."""
    mean, square = slots["exp_avg"], slots["exp_avg_sq"]
    mean.lerp_(grad, c["one_minus_beta1"])
    square.lerp_(grad.square_(), c["one_minus_beta2"])
    if "max_exp_avg_sq" in slots:
        square = torch.maximum(slots["max_exp_avg_sq"], square, out=slots["max_exp_avg_sq"])
    torch.sqrt(square, out=grad).add_(c["eps"])
    torch.div(mean, grad, out=grad)
    theta.addcmul_(grad, c["rate"], value=-1)

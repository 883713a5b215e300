"""Gradient clipping, in place, for one gradient or for K trials at once.

It knows no optimizer, and takes no norm: that of a whole trial may be spread over many tensors. The
limit broadcasts against the gradient: 0-d for one trial, `[K, 1]` for `[K, P]`. Clipping acts on the gradient that the
optimizer's rule is given: with SAM, the one taken uphill.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

EPS = 1e-6


def clip_norm_(grad: Tensor, norm: Tensor, limit: Tensor) -> Tensor:
    """g ← g·min(1, limit/(‖g‖+1e-6)), as torch.nn.utils.clip_grad_norm_; returns `grad`.

    norm: the whole gradient's, which may be spread over several tensors; broadcasts like `limit`. A norm that is not
    finite makes the gradient zero or NaN, as in torch.
    """
    return grad.mul_((limit / (norm + EPS)).clamp_(max=1))


def clip_value_(grad: Tensor, limit: Tensor) -> Tensor:
    """Clamp each element to [−limit, limit], as torch.nn.utils.clip_grad_value_; returns `grad`."""
    return grad.clamp_(min=-limit, max=limit)

"""Weight decay in its three conventions, for the rules that let the user choose.

With λ the weight decay, γ the peak rate and m the schedule's multiplier, a step adds

    l2           λ·θ to the gradient, so momentum sees it
    coupled      −γ·m·λ·θ to the weights, as torch.optim.AdamW does
    independent  −m·λ·θ to the weights, as Loshchilov & Hutter (2019) wrote it

l2 and coupled are one thing for SGD without momentum, and two for everything else. Coupled and independent
are one surface under two names: λ_independent = γ·λ_coupled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from optim.rule import Coefficients
    from optim.schema import Decay


def decay_coefficient(
    decay: Decay, weight_decay: np.ndarray, rate: np.ndarray, multiplier: np.ndarray | float
) -> np.ndarray:
    """Return what one step multiplies θ by, in float64; `rate` is the current one, γ·m."""
    if decay == "independent":
        return np.asarray(multiplier * weight_decay)
    return np.asarray(rate * weight_decay if decay == "coupled" else weight_decay)


def shrink(theta: Tensor, c: Coefficients) -> None:
    """θ ← θ − decay·θ, in place; `decay` may vary along either axis of theta."""
    theta.addcmul_(theta, c["decay"], value=-1)

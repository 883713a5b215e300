"""Weight decay in its three conventions, for the rules that let the user choose, and which parameters it acts on.

With λ the weight decay, γ the peak rate and m the schedule's multiplier, a step adds

    l2           λ·θ to the gradient, so momentum sees it
    coupled      −γ·m·λ·θ to the weights, as torch.optim.AdamW does
    independent  −m·λ·θ to the weights, as Loshchilov & Hutter (2019) wrote it

l2 and coupled are one thing for SGD without momentum, and two for everything else. Coupled and independent
are one surface under two names: λ_independent = γ·λ_coupled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

    from thalweg.optim.rule import Coefficients
    from thalweg.optim.schema import Decay, DecayOn


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


def decays(shape: Sequence[int], decay_on: DecayOn) -> bool:
    """Whether a parameter of that shape decays: with "weights" only if it has two or more dimensions."""
    return decay_on == "all" or len(shape) >= 2


def decay_lists(
    parameters: nn.Module | Iterable[tuple[str, Tensor]], decay_on: DecayOn = "weights"
) -> tuple[list[str], list[str]]:
    """Return the names of the parameters that decay, and of those that are spared, in their order."""
    named = parameters.named_parameters() if hasattr(parameters, "named_parameters") else parameters
    lists: tuple[list[str], list[str]] = ([], [])
    for name, parameter in named:
        lists[not decays(parameter.shape, decay_on)].append(name)
    return lists

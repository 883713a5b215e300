"""Sharpness-aware minimisation: the step uphill from which an optimizer's gradient is taken.

    θ' = θ + ρ·g/‖g‖                 Foret et al. (2021), arXiv:2010.01412
    θ' = θ + ρ·θ²·g/‖|θ|·g‖          adaptive: Kwon et al. (2021), arXiv:2102.11600, with η = 0

The weights then go back to θ, by copy since (θ+e)−e is not θ, and the optimizer takes its own step with the gradient
at θ'. The norm is that of a whole trial: over all its tensors and parameter groups.

The functions serve one parameter, and K trials at once: they only broadcast, and the caller takes the norm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

EPS = 1e-12


def normed_vector(theta: Tensor, grad: Tensor, adaptive: bool) -> Tensor:
    """Return the vector whose norm the step uphill is divided by: g itself, or |θ|·g."""
    return theta.abs().mul_(grad) if adaptive else grad


def ascent_scale(rho: Tensor, norm: Tensor) -> Tensor:
    """Return ρ/(‖·‖+1e-12), what `ascend_` multiplies by. rho and norm broadcast: 0-d, or `[K, 1]`."""
    return rho / (norm + EPS)


def ascend_(theta: Tensor, grad: Tensor, scale: Tensor, adaptive: bool) -> Tensor:
    """Move theta uphill in place and return it; `grad` is lost if adaptive. A scale of 0 leaves theta as it is."""
    if adaptive:
        grad.mul_(theta).mul_(theta)
    return theta.addcmul_(grad, scale)

"""Muon: momentum whose matrices are made orthogonal, for the weights that are matrices; AdamW for the others.

For a parameter of two or more dimensions, seen as a matrix M of A rows and B columns (the dimensions after the first
are flattened, so a convolution's kernel is one matrix):

    b ← μ·b + (1−μ)·g                M = b, or with Nesterov (1−μ)·g + μ·b
    O = UVᵀ of M = UΣVᵀ              by five Newton–Schulz steps, which bring singular values to about 0.7–1.2
    θ ← θ − decay·θ − lr·s·O         s = √max(1, A/B) (original) or 0.2·√max(A, B) (match_rms_adamw)

Jordan et al. (2024), kellerjordan.github.io/posts/muon; match_rms_adamw, which gives steps the size of AdamW's so that
both kinds of parameters share a rate, and the decay: Liu et al. (2025), arXiv:2502.16982. As torch.optim.Muon,
which takes matrices alone, but for the precision, Newton–Schulz in float32 at least and not in bfloat16, and for the
default of s: torch's is original, whose steps are 0.2·√max(A, B)/√max(1, A/B) times as short (4.5 for 512 × 512).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch

from thalweg.optim.adam import SLOTS, adam_coefficients, adam_update
from thalweg.optim.decay import decay_coefficient, shrink
from thalweg.optim.optimizer import Group, RuleOptimizer

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim.optimizer import ParamsT

    from thalweg.optim.rule import Coefficients, Hyper, Slots
    from thalweg.optim.schema import DecayOn, DecayOrder, Decoupled

QUINTIC = (3.4445, -4.7750, 2.0315)
"""a, b, c of X ← a·X + (b·XXᵀ + c·(XXᵀ)²)·X: the steepest at 0 that keeps singular values near 1 (Jordan et al.)."""
STEPS = 5
SMALLEST_NORM = 1e-7


@dataclass(frozen=True, kw_only=True)
class MuonRule:
    """θ ← θ − decay·θ − lr·s·orthogonal(momentum) for matrices, AdamW's step for the rest.

    `exp_avg` is the momentum of either kind; `exp_avg_sq` stays zero for a matrix.
    """

    nesterov: bool
    adjust: Literal["original", "match_rms_adamw"]
    decay: Decoupled
    decay_order: DecayOrder
    elementwise: ClassVar[bool] = False
    slots: ClassVar[tuple[str, ...]] = SLOTS
    hyper: ClassVar[tuple[str, ...]] = ("lr", "weight_decay", "momentum", "beta1", "beta2", "eps")

    def coefficients(
        self, hyper: Hyper, multiplier: np.ndarray | float, step: np.ndarray | int
    ) -> dict[str, np.ndarray]:
        """Return Adam's coefficients, `decay`, and for matrices `matrix_rate`, `momentum` and `one_minus_momentum`."""
        lr, weight_decay, momentum = (np.asarray(hyper[name], np.float64) for name in self.hyper[:3])
        rate = np.asarray(lr * multiplier)
        return adam_coefficients(hyper, rate, step) | {
            "matrix_rate": rate,
            "momentum": momentum,
            "one_minus_momentum": np.asarray(1 - momentum),
            "decay": decay_coefficient(self.decay, weight_decay, rate, multiplier),
        }

    def update(self, theta: Tensor, grad: Tensor, slots: Slots, c: Coefficients) -> None:
        """Apply one step in place to one parameter `[K, *shape]` and its slots; `grad` is lost."""
        if self.decay_order == "before":
            shrink(theta, c)
        if theta.dim() > 2 and theta.numel():
            self._matrix_update(theta, grad, slots["exp_avg"], c)
        else:
            adam_update(theta, grad, slots, c)
        if self.decay_order == "after":
            shrink(theta, c)

    def _matrix_update(self, theta: Tensor, grad: Tensor, momentum: Tensor, c: Coefficients) -> None:
        momentum.lerp_(grad, c["one_minus_momentum"])
        direction = grad.lerp_(momentum, c["momentum"]) if self.nesterov else grad.copy_(momentum)
        step = orthogonal(direction.flatten(2))
        rows, columns = step.shape[1:]
        scale = 0.2 * max(rows, columns) ** 0.5 if self.adjust == "match_rms_adamw" else max(1, rows / columns) ** 0.5
        theta.addcmul_(step.view(theta.shape), c["matrix_rate"], value=-scale)


def orthogonal(matrices: Tensor) -> Tensor:
    """Return the nearest (semi-)orthogonal matrices of `[K, A, B]`, roughly: singular values come to about 1.

    Each step multiplies X by a polynomial P of its Gram matrix G = XXᵀ, and G by P twice. So long matrices are
    multiplied only at the start and at the end: 2.3 times as fast for a 3×3 kernel of 512 channels (320 against
    730 ms), and in float32 off by 6e-4 at most for the spectra tried, where bfloat16 is off by .01 to .4. Of a zero
    matrix the answer is zero. In the dtype of `matrices`, computed in float32 at least.
    """
    wide = matrices.shape[1] <= matrices.shape[2]
    X = (matrices if wide else matrices.mT).to(torch.promote_types(matrices.dtype, torch.float32))
    X = X / torch.linalg.vector_norm(X, dim=(1, 2), keepdim=True).clamp(min=SMALLEST_NORM)
    X = _through_gram(X) if X.shape[2] > 2 * X.shape[1] else _directly(X)
    return (X if wide else X.mT).to(matrices.dtype)


def _directly(X: Tensor) -> Tensor:
    for _ in range(STEPS):
        X = _polynomial(X @ X.mT) @ X
    return X


def _through_gram(X: Tensor) -> Tensor:
    gram = X @ X.mT
    whole = P = _polynomial(gram)
    for _ in range(STEPS - 1):
        gram = P @ gram @ P
        P = _polynomial(gram)
        whole = P @ whole
    return whole @ X


def _polynomial(gram: Tensor) -> Tensor:
    """Return a·1 + b·G + c·G²."""
    a, b, c = QUINTIC
    P = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    P.diagonal(dim1=1, dim2=2).add_(a)
    return P


class Muon(RuleOptimizer):
    """Orthogonalised momentum for matrices and AdamW for the rest, as one torch.optim.Optimizer.

    Embeddings and the last layer are matrices too; who wants AdamW for them, as Jordan et al. do, gives them to an
    optimizer of their own. adjust: "match_rms_adamw", so that one rate suits both kinds, or "original", the default of
    torch.optim.Muon. decay, decay_order and decay_on as in `AdamW`. Every argument may differ by group. Raises
    ValueError for a value out of range.
    """

    config_name = "muon"
    rule = MuonRule
    keeps = SLOTS

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        weight_decay: float = 0.1,
        nesterov: bool = True,
        adjust: Literal["original", "match_rms_adamw"] = "match_rms_adamw",
        maximize: bool = False,
        decay: Decoupled = "coupled",
        decay_order: DecayOrder = "before",
        decay_on: DecayOn = "all",
    ) -> None:
        rates = {"lr": lr, "momentum": momentum, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        options = {"nesterov": nesterov, "adjust": adjust, "maximize": maximize}
        super().__init__(params, rates | options | {"decay": decay, "decay_order": decay_order, "decay_on": decay_on})

    def _adopt_group(self, group: Group, defaults: Group) -> str | None:
        """As every class, and from torch.optim.Muon, where its Newton–Schulz is ours."""
        if "ns_steps" in group:
            group |= {name: defaults[name] for name in ("betas", "eps")}
            group["adjust"] = group.pop("adjust_lr_fn") or "original"
            if group["ns_steps"] == STEPS and tuple(group["ns_coefficients"]) == QUINTIC:
                del group["ns_steps"], group["ns_coefficients"]
        return super()._adopt_group(group, defaults)

    def _adopt_state(self, state: dict[str, Any], theta: Tensor) -> str | None:
        if state and "momentum_buffer" in state:
            momentum = state.pop("momentum_buffer")
            state |= {"step": 1, "exp_avg": momentum, "exp_avg_sq": torch.zeros_like(theta)}
        return super()._adopt_state(state, theta)

"""How far tensors are from those that they should be, and how far they may be."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

TOLERANCE = {"float32": 1e-4, "tf32": 1e-2, "bf16": 1e-1, "fp16": 1e-2, "float64": 1e-10}
"""Largest ‖fused − loop‖ / ‖loop‖ of a trial's gradient that counts as the same gradient, by precision. Rounding to
bf16 alone makes .03 of three convolutions; so that nothing hides in it, such a model must agree in float32 as well."""


def equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


def deviation(ours: Mapping[str, Tensor], plain: Mapping[str, Tensor]) -> float:
    """‖ours − plain‖ / ‖plain‖ over all that plain has; what is not finite in both alike is left out."""
    pairs = [(ours[name].detach().reshape(b.shape).to(b.device), b.detach()) for name, b in plain.items()]
    if all(torch.equal(a, b) for a, b in pairs):
        return 0.0
    apart = length = 0.0
    for a, b in pairs:
        a, b = (each.to(torch.complex128 if each.is_complex() else torch.float64) for each in (a, b))
        odd = ~(a.isfinite() & b.isfinite())
        if not equal(a[odd], b[odd]):
            return float("inf")
        apart += float((a - b)[~odd].abs().square().sum())
        length += float(b[~odd].abs().square().sum())
    return (apart / length) ** 0.5 if length else float(apart > 0)

"""Layers whose initial weights are one draw times a gain, so that a gain changes no draw. Knows no model.

Nothing is drawn but the weights: layers are made without torch's own initial values.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

HE = 2.0
"""He et al. 2015 (arXiv 1502.01852): the variance of a layer's weights times its inputs, where ReLU follows."""


def normal_(weight: Tensor, deviation: float) -> None:
    """Fill with Normal(0, deviation²) from torch's global generator, scaled after drawing."""
    with torch.no_grad():
        weight.normal_().mul_(deviation)


def give_memory(layer: nn.Module) -> None:
    """Give a layer that was made on "meta" its memory, whatever numbers lie there.

    As its to_empty, which goes through Python decompositions that import sympy: 0.4 s in every worker.
    """
    for name, weight in list(layer.named_parameters(recurse=False)):
        setattr(layer, name, nn.Parameter(torch.empty(weight.shape)))


def linear(inputs: int, outputs: int, gain: float, variance: float = 1.0) -> nn.Linear:
    """A linear layer of weights gain · Normal(0, variance / inputs) and zero biases."""
    layer = nn.Linear(inputs, outputs, device="meta")
    give_memory(layer)
    normal_(layer.weight, gain * math.sqrt(variance / inputs))
    with torch.no_grad():
        layer.bias.zero_()
    return layer


def convolution(inputs: int, outputs: int, gain: float, *, side: int = 3, stride: int = 1, bias: bool) -> nn.Conv2d:
    """A square convolution of weights gain · Normal(0, 2 / what one output sums over) and zero biases, if any.

    With stride 1 it keeps the image's size, with stride 2 it halves it, rounded up.
    """
    layer = nn.Conv2d(inputs, outputs, side, stride, padding=side // 2, bias=bias, device="meta")
    give_memory(layer)
    normal_(layer.weight, gain * math.sqrt(HE / (inputs * side * side)))
    if layer.bias is not None:
        with torch.no_grad():
            layer.bias.zero_()
    return layer

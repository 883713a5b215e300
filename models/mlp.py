"""A multilayer perceptron with ReLU (He et al. 2015, arXiv 1502.01852, for its initial weights). Knows no trial."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from models.extent import Extent
from models.schema import MLPConfig


class MLP(torch.nn.Module):
    """Linear layers with biases, ReLU between them, logits at the end.

    Weights start as init_gain · Normal(0, 2 / the layer's inputs), biases as 0.
    """

    def __init__(self, config: MLPConfig, extent: Extent) -> None:
        super().__init__()
        widths = (extent.features, *config.hidden, extent.outputs)
        self.layers = torch.nn.ModuleList(_linear(m, n, config.init_gain) for m, n in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B, outputs] of x, [B, *inputs]."""
        *hidden, last = self.layers
        h = x.flatten(1)
        for layer in hidden:
            h = torch.relu(layer(h))
        logits: Tensor = last(h)
        return logits


def he_normal(inputs: int, outputs: int, gain: float) -> Tensor:
    """Return gain · Normal(0, 2 / inputs), [outputs, inputs], drawn from torch's global generator."""
    return torch.randn(outputs, inputs).mul_(gain * math.sqrt(2 / inputs))


def _linear(inputs: int, outputs: int, gain: float) -> torch.nn.Linear:
    layer = torch.nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")  # meta: draws nothing
    with torch.no_grad():
        layer.weight.copy_(he_normal(inputs, outputs, gain))
        layer.bias.zero_()
    return layer

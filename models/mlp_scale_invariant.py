"""A perceptron whose outputs do not change when any of its weight matrices is scaled. Knows no trial.

LayerNorm (Ba et al. 2016, arXiv 1607.06450) follows every linear layer, without gain or offset of its own. A bias
kept apart would end the invariance as soon as it left 0, so each layer's bias is the last column of its matrix,
met by an input that is always 1. What counts is then only the direction of each matrix, and weight decay acts
only through the effective learning rate.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear, pad

from thalweg.models.extent import Extent
from thalweg.models.layers import HE, normal_
from thalweg.models.schema import ScaleInvariantMLPConfig

EPS = 1e-12
"""Keeps a zero variance finite. torch's 1e-5 would break the invariance for the small weights that decay leaves."""


class ScaleInvariantMLP(torch.nn.Module):
    """Linear, LayerNorm, ReLU, …, linear, LayerNorm; logits are `logit_scale` times the last LayerNorm's output.

    A layer with m inputs and n outputs has one parameter, [n, m + 1]: init_gain · Normal(0, 2 / m), and 0 in the
    last column.
    """

    def __init__(self, config: ScaleInvariantMLPConfig, extent: Extent) -> None:
        super().__init__()
        widths = (extent.features, *config.hidden, extent.outputs)
        self.logit_scale = config.logit_scale
        self.weights = torch.nn.ParameterList(pad(_normal(m, n, config.init_gain), (0, 1)) for m, n in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B, outputs] of x, [B, *inputs]."""
        *hidden, last = self.weights
        h = x.flatten(1)
        for weight in hidden:
            h = torch.relu(_normalized_linear(h, weight))
        return self.logit_scale * _normalized_linear(h, last)


def _normalized_linear(h: Tensor, weight: Tensor) -> Tensor:
    """Return weight · (h, 1) with mean 0 and variance 1 over the outputs, [B, n]."""
    h = linear(pad(h, (0, 1), value=1.0), weight)
    return layer_norm(h, h.shape[-1:], eps=EPS)


def _normal(inputs: int, outputs: int, gain: float) -> Tensor:
    weight = torch.empty(outputs, inputs)
    normal_(weight, gain * math.sqrt(HE / inputs))
    return weight

"""A small convolutional network, from 8×8 images on, with BatchNorm, GroupNorm or neither. Knows no trial.

BatchNorm: Ioffe & Szegedy 2015 (arXiv 1502.03167). GroupNorm: Wu & He 2018 (arXiv 1803.08494).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from thalweg.models.extent import Extent
from thalweg.models.layers import convolution, linear
from thalweg.models.schema import CNNConfig

GROUPS = 8
"""Of channels, as far as their number allows."""


class CNN(nn.Module):
    """A 3×3 convolution, normalisation and ReLU for each width, halving the image from the second on; then linear.

    Weights start as init_gain · He-normal. A convolution has a bias only where no normalisation follows: before
    BatchNorm its gradient would be rounding alone.
    """

    def __init__(self, config: CNNConfig, extent: Extent) -> None:
        super().__init__()
        channels, height, width = extent.image("cnn")
        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        for place, outputs in enumerate(config.widths):
            stride = 2 if place else 1
            bias = config.norm == "none"
            self.convolutions.append(convolution(channels, outputs, config.init_gain, stride=stride, bias=bias))
            self.norms.append(_norm(config.norm, outputs))
            channels, height, width = outputs, -(-height // stride), -(-width // stride)
        self.dropout = config.dropout
        self.last = linear(channels * height * width, extent.outputs, config.init_gain)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B, outputs] of images [B, C, H, W]."""
        for layer, norm in zip(self.convolutions, self.norms, strict=True):
            x = torch.relu(norm(layer(x)))
        x = x.flatten(1)
        if self.dropout:
            x = nn.functional.dropout(x, self.dropout, self.training)
        logits: Tensor = self.last(x)
        return logits


def _norm(name: str, channels: int) -> nn.Module:
    if name == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(math.gcd(GROUPS, channels), channels) if name == "group" else nn.Identity()

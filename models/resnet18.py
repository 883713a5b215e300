"""ResNet-18 (He et al. 2016, arXiv 1512.03385) for images of 32×32. Knows no trial.

As is usual for CIFAR, the stem is one 3×3 convolution without pooling (the paper's is 7×7, for 224×224), and a
shortcut that changes its shape is a 1×1 convolution with BatchNorm.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from thalweg.models.extent import Extent
from thalweg.models.layers import convolution, linear
from thalweg.models.schema import ResNet18Config

STAGES = 4
BLOCKS = 2


class Block(nn.Module):
    """ReLU(shortcut + BatchNorm(conv(ReLU(BatchNorm(conv(x))))))."""

    def __init__(self, inputs: int, outputs: int, stride: int, gain: float) -> None:
        super().__init__()
        self.first = convolution(inputs, outputs, gain, stride=stride, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = convolution(outputs, outputs, gain, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            straight = convolution(inputs, outputs, gain, side=1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(straight, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(self.shortcut(x) + self.second_norm(self.second(h)))


class ResNet18(nn.Module):
    """Stem, four stages of two blocks whose width doubles as the image halves, mean over the image, linear.

    Weights start as init_gain · He-normal, BatchNorm as the identity.
    """

    def __init__(self, config: ResNet18Config, extent: Extent) -> None:
        super().__init__()
        channels, _, _ = extent.image("resnet18")
        gain = config.init_gain
        self.stem = convolution(channels, config.width, gain, bias=False)
        self.stem_norm = nn.BatchNorm2d(config.width)
        blocks, inputs = [], config.width
        for stage in range(STAGES):
            for place in range(BLOCKS):
                outputs = config.width * 2**stage
                blocks.append(Block(inputs, outputs, stride=2 if stage and not place else 1, gain=gain))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.last = linear(inputs, extent.outputs, config.init_gain)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B, outputs] of images [B, C, H, W]."""
        h = self.blocks(torch.relu(self.stem_norm(self.stem(x))))
        logits: Tensor = self.last(h.mean((2, 3)))
        return logits

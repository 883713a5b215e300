"""The pre-norm transformer block that the GPT and the vision transformer share. Knows neither text nor images.

Vaswani et al. 2017 (arXiv 1706.03762), with LayerNorm before each part (Xiong et al. 2020, arXiv 2002.04745).
Shapes: B examples, L places, W width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from thalweg.models.layers import HE, linear
from thalweg.runner.base.errors import ConfigError

MLP_RATIO = 4


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)).

    Weights start as gain · Normal(0, 1 / inputs), with twice the variance after GELU; those that end a branch are
    divided by √(2·depth), so that the sum over all branches starts as wide as one (Radford et al. 2019).

    Attention is written out as two products and a softmax: torch's fused one has no rule for a trial axis on the
    CPU, runs trial by trial and says so (8 trials of 32 × 64 characters: 76 ms against 66; alone 7 against 11).
    """

    def __init__(self, width: int, heads: int, *, depth: int, gain: float, dropout: float, causal: bool) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(f"model.width is {width}; expected a multiple of model.heads, {heads}")
        self.heads, self.dropout, self.causal = heads, dropout, causal
        ending = gain / math.sqrt(2 * depth)
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.attended = linear(width, 3 * width, gain), linear(width, width, ending)
        self.up = linear(width, MLP_RATIO * width, gain)
        self.down = linear(MLP_RATIO * width, width, ending, HE)

    def forward(self, x_BLW: Tensor) -> Tensor:
        x_BLW = x_BLW + self._dropped(self._attention(self.attention_norm(x_BLW)))
        hidden = nn.functional.gelu(self.up(self.mlp_norm(x_BLW)))
        return x_BLW + self._dropped(self.down(hidden))

    def _attention(self, x_BLW: Tensor) -> Tensor:
        batch, places, width = x_BLW.shape
        size = width // self.heads
        q, k, v = self.qkv(x_BLW).view(batch, places, 3, self.heads, size).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(2, 3) / math.sqrt(size)
        if self.causal:
            later = torch.ones(places, places, dtype=torch.bool, device=x_BLW.device).triu(1)
            scores = scores.masked_fill(later, -math.inf)
        mixed = (scores.softmax(3) @ v).transpose(1, 2).reshape(batch, places, width)
        attended: Tensor = self.attended(mixed)
        return attended

    def _dropped(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, self.dropout, self.training) if self.dropout else x

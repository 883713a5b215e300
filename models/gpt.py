"""A GPT (Radford et al. 2019) small enough for characters. Knows no trial.

Pre-norm, learned places, and one matrix that embeds tokens and scores them (Press & Wolf 2017, arXiv 1608.05859).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from thalweg.models.extent import Extent
from thalweg.models.layers import normal_
from thalweg.models.schema import GPTConfig
from thalweg.models.transformer import Block

EMBEDDING = 0.02
"""Deviation of the initial embeddings: at first every next token is about as likely as any."""


class GPT(nn.Module):
    """Token and place embeddings, blocks, LayerNorm, and the token embeddings again as the last layer."""

    def __init__(self, config: GPTConfig, extent: Extent) -> None:
        super().__init__()
        (context,) = extent.inputs
        tokens = torch.empty(extent.outputs, config.width)
        self.tokens = nn.Embedding.from_pretrained(tokens, freeze=False)  # type: ignore[no-untyped-call]
        self.places = nn.Parameter(self.tokens.weight.new_empty(context, config.width))
        for weight in (self.tokens.weight, self.places):
            normal_(weight, EMBEDDING * config.init_gain)
        depth, gain = config.depth, config.init_gain
        self.blocks = nn.Sequential(
            *(
                Block(config.width, config.heads, depth=depth, gain=gain, dropout=config.dropout, causal=True)
                for _ in range(depth)
            )
        )
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B, L, tokens] of token numbers [B, L]; those at a place have seen it and what is before."""
        h = self.tokens(x) + self.places
        return nn.functional.linear(self.norm(self.blocks(h)), self.tokens.weight)

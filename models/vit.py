"""A vision transformer (Dosovitskiy et al. 2021, arXiv 2010.11929) for small images. Knows no trial.

Two deviations: the mean over patches is classified, not a token of its own (Beyer et al. 2022, arXiv 2205.01580),
and patches are cut by reshaping and embedded by a linear layer, the same sum as the paper's convolution.
"""

from __future__ import annotations

from torch import Tensor, nn

from thalweg.models.extent import Extent
from thalweg.models.layers import linear, normal_
from thalweg.models.schema import ViTConfig
from thalweg.models.transformer import Block
from thalweg.runner.base.errors import ConfigError

EMBEDDING = 0.02


class ViT(nn.Module):
    """Patch embeddings plus learned places, blocks, LayerNorm, mean over patches, linear."""

    def __init__(self, config: ViTConfig, extent: Extent) -> None:
        super().__init__()
        channels, height, width = extent.image("vit")
        if height % config.patch or width % config.patch:
            raise ConfigError(
                f"model.patch is {config.patch}, which does not divide images of {height}×{width}",
                "choose a divisor of both, such as 4 for 32×32 and 7 for 28×28",
            )
        self.patch = config.patch
        patches = (height // config.patch) * (width // config.patch)
        self.embed = linear(channels * config.patch**2, config.width, config.init_gain)
        self.places = nn.Parameter(self.embed.weight.new_empty(patches, config.width))
        normal_(self.places, EMBEDDING * config.init_gain)
        depth, gain = config.depth, config.init_gain
        self.blocks = nn.Sequential(
            *(
                Block(config.width, config.heads, depth=depth, gain=gain, dropout=config.dropout, causal=False)
                for _ in range(depth)
            )
        )
        self.norm = nn.LayerNorm(config.width)
        self.last = linear(config.width, extent.outputs, config.init_gain)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B, outputs] of images [B, C, H, W]."""
        batch, channels, height, width = x.shape
        p = self.patch
        cut = x.view(batch, channels, height // p, p, width // p, p).permute(0, 2, 4, 1, 3, 5)
        h = self.embed(cut.reshape(batch, -1, channels * p * p)) + self.places
        logits: Tensor = self.last(self.norm(self.blocks(h)).mean(1))
        return logits

"""A multilayer perceptron with ReLU (He et al. 2015, arXiv 1502.01852, for its initial weights). Knows no trial."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from thalweg.models.extent import Extent
from thalweg.models.layers import HE, linear
from thalweg.models.schema import MLPConfig

NORMS = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


class MLP(nn.Module):
    """Linear layers with biases, a normalisation if asked for, ReLU and dropout between them, logits at the end.

    Weights start as init_gain · Normal(0, 2 / the layer's inputs), biases as 0.
    """

    def __init__(self, config: MLPConfig, extent: Extent) -> None:
        super().__init__()
        widths = (extent.features, *config.hidden, extent.outputs)
        self.layers = nn.ModuleList(linear(m, n, config.init_gain, HE) for m, n in pairwise(widths))
        norm = NORMS.get(config.norm, lambda width: nn.Identity())
        self.norms = nn.ModuleList(norm(width) for width in config.hidden)
        self.dropout = config.dropout

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [B, outputs] of x, [B, *inputs]."""
        *hidden, last = self.layers
        h = x.flatten(1)
        for layer, norm in zip(hidden, self.norms, strict=True):
            h = torch.relu(norm(layer(h)))
            if self.dropout:
                h = nn.functional.dropout(h, self.dropout, self.training)
        logits: Tensor = last(h)
        return logits

"""Linear regression on values, logistic regression on classes: one linear layer, the task is the loss's. No trial."""

from __future__ import annotations

from torch import Tensor, nn

from thalweg.models.extent import Extent
from thalweg.models.layers import linear
from thalweg.models.schema import LinearConfig


class Linear(nn.Module):
    """Weights start as init_gain · Normal(0, 1 / inputs), biases as 0."""

    def __init__(self, config: LinearConfig, extent: Extent) -> None:
        super().__init__()
        self.layer = linear(extent.features, extent.outputs, config.init_gain)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, outputs] of x, [B, *inputs]."""
        outputs: Tensor = self.layer(x.flatten(1))
        return outputs

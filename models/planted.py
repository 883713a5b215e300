"""Two parameters, u and v, and nothing between them: the model beside the dataset `planted`. Knows no trial."""

from __future__ import annotations

import torch
from torch import Tensor

from thalweg.models.extent import Extent
from thalweg.models.schema import PlantedConfig


class Planted(torch.nn.Module):
    """Returns (x₀·u, x₁·v). u has one dimension and v two, so `optimizer.decay_on: weights` decays v alone."""

    def __init__(self, config: PlantedConfig, extent: Extent) -> None:
        super().__init__()
        self.u = torch.nn.Parameter(torch.ones(1))
        self.v = torch.nn.Parameter(torch.ones(1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, 2] of x, [B, 2]."""
        return x * torch.cat([self.u, self.v[0]])

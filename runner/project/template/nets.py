"""A model of your own: any torch.nn.Module. Its arguments come from conf/model/small.yaml."""

import torch
from torch import nn


class SmallNet(nn.Module):
    """A perceptron with BatchNorm. `inputs` and `outputs` are filled in from the data."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.norm = nn.BatchNorm1d(width)
        self.second = nn.Linear(width, width)
        self.last = nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return one logit a class, [batch, outputs], for features [batch, inputs]."""
        hidden = torch.relu(self.norm(self.first(x)))
        return self.last(torch.relu(self.second(hidden)))

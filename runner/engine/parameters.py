"""How a flat row of a trial's weights is seen as named parameters. Shapes: K trials, P parameters of a trial."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class ParameterLayout:
    """Where each named parameter lies in a flat row of P numbers, in model order; a tied tensor appears once."""

    shapes: Mapping[str, torch.Size]

    @classmethod
    def of(cls, module: nn.Module) -> ParameterLayout:
        """The layout of a module's parameters."""
        return cls({name: parameter.shape for name, parameter in module.named_parameters()})

    def without(self, names: Collection[str]) -> ParameterLayout:
        """The layout of the others."""
        return ParameterLayout({name: shape for name, shape in self.shapes.items() if name not in names})

    @property
    def size(self) -> int:
        """P, the number of parameters of a trial."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def mask(self, holds: Callable[[torch.Size], bool]) -> Tensor:
        """Return `[P]`: 1 in the parameters for whose shape something holds, 0 in the others."""
        return torch.cat([torch.full((math.prod(shape),), float(holds(shape))) for shape in self.shapes.values()])

    def spread(self, number_of: Callable[[str], float]) -> Tensor:
        """Return `[P]`: the number that each parameter's name has."""
        sizes = {name: math.prod(shape) for name, shape in self.shapes.items()}
        return torch.cat([torch.full((size,), float(number_of(name))) for name, size in sizes.items()])

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Concatenate named `[K, *shape]` tensors into `[K, P]`."""
        return torch.cat([_rows(tensors[name]) for name in self.shapes], dim=1)

    def views(self, theta_KP: Tensor) -> dict[str, Tensor]:
        """See `[K, P]` as named `[K, *shape]` tensors that share its memory."""
        parts = torch.split_with_sizes(theta_KP, [math.prod(shape) for shape in self.shapes.values()], dim=1)
        return {
            name: part.view(part.shape[0], *shape)
            for (name, shape), part in zip(self.shapes.items(), parts, strict=True)
        }


def _rows(tensor: Tensor) -> Tensor:
    return tensor.flatten(1) if tensor.dim() > 1 else tensor[:, None]

"""Augmentations: pure functions of a batch and of uniform numbers drawn for it. Draws nothing itself.

Shapes: B examples of C channels, H × W pixels; what leads B (a trial axis) is kept. Features are centred, so what is
shifted in from outside an image or cut out of it is 0, the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad

from thalweg.data.schema import Augmentation

DRAWS: dict[Augmentation, int] = {"crop": 2, "flip": 1, "cutout": 2, "mixup": 1}
"""Uniform numbers in [0, 1) that an augmentation needs for each example."""


@dataclass(frozen=True)
class Augment:
    """Augmentations, applied in order. classes: how many, for targets that are classes."""

    names: Sequence[Augmentation]
    classes: int

    @property
    def draws(self) -> int:
        """D, the uniform numbers an example needs."""
        return sum(DRAWS[name] for name in self.names)

    def __call__(self, x: Tensor, y: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Return x `[…, B, *features]` and y of a batch, augmented by float32 `[…, B, D]`.

        Mixed classes become probabilities `[…, B, classes]`.
        """
        columns = torch.split(uniform, [DRAWS[name] for name in self.names], dim=-1)
        for name, u in zip(self.names, columns, strict=True):
            if name == "mixup":
                x, y = mixup(x, y, u[..., 0], self.classes)
            else:
                x = IMAGES[name](x.flatten(0, -4), u.flatten(0, -2)).view_as(x)
        return x, y


def crop(x_BCHW: Tensor, u_B2: Tensor) -> Tensor:
    """Shift each image by up to an eighth of its height either way (4 of 32 pixels: He et al. 2016)."""
    reach = max(1, x_BCHW.shape[2] // 8)
    top_B, left_B = (u_B2 * (2 * reach + 1)).long().unbind(1)
    padded = pad(x_BCHW, (reach,) * 4)
    rows_BH = top_B[:, None] + torch.arange(x_BCHW.shape[2], device=x_BCHW.device)
    columns_BW = left_B[:, None] + torch.arange(x_BCHW.shape[3], device=x_BCHW.device)
    return padded.take_along_dim(rows_BH[:, None, :, None], 2).take_along_dim(columns_BW[:, None, None], 3)


def flip(x_BCHW: Tensor, u_B1: Tensor) -> Tensor:
    """Mirror every other image, left to right."""
    return torch.where(u_B1[..., None, None] < 0.5, x_BCHW.flip(3), x_BCHW)


def cutout(x_BCHW: Tensor, u_B2: Tensor) -> Tensor:
    """Blank a square of half the height around a uniform centre (DeVries & Taylor 2017, arXiv 1708.04552)."""
    side = x_BCHW.shape[2] // 2
    inside = []
    for axis, u_B1 in ((2, u_B2[:, :1]), (3, u_B2[:, 1:])):
        length = x_BCHW.shape[axis]
        start_B1 = (u_B1 * length).long() - side // 2
        place = torch.arange(length, device=x_BCHW.device)
        inside.append((place >= start_B1) & (place < start_B1 + side))
    return x_BCHW.masked_fill((inside[0][:, None, :, None] & inside[1][:, None, None]), 0)


IMAGES = {"crop": crop, "flip": flip, "cutout": cutout}


def mixup(x: Tensor, y: Tensor, u: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Mix each example, and its target, with the one before it in the batch (Zhang et al. 2018, arXiv 1710.09412).

    The share u is uniform: their Beta(1, 1). u: `[…, B]`; x, y lead with the same axes.
    """
    batch, share = u.dim() - 1, u.to(x.dtype)
    if not y.is_floating_point():
        y = one_hot(y, classes).to(x.dtype)
    mixed = []
    for tensor in (x, y):
        s = share.view(*share.shape, *[1] * (tensor.dim() - share.dim()))
        mixed.append(s * tensor + (1 - s) * tensor.roll(1, batch))
    return mixed[0], mixed[1]

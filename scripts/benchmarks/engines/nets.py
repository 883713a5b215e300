"""Models as users type them, for `scripts/bench --engines`: each takes inputs and outputs, from pictures of 8×8 digits.

Copied into a project of its own, so it imports torch alone, and is typed no better than users type.
"""

# mypy: ignore-errors

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class Wide(nn.Module):
    """A perceptron that fills a core by itself."""

    def __init__(self, inputs: int, outputs: int, width: int = 1024) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.flatten(1))


class Narrow(Wide):
    """One that does not."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 32)


class Recurrent(nn.Module):
    """Reads the rows of a picture."""

    def __init__(self, outputs: int, cells: int = 32, kind: str = "LSTM", layers: int = 1) -> None:
        super().__init__()
        self.cells = getattr(nn, kind)(8, cells, layers, batch_first=True)
        self.last = nn.Linear(cells, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.cells(x.reshape(len(x), 8, 8))[0][:, -1])


class Encoder(nn.Module):
    """torch's encoder as it is by default: dropout, places first, weights after."""

    def __init__(self, outputs: int, width: int = 32, layers: int = 2, batch_first: bool = False) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.first = nn.Linear(8, width)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.last = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x.reshape(len(x), 8, 8))
        h = self.encoder(h if self.batch_first else h.transpose(0, 1))
        return self.last(h.mean(1 if self.batch_first else 0))


class Rotary(nn.Module):
    """Attention by scaled_dot_product_attention, with angles from powers of a constant."""

    def __init__(self, outputs: int, width: int = 32, heads: int = 2, layers: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.last = nn.Linear(8, width), nn.Linear(width, outputs)
        self.mix = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(layers))
        self.feed = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
            for _ in range(layers)
        )

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x.reshape(len(x), 8, 8))
        size = h.shape[-1] // self.heads
        angles = torch.outer(torch.arange(8.0), 100 ** -(torch.arange(0, size, 2) / size)).to(h)
        for mix, feed in zip(self.mix, self.feed, strict=True):
            q, k, v = (part.unflatten(2, (self.heads, size)).transpose(1, 2) for part in mix(h).chunk(3, 2))
            q, k = turned(q, angles), turned(k, angles)
            h = h + functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            h = h + feed(h)
        return self.last(h.mean(1))


def turned(x: Tensor, angles: Tensor) -> Tensor:
    """Rotary places."""
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack(
        [even * angles.cos() - odd * angles.sin(), even * angles.sin() + odd * angles.cos()], -1
    ).flatten(-2)


class Gated(nn.Module):
    """A number of its own before a sigmoid: few numbers a trial where a kernel rounds by place."""

    def __init__(self, inputs: int, outputs: int, width: int = 128) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(3))
        self.body = Wide(inputs, width, width)
        self.last = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(x) * self.gate.sigmoid().mean())


class Convolutions(nn.Module):
    """A small ResNet's worth of convolutions and BatchNorm."""

    def __init__(self, outputs: int, width: int = 32) -> None:
        super().__init__()
        widths = (1, width, width, 2 * width)
        self.layers = nn.Sequential(
            *(nn.Sequential(nn.Conv2d(m, n, 3, padding=1), nn.BatchNorm2d(n), nn.SiLU()) for m, n in pairwise(widths))
        )
        self.last = nn.Linear(2 * width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layers(x.reshape(len(x), 1, 8, 8)).mean((2, 3)))


class Experts(nn.Module):
    """Sends each example to the expert that its own numbers choose: cannot be fused."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.gate = nn.Linear(inputs, 4)
        self.experts = nn.ModuleList(nn.Linear(inputs, outputs) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x, chosen = x.flatten(1), self.gate(x.flatten(1)).softmax(1)
        best = chosen.argmax(1)
        out = torch.zeros(len(x), self.experts[0].out_features, dtype=x.dtype, device=x.device)
        for n, expert in enumerate(self.experts):
            rows = (best == n).nonzero()[:, 0]
            out[rows] = expert(x[rows]) * chosen[rows, n : n + 1]
        return out

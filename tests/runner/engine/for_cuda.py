"""Models as they are written for a GPU: where their tensors lie, and what they ask of the device. A user's code."""

import functools

import torch
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    """Two layers; what others vary."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.a, self.z = nn.Linear(inputs, 8), nn.Linear(8, outputs)

    def hidden(self, x):
        return torch.tanh(self.a(x.flatten(1)))

    def forward(self, x):
        return self.z(self.hidden(x))


class MakesOnDevice(Net):
    def forward(self, x):
        return self.z(self.hidden(x) + torch.arange(8, device=x.device) / 8)


class MakesOnHost(Net):
    def forward(self, x):
        return self.z(self.hidden(x) + torch.arange(8) / 8)


class SendsTable(Net):
    def forward(self, x):
        return self.z(self.hidden(x) * torch.tensor([1.0, 0.5] * 4, device=x.device, dtype=x.dtype))


class SendsPinned(Net):
    def forward(self, x):
        table = torch.linspace(0, 1, 8, dtype=x.dtype).pin_memory()
        return self.z(self.hidden(x) * table.to(x.device, non_blocking=True))


class HoldsOnHost(Net):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.table = torch.linspace(0, 1, 8)

    def forward(self, x):
        return self.z(self.hidden(x) * self.table)


class HoldsNumberOnHost(Net):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.scale = torch.tensor(0.7)

    def forward(self, x):
        return self.z(self.hidden(x) * self.scale)


class HoldsIndexOnHost(Net):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.order = torch.tensor([1, 0, 3, 2, 5, 4, 7, 6])

    def forward(self, x):
        return self.z(self.hidden(x)[:, self.order])


class MovesAtFirst(Net):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.table = torch.linspace(0, 1, 8, dtype=torch.float64)

    def forward(self, x):
        if self.table.device != x.device:
            self.table = self.table.to(x.device)
        return self.z(self.hidden(x) * self.table)


class MakesMaskAtFirst(Net):
    mask = None

    def forward(self, x):
        if self.mask is None:
            self.mask = torch.linspace(0, 1, 8, device=x.device, dtype=x.dtype)
        return self.z(self.hidden(x) * self.mask)


@functools.lru_cache
def table_of(n, device, dtype):
    return torch.linspace(0, 1, n, device=device, dtype=dtype)


class CachesMask(Net):
    def forward(self, x):
        return self.z(self.hidden(x) * table_of(8, x.device, x.dtype))


class BuiltThere(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        with torch.device("cuda"):
            self.a, self.z = nn.Linear(inputs, 8), nn.Linear(8, outputs)

    def forward(self, x):
        return self.z(torch.tanh(self.a(x.cuda().flatten(1))))


class SeedsGenerator(Net):
    def forward(self, x):
        drawn = torch.Generator(device=x.device).manual_seed(7)
        return self.z(self.hidden(x) + torch.randn(8, generator=drawn, device=x.device, dtype=x.dtype))


class DrawsThere(Net):
    def forward(self, x):
        hidden = self.hidden(x)
        return self.z(functional.dropout(hidden, 0.3, self.training) + 0.1 * torch.randn_like(hidden))


class DrawsHere(Net):
    def forward(self, x):
        return self.z(self.hidden(x) + torch.randn(8, dtype=x.dtype).to(x.device))


class AsksWhere(Net):
    def forward(self, x):
        hidden = self.hidden(x)
        return self.z(2 * hidden if x.is_cuda else hidden)


class AsksWhetherCaptured(Net):
    def forward(self, x):
        hidden = self.hidden(x)
        return self.z(2 * hidden if torch.cuda.is_current_stream_capturing() else hidden)


class Waits(Net):
    def forward(self, x):
        hidden = self.hidden(x)
        torch.cuda.synchronize()
        return self.z(hidden)


class ComputesOnHost(Net):
    def forward(self, x):
        return self.z(self.hidden(x).cpu().square().to(x.device))


class WritesPinned(Net):
    """What it writes on the host a graph would overwrite by what it sends there at each of its steps."""

    def forward(self, x):
        hidden = self.hidden(x)
        mean = hidden.detach().mean(0).to("cpu", non_blocking=True)
        if not torch.cuda.is_current_stream_capturing():
            torch.cuda.current_stream().synchronize()
        return self.z(hidden + mean.fill_(0.25).to(x.device, non_blocking=True))


class OwnStream(Net):
    def forward(self, x):
        aside, here = torch.cuda.Stream(), torch.cuda.current_stream()
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            hidden = self.hidden(x)
        here.wait_stream(aside)
        return self.z(hidden)


class CountsOnHost(Net):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.n = torch.zeros(())

    def forward(self, x):
        self.n += 1
        return self.z(self.hidden(x) / (self.n + 1))


class BufferToHost(Net):
    mean: torch.Tensor

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.register_buffer("mean", torch.zeros(8))

    def forward(self, x):
        hidden = self.hidden(x) - 0.5 * self.mean.to(x.device)
        if self.training:
            self.mean = hidden.detach().mean(0).cpu()
        return self.z(hidden)


class BufferToHostByNumpy(BufferToHost):
    def forward(self, x):
        assert self.mean.is_cuda or self.mean.numpy().shape == (8,)
        return super().forward(x)


class BufferStaysOnHost(Net):
    table: torch.Tensor

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.register_buffer("table", torch.linspace(0, 1, 8))

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        self.table = self.table.cpu()
        return self

    def forward(self, x):
        return self.z(self.hidden(x) * self.table.to(x.device))

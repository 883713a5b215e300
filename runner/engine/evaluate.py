"""Loss and accuracy of K trials on a split. Draws no random numbers, so its cadence changes no trial."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import vmap

from runner.engine.state import State
from runner.engine.workload import Workload

CHUNK = 512
"""Rows evaluated at once. A constant, since another chunking may round differently."""


@torch.no_grad()
def evaluate(workload: Workload, state: State, split: str, executor: str) -> dict[str, Tensor]:
    """Return {"loss": `[K]`, "accuracy": `[K]`} in float64, on the host, over all rows of a split."""
    examples = workload.splits[split]
    totals = torch.zeros(2, state.lanes, dtype=torch.float64)
    workload.module.eval()
    try:
        for x, y in zip(torch.split(examples.x, CHUNK), torch.split(examples.y, CHUNK), strict=True):
            totals += _sums(_logits(workload, state, x, executor), y)
    finally:
        workload.module.train()
    loss_K, accuracy_K = totals / examples.y.shape[0]
    return {"loss": loss_K, "accuracy": accuracy_K}


def _logits(workload: Workload, state: State, x: Tensor, executor: str) -> Tensor:
    """`[K, N, C]`."""

    def forward(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        return workload.forward(parameters, buffers, x)[0]

    views = workload.layout.views(state.theta)
    if executor != "loop":
        return vmap(forward, randomness="same")(views, state.buffers)
    lanes = [
        forward({n: v[k] for n, v in views.items()}, {n: b[k] for n, b in state.buffers.items()})
        for k in range(state.lanes)
    ]
    return torch.stack(lanes)


def _sums(logits_KNC: Tensor, y_N: Tensor) -> Tensor:
    """Summed loss and number of hits, `[2, K]`, added up in float64 on the host: MPS has no float64."""
    lanes, rows, classes = logits_KNC.shape
    targets = y_N.expand(lanes, rows)
    loss = F.cross_entropy(logits_KNC.reshape(-1, classes), targets.reshape(-1), reduction="none")
    hits = logits_KNC.argmax(dim=2) == targets
    return torch.stack([loss.view(lanes, rows), hits.to(loss.dtype)]).cpu().double().sum(2)

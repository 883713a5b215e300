"""What a task measures of K trials on a split. Draws no random numbers, so its cadence changes no trial."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from thalweg.runner.engine.examples import Examples
from thalweg.runner.engine.stacked import over_trials
from thalweg.runner.engine.state import State
from thalweg.runner.engine.workload import Workload

CHUNK, NUMBERS = 512, 2**18
"""Outputs of a trial evaluated at once, a text's row having one at each place; and numbers that go in for them, which
is less for images: an activation of ResNet-18 is 20 times its image. Constants, since another chunking may round
differently."""


@torch.no_grad()
def evaluate(workload: Workload, state: State, split: str, executor: str) -> dict[str, Tensor]:
    """Return the task's metrics over all rows of a split, name -> `[K]` in float64, on the host."""
    totals = None
    workload.module.eval()
    try:
        examples = workload.splits[split]
        for x, y in examples.chunks(_rows(examples)):
            sums = workload.task.sums(_outputs(workload, state, x, executor), y)
            totals = sums if totals is None else totals + sums
    finally:
        workload.module.train()
    assert totals is not None
    return workload.task.finish(totals)


def _rows(examples: Examples) -> int:
    """How many rows of these examples are evaluated at once."""
    places, numbers = math.prod(examples.y.shape[1:]), math.prod(examples.x.shape[1:])
    return max(1, min(CHUNK // places, NUMBERS // numbers))


def _outputs(workload: Workload, state: State, x: Tensor, executor: str) -> Tensor:
    """`[K, B, …]`."""

    def forward(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        return workload.forward(parameters, buffers, x)[0]

    views = workload.layout.views(state.theta)
    if executor != "loop":
        outputs: Tensor = over_trials(forward)(views, state.buffers)
        return outputs
    lanes = [
        forward({n: v[k] for n, v in views.items()}, {n: b[k] for n, b in state.buffers.items()})
        for k in range(state.lanes)
    ]
    return torch.stack(lanes)

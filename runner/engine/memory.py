"""How many lanes fit the memory: predicted from one recorded gradient, or on a GPU from two that were run."""

from __future__ import annotations

import torch

from thalweg.runner.engine.gradient import vmap_gradient
from thalweg.runner.engine.seating import NARROWEST, example, recorded_pair
from thalweg.runner.engine.workload import Workload
from thalweg.runner.machine.device import available_bytes

SHARE = 0.5
"""The part of the free memory that may be planned for."""


def lanes_that_fit(workload: Workload, workers: int) -> int:
    """The widest program that this process, one of `workers`, should try; at least 1."""
    if workload.device.type == "cuda":
        one, four = (_peak_on_gpu(workload, lanes) for lanes in (1, 4))
        each = max((four - one) / 3, 1) + _state_bytes(workload)
        free, _ = torch.cuda.mem_get_info(workload.device)
        return max(1, int((SHARE * free - one) / each))
    recorded = sum(each.bytes for each in recorded_pair(workload).operations()) / NARROWEST
    return max(1, int(SHARE * available_bytes() / workers / (recorded + _state_bytes(workload))))


def _state_bytes(workload: Workload) -> int:
    """Of a lane: weights, gradient, slots, and a copy of each in the step in which a lane dies."""
    tensors = 2 * (2 + len(workload.recipe.rule.slots))
    return tensors * workload.layout.size * workload.dtype.itemsize


def _peak_on_gpu(workload: Workload, lanes: int) -> int:
    torch.cuda.reset_peak_memory_stats(workload.device)
    before = torch.cuda.memory_allocated(workload.device)
    vmap_gradient(workload, shared=True)(*example(workload, lanes))
    return torch.cuda.max_memory_allocated(workload.device) - before

"""What the steps of a cohort are fed: batch rows and optimizer coefficients, a block of steps at a time.

Both are functions of (trial, step) alone, so any block can be made without the ones before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from optim.build import multipliers
from runner.choice import Layout
from runner.engine.executors import Block
from runner.engine.streams import batch_indices
from runner.engine.workload import Workload
from runner.trial import Trial


class Inputs:
    """Batches and coefficients of a cohort's trials, block by block."""

    def __init__(self, trials: Sequence[Trial], layout: Layout, workload: Workload) -> None:
        self.configs = [trial.config for trial in trials]
        self.shared = layout == "shared"
        if self.shared and len({config.seed for config in self.configs}) > 1:
            raise ValueError("a cohort that shares its batches must have one seed")
        self.workload = workload
        optimizers = [config.optimizer for config in self.configs]
        self.hyper_N = {
            name: np.array([getattr(optimizer, name) for optimizer in optimizers], dtype=np.float64)
            for name in workload.rule.hyper
        }

    def block(self, start: int, stop: int, lane_of: np.ndarray) -> Block:
        """The inputs of steps start…stop−1 for the trials that still train; lane_of maps lanes to trials."""
        return Block(self._rows(start, stop, lane_of), self._coefficients(start, stop, lane_of))

    def _rows(self, start: int, stop: int, lane_of: np.ndarray) -> Tensor:
        batch_size, rows = self.configs[0].budget.batch_size, self.workload.splits["train"].y.shape[0]
        lanes = lane_of[:1] if self.shared else lane_of
        drawn = {
            seed: batch_indices(seed, start, stop, batch_size, rows)
            for seed in {self.configs[place].seed for place in lanes}
        }
        if self.shared:
            chosen = drawn[self.configs[lanes[0]].seed]
        else:
            chosen = np.stack([drawn[self.configs[place].seed] for place in lanes], axis=1)
        return torch.as_tensor(chosen, device=self.workload.device)

    def _coefficients(self, start: int, stop: int, lane_of: np.ndarray) -> dict[str, Tensor]:
        total, steps = self.configs[0].budget.steps, np.arange(start, stop)
        schedules = [self.configs[place].schedule for place in lane_of]
        columns = {schedule: multipliers(schedule, total, steps) for schedule in set(schedules)}
        multiplier_TK = np.stack([columns[schedule] for schedule in schedules], axis=1)
        hyper_K = {name: values[lane_of] for name, values in self.hyper_N.items()}
        coefficients = self.workload.rule.coefficients(hyper_K, multiplier_TK, steps[:, None])
        return {
            name: torch.as_tensor(
                np.broadcast_to(values, multiplier_TK.shape)[..., None].copy(),
                dtype=self.workload.dtype,
                device=self.workload.device,
            )
            for name, values in coefficients.items()
        }

"""What the steps of a cohort are fed: batch rows, random draws and coefficients, a block of steps at a time.

Both are functions of (trial, step) alone, so any block can be made without the ones before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from optim.build import multipliers
from runner.choice import Layout
from runner.engine.executors import Block
from runner.engine.streams import batch_indices, uniforms
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
        workload, batch_size = self.workload, self.configs[0].budget.batch_size
        train, augment = workload.splits["train"], workload.augment
        rows = self._by_seed(lane_of, lambda seed: batch_indices(seed, start, stop, batch_size, train.rows))
        draws = None
        if augment is not None:
            shape = (batch_size, augment.draws)
            draws = self._by_seed(lane_of, lambda seed: uniforms(seed, "augment", start, stop, shape))
        return Block(
            rows=torch.as_tensor(rows, device=train.home),
            coefficients=self._coefficients(start, stop, lane_of),
            label_smoothing=self._label_smoothing(lane_of),
            draws=None if draws is None else torch.as_tensor(draws, device=workload.device),
        )

    def _by_seed(self, lane_of: np.ndarray, draw: Callable[[int], np.ndarray]) -> np.ndarray:
        """What `draw` makes of each seed, `[T, …]`: once if all lanes share it, else one a lane, `[T, K, …]`."""
        seeds = [self.configs[place].seed for place in lane_of]
        if self.shared:
            return draw(seeds[0])
        drawn = {seed: draw(seed) for seed in set(seeds)}
        return np.stack([drawn[seed] for seed in seeds], axis=1)

    def _label_smoothing(self, lane_of: np.ndarray) -> Tensor | None:
        chosen = [self.configs[place].task.label_smoothing for place in lane_of]
        return torch.tensor(chosen, dtype=self.workload.dtype, device=self.workload.device) if any(chosen) else None

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

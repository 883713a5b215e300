"""From a configuration to the rule and the multipliers it describes. Importing it loads no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.optim import schedule
from thalweg.optim.schema import (
    AdamL2Config,
    AdamWConfig,
    ConstantConfig,
    InverseSqrtConfig,
    LinearConfig,
    LionConfig,
    MuonConfig,
    OneCycleConfig,
    OptimizerConfig,
    ScheduleConfig,
    SGDConfig,
    WarmupCosineConfig,
    WSDConfig,
)

if TYPE_CHECKING:
    import numpy as np

    from thalweg.optim.rule import Rule


def rule_for(config: OptimizerConfig) -> Rule:
    """Return the rule with the structural options of `config`; hyperparameters stay behind."""
    match config:
        case SGDConfig():
            from thalweg.optim.sgd import SGDRule

            return SGDRule(nesterov=config.nesterov, decay=config.decay, decay_order=config.decay_order)
        case AdamWConfig():
            from thalweg.optim.adamw import AdamWRule

            return AdamWRule(decay=config.decay, decay_order=config.decay_order, amsgrad=config.amsgrad)
        case AdamL2Config():
            from thalweg.optim.adam_l2 import AdamL2Rule

            return AdamL2Rule(amsgrad=config.amsgrad)
        case LionConfig():
            from thalweg.optim.lion import LionRule

            return LionRule(decay=config.decay, decay_order=config.decay_order)
        case MuonConfig():
            from thalweg.optim.muon import MuonRule

            return MuonRule(
                nesterov=config.nesterov, adjust=config.adjust, decay=config.decay, decay_order=config.decay_order
            )


def multipliers(config: ScheduleConfig, total_steps: int, steps: np.ndarray) -> np.ndarray:
    """Return m at `steps` (0-based, `[T]`), float64 `[T]`. ValueError if the warmup is longer than the run."""
    c = config
    match c:
        case WarmupCosineConfig():
            return schedule.warmup_cosine(steps, total_steps, c.warmup, c.floor, c.start, c.offset)
        case LinearConfig():
            return schedule.linear(steps, total_steps, c.warmup, c.floor, c.start, c.offset)
        case ConstantConfig():
            return schedule.constant(steps, total_steps, c.warmup, c.start, c.offset)
        case InverseSqrtConfig():
            return schedule.inverse_sqrt(steps, total_steps, c.warmup, c.start, c.offset)
        case WSDConfig():
            return schedule.wsd(steps, total_steps, c.warmup, c.cooldown, c.floor, c.root, c.start, c.offset)
        case OneCycleConfig():
            return schedule.one_cycle(steps, total_steps, c.warmup, c.start, c.floor)

"""From a configuration to the rule and the multipliers it describes. Importing it loads no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optim.schedule import warmup_cosine
from optim.schema import AdamL2Config, AdamWConfig, OptimizerConfig, ScheduleConfig, SGDConfig

if TYPE_CHECKING:
    import numpy as np

    from optim.rule import Rule


def rule_for(config: OptimizerConfig) -> Rule:
    """Return the rule with the structural options of `config`; hyperparameters stay behind."""
    match config:
        case SGDConfig():
            from optim.sgd import SGDRule

            return SGDRule(nesterov=config.nesterov, decay=config.decay, decay_order=config.decay_order)
        case AdamWConfig():
            from optim.adamw import AdamWRule

            return AdamWRule(decay=config.decay, decay_order=config.decay_order)
        case AdamL2Config():
            from optim.adam_l2 import AdamL2Rule

            return AdamL2Rule()


def multipliers(config: ScheduleConfig, total_steps: int, steps: np.ndarray) -> np.ndarray:
    """Return m at `steps` (0-based, `[T]`), float64 `[T]`. ValueError if warmup > total_steps."""
    return warmup_cosine(steps, total_steps, config.warmup, config.floor)

"""From a configuration to the rule and the multipliers it describes. Importing it loads no torch."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from thalweg.optim.schedule import FORMS
from thalweg.optim.schema import (
    AdamL2Config,
    AdamWConfig,
    LionConfig,
    MuonConfig,
    OptimizerConfig,
    ScheduleConfig,
    SGDConfig,
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
    shape = {field.name: getattr(config, field.name) for field in fields(config) if field.name != "name"}
    return FORMS[config.name](steps, total_steps, **shape)

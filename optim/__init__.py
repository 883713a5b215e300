"""Optimizers and schedules. Importing this package loads no torch: a name loads its module at first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.optim.adam_l2 import AdamL2, AdamL2Rule
    from thalweg.optim.adamw import AdamW, AdamWRule
    from thalweg.optim.advice import decay_warning, suggest_warmup
    from thalweg.optim.build import multipliers, rule_for
    from thalweg.optim.decay import decay_lists
    from thalweg.optim.lion import Lion, LionRule
    from thalweg.optim.muon import Muon, MuonRule
    from thalweg.optim.sam import SAM
    from thalweg.optim.schedule import constant, inverse_sqrt, linear, one_cycle, warmup_cosine, wsd
    from thalweg.optim.scheduler import ScheduledLR, WarmupCosine
    from thalweg.optim.sgd import SGDMomentum, SGDRule

__all__ = [
    "SAM",
    "AdamL2",
    "AdamL2Rule",
    "AdamW",
    "AdamWRule",
    "Lion",
    "LionRule",
    "Muon",
    "MuonRule",
    "SGDMomentum",
    "SGDRule",
    "ScheduledLR",
    "WarmupCosine",
    "constant",
    "decay_lists",
    "decay_warning",
    "inverse_sqrt",
    "linear",
    "multipliers",
    "one_cycle",
    "rule_for",
    "suggest_warmup",
    "warmup_cosine",
    "wsd",
]

_HOME = {
    "AdamL2": "adam_l2",
    "AdamL2Rule": "adam_l2",
    "AdamW": "adamw",
    "AdamWRule": "adamw",
    "Lion": "lion",
    "LionRule": "lion",
    "Muon": "muon",
    "MuonRule": "muon",
    "SAM": "sam",
    "SGDMomentum": "sgd",
    "SGDRule": "sgd",
    "ScheduledLR": "scheduler",
    "WarmupCosine": "scheduler",
    "constant": "schedule",
    "decay_lists": "decay",
    "decay_warning": "advice",
    "inverse_sqrt": "schedule",
    "linear": "schedule",
    "multipliers": "build",
    "one_cycle": "schedule",
    "rule_for": "build",
    "suggest_warmup": "advice",
    "warmup_cosine": "schedule",
    "wsd": "schedule",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__

"""Optimizers and schedules. Importing this package loads no torch: a name loads its module at first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.optim.adam_l2 import AdamL2 as AdamL2
    from thalweg.optim.adam_l2 import AdamL2Rule as AdamL2Rule
    from thalweg.optim.adamw import AdamW as AdamW
    from thalweg.optim.adamw import AdamWRule as AdamWRule
    from thalweg.optim.advice import decay_warning as decay_warning
    from thalweg.optim.advice import suggest_warmup as suggest_warmup
    from thalweg.optim.build import multipliers as multipliers
    from thalweg.optim.build import rule_for as rule_for
    from thalweg.optim.decay import decay_lists as decay_lists
    from thalweg.optim.lion import Lion as Lion
    from thalweg.optim.lion import LionRule as LionRule
    from thalweg.optim.muon import Muon as Muon
    from thalweg.optim.muon import MuonRule as MuonRule
    from thalweg.optim.sam import SAM as SAM
    from thalweg.optim.schedule import constant as constant
    from thalweg.optim.schedule import inverse_sqrt as inverse_sqrt
    from thalweg.optim.schedule import linear as linear
    from thalweg.optim.schedule import one_cycle as one_cycle
    from thalweg.optim.schedule import warmup_cosine as warmup_cosine
    from thalweg.optim.schedule import wsd as wsd
    from thalweg.optim.scheduler import ScheduledLR as ScheduledLR
    from thalweg.optim.scheduler import WarmupCosine as WarmupCosine
    from thalweg.optim.sgd import SGDMomentum as SGDMomentum
    from thalweg.optim.sgd import SGDRule as SGDRule

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

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__

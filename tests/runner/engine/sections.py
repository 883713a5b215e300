"""Sections of trials that engine tests share."""

from __future__ import annotations

from typing import Any

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"name": "sgd", "momentum": 0.9, "nesterov": False, "decay": "l2", "decay_order": "before"},
    "adamw": {
        "name": "adamw", "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decay": "coupled", "decay_order": "before",
    },
    "muon": {
        "name": "muon", "momentum": 0.9, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "nesterov": True,
        "adjust": "match_rms_adamw", "decay": "coupled", "decay_order": "before",
    },
    "lion": {
        "name": "lion", "beta1": 0.9, "beta2": 0.99, "decay": "coupled", "decay_order": "before", "decay_on": "all",
    },
    "adam_l2": {"name": "adam_l2", "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
}  # fmt: skip
"""Each optimizer's, without its learning rate and decay."""

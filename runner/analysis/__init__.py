"""What the results say: estimates with intervals, verdicts in words, and what was left out and why.

Pure functions from a tidy table to answers. numpy only: no torch, no store, no screen; importing it is cheap. Those
of a whole study, which need the study's schema, are in runner.analysis.study.
"""

from runner.analysis.answers import (
    Answer,
    Coupling,
    Curve,
    Edge,
    Expected,
    Finding,
    Place,
    RowFit,
    Sensitivity,
    Side,
    Warmup,
    WarmupLevel,
    WarmupNeed,
)
from runner.analysis.coupling_slope import coupling
from runner.analysis.lr_sensitivity import sensitivity
from runner.analysis.results import Results
from runner.analysis.warmup_need import warmup

__all__ = [
    "Answer",
    "Coupling",
    "Curve",
    "Edge",
    "Expected",
    "Finding",
    "Place",
    "Results",
    "RowFit",
    "Sensitivity",
    "Side",
    "Warmup",
    "WarmupLevel",
    "WarmupNeed",
    "coupling",
    "sensitivity",
    "warmup",
]

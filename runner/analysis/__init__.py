"""What the results say: estimates with intervals, verdicts in words, and what was left out and why.

Pure functions from a tidy table to answers. numpy only: no torch, no store, no screen; importing it is cheap.
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

__all__ = [
    "Answer",
    "Coupling",
    "Curve",
    "Edge",
    "Expected",
    "Finding",
    "Place",
    "RowFit",
    "Sensitivity",
    "Side",
    "Warmup",
    "WarmupLevel",
    "WarmupNeed",
]

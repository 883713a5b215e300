"""What the results say: estimates with intervals, verdicts in words, and what was left out and why.

Pure functions from a tidy table to answers. numpy only: no torch, no store, no screen; importing it is cheap. `study`,
which needs the study's schema, is not imported here.

    findings            all answers that a study's file asks for
    results             the table an analysis is given, and the same folded to a grid
    csv_table           a table of the user's own as results
    answers             findings, evidence and verdicts, as types
    coupling_slope      does the best decay follow the rate?
    rows                which rows of a grid say where the best decay lies
    ridge               where the least loss of each row lies, and the line through these places
    scattered           the same question where trials lie at random
    warmup_need         what warmup buys
    spent               what a schedule spends: the sum of its rates, and of rate times decay
    lr_sensitivity      how much the choice of the rate matters
    noise               the noise between seeds, pooled over a grid
    sentences           a coupling's verdict, to be quoted
"""

from thalweg.runner.analysis.answers import (
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
from thalweg.runner.analysis.coupling_slope import coupling
from thalweg.runner.analysis.lr_sensitivity import sensitivity
from thalweg.runner.analysis.results import Results
from thalweg.runner.analysis.warmup_need import warmup

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

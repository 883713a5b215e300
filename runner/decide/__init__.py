"""What to do with a study's results: which cell to take, and which few trials would tell most. Pure.

It knows no store, no torch and no screen, and starts nothing.

    recommend   the cell chosen on validation, and all that are as good
    moves       widen an axis, halve a step, add seeds
    rescue      other rates, where nothing beats guessing
    ladder      cells that differ in one axis alone
    points      new points of a block
"""

from thalweg.runner.decide.moves import KINDS, Kind, Move, Stuck, difference, moves, nothing_more, stuck, unfinished
from thalweg.runner.decide.recommend import Bound, Candidate, Recommendation, on_validation, recommend

__all__ = [
    "KINDS",
    "Bound",
    "Candidate",
    "Kind",
    "Move",
    "Recommendation",
    "Stuck",
    "difference",
    "moves",
    "nothing_more",
    "on_validation",
    "recommend",
    "stuck",
    "unfinished",
]

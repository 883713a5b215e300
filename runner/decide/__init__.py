"""What to do with a study's results: which cell to take, and which few trials would tell most. Pure.

It knows no store, no torch and no screen, and starts nothing.
"""

from runner.decide.moves import KINDS, Kind, Move, difference, moves, unfinished
from runner.decide.recommend import Bound, Choice, Recommendation, on_validation, recommend

__all__ = [
    "KINDS",
    "Bound",
    "Choice",
    "Kind",
    "Move",
    "Recommendation",
    "difference",
    "moves",
    "on_validation",
    "recommend",
    "unfinished",
]

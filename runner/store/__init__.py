"""The store: one SQLite file that holds every study, trial and observation, and the only door to sqlite3.

It knows neither torch nor hydra, and imports numpy only where a series is packed or unpacked.
"""

from runner.store.records import (
    BlockRecord,
    CohortRecord,
    Membership,
    StudyRecord,
    StudySummary,
    TrialRecord,
)
from runner.store.store import Store

__all__ = [
    "BlockRecord",
    "CohortRecord",
    "Membership",
    "Store",
    "StudyRecord",
    "StudySummary",
    "TrialRecord",
]

"""What a report is made of, as its caller hands it over. Types alone: no store, no HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from thalweg.runner.facts.record import Command, TrialRecord
from thalweg.runner.facts.replayed import Audit
from thalweg.runner.view import StudyView


@dataclass(frozen=True)
class Source:
    """The view of a study, its trials that are done, and the commands that added trials to it, the first one first."""

    view: StudyView
    trained: Sequence[TrialRecord]
    audits: Sequence[Audit] = ()
    commands: Sequence[Command] = ()

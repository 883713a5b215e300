"""What a report is made of, as its caller hands it over. Types alone: no store, no HTML."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from thalweg.runner.analysis import Answer
from thalweg.runner.facts.observation import Series
from thalweg.runner.facts.record import TrialRecord
from thalweg.runner.facts.replayed import Audit
from thalweg.runner.facts.row import Row
from thalweg.runner.study.study import Study


@dataclass(frozen=True, kw_only=True)
class Source:
    """A study with its rows and answers. `series` gives a trial's series by its id; it is asked once a trial.

    answers: those of the study's analysis, each naming its panel; none for a study that asks nothing.
    trained: its trials that are done. audits: what audits of it said, the last one first.
    """

    study: Study
    rows: Sequence[Row]
    answers: Sequence[Answer]
    trained: Sequence[TrialRecord]
    series: Callable[[str], Mapping[str, Series]]
    audits: Sequence[Audit] = ()

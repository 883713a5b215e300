"""What a report is made of, as its caller hands it over. Types alone: no store, no HTML."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from thalweg.runner.analysis import Answer
from thalweg.runner.cells.cells import Declared
from thalweg.runner.facts.observation import Series
from thalweg.runner.facts.row import Row


class Recorded(Declared, Protocol):
    """A study as it was declared; the store's StudyRecord fits. `document` is the declaration as written down."""

    @property
    def question(self) -> str: ...
    @property
    def vars(self) -> tuple[str, ...]: ...
    @property
    def document(self) -> Mapping[str, Any]: ...
    @property
    def declared(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Trained:
    """How and when one trial was trained. `ended` is ISO 8601 in UTC."""

    executor: str
    device: str
    layout: str
    versions: Mapping[str, str]  # package or driver -> version
    seconds: float
    ended: str


@dataclass(frozen=True, kw_only=True)
class Source:
    """A study with its rows and answers. `series` gives a trial's series by its id; it is asked once a trial.

    answers: those of the study's analysis, each naming its panel; none for a study that asks nothing.
    """

    study: Recorded
    rows: Sequence[Row]
    answers: Sequence[Answer]
    trained: Sequence[Trained]
    series: Callable[[str], Mapping[str, Series]]

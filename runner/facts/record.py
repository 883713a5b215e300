"""What goes into the store and comes out of it, as frozen dataclasses. Knows no SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from thalweg.runner.base.canonical import Scalar
from thalweg.runner.facts.choice import Layout
from thalweg.runner.facts.observation import Outcome
from thalweg.runner.study.stop import Pruned

LEFT = "left"
"""What a cohort keeps of a trial that was done before and ended otherwise now: it was left as it was."""


LOST = "lost"
"""What a cohort keeps of a trial that its driver no longer had a claim to when it ended."""


REACHED = "reached"
"""What a cohort keeps of a trial that came to a rung, and is not done."""


@dataclass(frozen=True)
class Owner:
    """A driver at work on a store: its number, its study, and the last commit that its plan knows of.

    until: the steps to which it trains trials that do not train to their end at one go.
    """

    driver: int
    study: str
    since: int
    until: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Refused:
    """Trials that a driver may not train. held: another trains them now; settled: trained since it planned, and how."""

    held: frozenset[str] = frozenset()
    settled: Mapping[str, Outcome] = field(default_factory=dict)

    @property
    def ids(self) -> frozenset[str]:
        """All of them."""
        return self.held | self.settled.keys()


@dataclass(frozen=True)
class Committed:
    """What the store did not take of a commit. left: done before, with other bits; lost: no longer its driver's."""

    left: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class Removal:
    """What would be removed, and who would miss it. trials: the store's numbers; done: how many of them are.

    kept: study -> trials of the removed studies that stay since it declares them. wanted: study -> named trials that it
    declares, and so would train again.
    """

    studies: tuple[str, ...]
    trials: tuple[int, ...]
    done: int
    bytes: int
    kept: Mapping[str, int]
    wanted: Mapping[str, int]


@dataclass(frozen=True)
class Merged:
    """What one store took from another. trials: outcomes taken; same: they were here; left: ids with other bits here.

    studies: how many the other has.
    """

    trials: int
    same: int
    left: tuple[str, ...]
    studies: int


@dataclass(frozen=True, kw_only=True)
class CohortRecord:
    """Trials that train as one program, in lane order, and where. Written before their first step."""

    study: str
    group_id: str
    executor: str
    layout: Layout
    width: int
    device: str
    versions: Mapping[str, str]  # package, driver or file of the user's -> version
    trial_ids: tuple[str, ...]
    peak_bytes: int | None = None  # memory that its worker held at most; None before it ends


@dataclass(frozen=True)
class History:
    """What trials of one group took to train.

    seconds: a trial's mean; fastest, slowest: of the cohorts' means. peak_bytes: the most memory that a worker held.
    """

    trials: int
    seconds: float
    fastest: float
    slowest: float
    peak_bytes: int | None


@dataclass(frozen=True)
class Membership:
    """A trial's place in one study."""

    study: str
    block: str
    axes: Mapping[str, Scalar]
    outside: bool
    pruned: Pruned | None = None  # where the study stopped it early


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """Everything stored about one trial except its series. Times are ISO 8601 in UTC."""

    trial_id: str
    group_id: str
    config: Mapping[str, Any]
    outcome: Outcome | None
    diverged_step: int | None
    weight_hash: str | None
    error: str | None
    seconds: float | None
    metrics: Mapping[str, float]
    memberships: tuple[Membership, ...]
    cohort: CohortRecord | None  # None while untrained
    version: str | None  # of thalweg, when it was trained
    declared: str
    ended: str | None
    tags: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Command:
    """What was typed after `thalweg VERB`, and how many trials it added to its study. declared: ISO 8601, UTC."""

    verb: str
    words: tuple[str, ...]
    trials: int
    declared: str


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """One line of `ls`: how much of a study there is. Counts are of distinct trials.

    wanted: all that are not outside; finished to failed: among those; outside: done, but no longer declared. pruned:
    those that the study's own rule stopped early, and that are not done.
    """

    name: str
    question: str
    metric: str
    direction: Literal["min", "max"]
    wanted: int
    finished: int
    diverged: int
    pruned: int
    failed: int
    outside: int
    declared: str
    tags: tuple[str, ...] = ()
    note: str = ""

    @property
    def done(self) -> int:
        """Trials that need no more training."""
        return self.finished + self.diverged

"""What a schedule orders, and how a group is settled. Plain data."""

from __future__ import annotations

from dataclasses import dataclass

from thalweg.runner.facts.choice import Choice
from thalweg.runner.facts.observation import Observations, Reached
from thalweg.runner.study.trial import Trial
from thalweg.runner.train.messages import Slot, Train, Work


@dataclass(frozen=True)
class Give:
    """Start a piece of work on a slot."""

    slot: Slot
    work: Work


@dataclass(frozen=True)
class Settle:
    """Keep how a group is trained, unless that was decided before; `settled` is to be told what is in force.

    keep: whether to write it down; a trial alone decides nothing for a grid to come, but obeys what was written.
    """

    slot: Slot
    group_id: str
    choice: Choice
    keep: bool


@dataclass(frozen=True)
class Commit:
    """Write what was observed of the cohort that a slot was given last; `committed` is to be told when it is."""

    slot: Slot
    work: Train
    observations: tuple[Observations, ...]
    peak_bytes: int | None = None
    reached: tuple[Reached, ...] = ()


@dataclass(frozen=True)
class Discard:
    """Give up a cohort's claims, and remove what it left on the way: it will not be trained as it was.

    Nothing is removed where another driver has taken some of its trials over, who may be going on from there.
    """

    work: Train


@dataclass(frozen=True)
class Narrow:
    """Remember that no cohort of a group should be wider than this."""

    group_id: str
    width: int


@dataclass(frozen=True)
class Replace:
    """Open another slot in place of one that was lost."""

    slot: Slot


@dataclass(frozen=True)
class Resume:
    """Look how far others came with trials that they no longer train; `resumed` is to be told.

    choice: how they train; None where that was not settled, unless another driver settled it meanwhile.
    """

    group_id: str
    trials: tuple[Trial, ...]
    choice: Choice | None


@dataclass(frozen=True)
class Say:
    """Tell the user."""

    text: str


Order = Give | Settle | Commit | Discard | Narrow | Replace | Resume | Say


@dataclass(frozen=True)
class Settled:
    """How a group is trained, and its cohorts that were killed and go on from a checkpoint."""

    choice: Choice
    begun: tuple[tuple[Trial, ...], ...] = ()

"""A plan: what a study wants, what the store has, and what is left to train. Pure: no torch, no SQL."""

from __future__ import annotations

from dataclasses import dataclass

from runner.study import Member, Study
from runner.trial import Trial


@dataclass(frozen=True)
class Group:
    """Missing trials of one structure: they can train as one program."""

    group_id: str
    trials: tuple[Trial, ...]
    wanted: int  # trials of this structure that the study declares, done ones included


@dataclass(frozen=True)
class Plan:
    """The difference between a declaration and a store.

    wanted counts distinct trials; done + to_train == wanted. `retry` counts those among to_train that failed
    before; `again` maps a reason to the number of finished trials that must be measured again.
    """

    study: Study
    members: tuple[Member, ...]
    wanted: int
    done: int
    diverged: int
    retry: int
    again: dict[str, int]
    groups: tuple[Group, ...]
    outside: int  # finished members of the stored study that this declaration does not contain
    kept_points: dict[str, tuple[int, int]]  # axis key -> (values already in the store, values declared)

    @property
    def to_train(self) -> int:
        """Number of trials that a sweep would train."""
        return sum(len(group.trials) for group in self.groups)

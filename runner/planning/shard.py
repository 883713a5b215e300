"""One of several equal shares of a study, each trained where the others are not seen. Pure.

Which share a trial is in follows from its id alone: so shares never overlap, whoever cuts them and whatever is done.
Each is trained into a store of its own; merging these is the collection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from thalweg.runner.base.errors import UsageError
from thalweg.runner.facts.record import History, TrialRecord
from thalweg.runner.facts.row import Row, TrialStatus
from thalweg.runner.planning.compare import Stored
from thalweg.runner.planning.plan import Plan, only
from thalweg.runner.study.study import Study

MOST = 10_000


@dataclass(frozen=True)
class Shard:
    """Share `number`, from 1, of `of`. Number 0 is the task that goes before them: how each group trains is settled."""

    number: int
    of: int

    @classmethod
    def typed(cls, text: str) -> Shard:
        """Return the shard that `2/4` names. Raises UsageError for what names none."""
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if match and 0 <= int(match[1]) <= int(match[2]) <= MOST and int(match[2]):
            return cls(int(match[1]), int(match[2]))
        raise UsageError(
            f"--shard {text} is not a share; expected i/n with 0 <= i <= n and 1 <= n <= {MOST:,}", "e.g. --shard 1/4"
        )

    @classmethod
    def of_trial(cls, trial_id: str, of: int) -> Shard:
        """The share, of so many, that a trial is in."""
        return cls(int(trial_id[:16], 16) % of + 1, of)

    def holds(self, trial_id: str) -> bool:
        """Whether a trial is in this share."""
        return Shard.of_trial(trial_id, self.of) == self

    def store(self, whole: Path) -> Path:
        """Where this share is stored: beside the store of the whole."""
        return whole.with_name(f"{whole.stem}.{self.number}-of-{self.of}{whole.suffix}")


def share(made: Plan, shard: Shard) -> Plan:
    """Return what of a plan a shard would train; `others` counts what is left to the other shares.

    Its members are its own: a thousand stores that each hold a million trials are a terabyte.

    Raises UsageError for a study whose points depend on results that no share sees whole.
    """
    if made.study.stop:
        text = f"{made.study.name} stops trials early, by what all of them measured; a share sees only its own"
        raise UsageError(text, "sweep it without --shard, or with study.stop=null")
    if made.unknown:
        text = f"{made.study.name} asks for its next points by results; a share sees only its own"
        raise UsageError(text, "sweep it without --shard, or sample by random or sobol")
    if any(member.trial.config.init.trial for member in made.members):
        text = f"{made.study.name} starts from a trial's weights, which the store of a share does not hold"
        raise UsageError(
            text, "write them to a file, thalweg weights ID -o start.safetensors, and name that: init.weights="
        )
    if shard.number == 0:
        return replace(made, settling=True, known=frozenset())
    groups = only(made, lambda trial: shard.holds(trial.id))
    others = made.to_train - sum(len(group.trials) for group in groups)
    held = {place: member for place, member in enumerate(made.members) if shard.holds(member.trial.id)}
    return replace(
        made,
        members=tuple(held.values()),
        places=tuple(held),
        groups=groups,
        others=others,
        retry=0,
        unmeasured=0,
        known=frozenset(),
    )


@dataclass(frozen=True)
class Both:
    """A shard's own store and that of the whole, where there is one: what is done in either is done."""

    own: Stored
    whole: Stored

    def statuses(self, ids: Iterable[str]) -> dict[str, TrialStatus]:
        """As the whole has it, unless it is done in the shard's own alone."""
        asked = list(ids)
        own, whole = self.own.statuses(asked), self.whole.statuses(asked)
        done = {i: status for i, status in whole.items() if status.outcome and status.outcome.is_done}
        return whole | own | done

    def trained_by(self, ids: Iterable[str]) -> Mapping[str, Mapping[str, str]]:
        """The versions that were recorded where a trial is done."""
        asked = list(ids)
        return {**self.own.trained_by(asked), **self.whole.trained_by(asked)}

    def measured_by(self, ids: Iterable[str]) -> Mapping[str, Mapping[str, str]]:
        """The code of the user's metrics that values are of, where a trial is done."""
        asked = list(ids)
        return {**self.own.measured_by(asked), **self.whole.measured_by(asked)}

    def histories(self, group_ids: Iterable[str]) -> Mapping[str, History]:
        """What trials took, where either knows."""
        asked = list(group_ids)
        return {**self.whole.histories(asked), **self.own.histories(asked)}

    def study_rows(self, name: str, *, metrics: bool = True) -> Sequence[Row]:
        """The study as the whole has it, else the shard's own."""
        return self.whole.study_rows(name, metrics=metrics) or self.own.study_rows(name, metrics=metrics)

    def study(self, name: str) -> Study:
        """A study that is there."""
        return (self.whole if self.whole.study_rows(name) else self.own).study(name)

    def trial(self, prefix: str) -> TrialRecord:
        """A trial of either."""
        return self.whole.trial(prefix)

    def last_commit(self) -> int:
        """Of the shard's own store, to which it is trained."""
        return self.own.last_commit()

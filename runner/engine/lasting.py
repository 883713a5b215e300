"""A trial's state in the middle of its training as a checkpoint of its own, and several such as one of a longer cohort.

A longer trial that is otherwise the same takes the same steps up to there, if its schedule has the same rates in them.
What is the same is held here, not believed: a longer schedule's multipliers are compared with those that were used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from thalweg.optim.build import multipliers
from thalweg.runner.engine.checkpoint import Checkpoint, pack, regrouped
from thalweg.runner.engine.record import Record
from thalweg.runner.engine.state import State
from thalweg.runner.study.trial import Trial


@dataclass(frozen=True)
class Lasting:
    """Where states go from which longer trials may go on: `at` which step of a trial, 0 for none; `take` gets them."""

    at: Callable[[Trial], int]
    take: Callable[[str, Checkpoint], None]


def alone(trial: Trial, state: State, record: Record, k: int) -> Checkpoint:
    """Lane k, a trial's, as a checkpoint of it alone; what is in it are copies."""
    place = int(record.lane_of[k])
    own = Record(
        lane_of=np.zeros(1, dtype=np.int64),
        batch_loss_TN=record.batch_loss_TN[:, [place]],
        diverged_step_N=np.full(1, -1),
        evaluated=record.evaluated,
        val={name: [row[[place]] for row in rows] for name, rows in record.val.items()},
    )
    return pack({"trials": [trial.id]}, state.lane(k), own)


def together(
    parts: Sequence[Checkpoint], trials: Sequence[Trial], facts: Mapping[str, Any], measured: Sequence[int]
) -> Checkpoint:
    """Shorter trials' states, one each for `trials`, as the checkpoint of the cohort that these are, told by `facts`.

    measured: the steps at which it is measured. Raises ValueError, in words, where that would not be what the cohort
    has after as many steps.
    """
    step = parts[0].facts["step"]
    needed = [0, *(at for at in measured if at <= step)]
    for trial, part in zip(trials, parts, strict=True):
        _refuse_unlike(trial, part, step)
    named = [_measured(part, needed, trial) for trial, part in zip(trials, parts, strict=True)]
    if any(part.arrays.keys() != named[0].arrays.keys() for part in named):
        raise ValueError("they hold other tensors than one another")
    return regrouped(facts, named)


def _measured(part: Checkpoint, needed: Sequence[int], trial: Trial) -> Checkpoint:
    """A shorter trial's state as the trial's own, with the measurements that are made of it."""
    known = part.facts["evaluated"]
    if lacking := [at for at in needed if at not in known]:
        raise ValueError(f"evaluation.points asks for measurements that were not made, as at step {lacking[0]:,}")
    places = [known.index(at) for at in needed]
    rows = {name: array[places] for name, array in part.arrays.items() if name.startswith("val/")}
    own = {"trials": [trial.id], "steps": trial.config.budget.steps, "evaluated": list(needed)}
    return Checkpoint({**part.arrays, **rows}, {**part.facts, **own})


def _refuse_unlike(trial: Trial, part: Checkpoint, step: int) -> None:
    if part.facts["step"] != step:
        raise ValueError(f"some were kept at step {step:,}, others at step {part.facts['step']:,}")
    schedule, steps = trial.config.schedule, np.arange(step)
    then, now = (multipliers(schedule, total, steps) for total in (part.facts["steps"], trial.config.budget.steps))
    if not np.array_equal(then, now):
        raise ValueError(f"schedule={schedule.name} gives other learning rates in these steps when it is longer")

"""What is collected while a cohort trains, from which its trials' observations are made. Knows no step.

T steps, N trials of the cohort (by their place in it), E measurements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from thalweg.runner.facts.observation import Observations, Outcome, Reached, Series
from thalweg.runner.study.trial import Trial

BATCH_LOSS = "train/batch_loss"


@dataclass
class Record:
    """Losses, measurements and deaths so far. lane_of `[lanes that count]` maps a lane to its trial's place.

    batch_loss_TN: NaN where not trained; scalars: name -> `[T, N]`, NaN where it was not told; evaluated: step numbers;
    val: metric -> rows `[N]`, one a measurement; final: metric -> `[N]`; diverged_step_N: −1 for the living; hashes:
    place -> weight hash of those that ended.
    """

    lane_of: np.ndarray
    batch_loss_TN: np.ndarray
    diverged_step_N: np.ndarray
    evaluated: list[int] = field(default_factory=list)
    val: dict[str, list[np.ndarray]] = field(default_factory=dict)
    scalars: dict[str, np.ndarray] = field(default_factory=dict)
    final: dict[str, np.ndarray] = field(default_factory=dict)
    hashes: dict[int, str] = field(default_factory=dict)

    @classmethod
    def start(cls, steps: int, trials: int) -> Record:
        """The record before the first step."""
        return cls(np.arange(trials), np.full((steps, trials), np.nan), np.full(trials, -1))

    @property
    def living(self) -> int:
        """How many trials still train."""
        return len(self.lane_of)

    def take_scalars(self, names: Sequence[str]) -> None:
        """Record these of each step from now on, and no others; of steps that did not tell them there is nothing."""
        self.scalars = {name: self.scalars.get(name, np.full_like(self.batch_loss_TN, np.nan)) for name in names}

    @property
    def of_steps(self) -> list[np.ndarray]:
        """What a step tells of a trial, in order: where its loss and its scalars go."""
        return [self.batch_loss_TN, *self.scalars.values()]

    def measured(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Add a measurement of the living, name -> `[living]`, on the validation split."""
        self.evaluated.append(step)
        for name, row in self._rows(values).items():
            self.val.setdefault(name, []).append(row)

    def finished(self, split: str, values: Mapping[str, np.ndarray]) -> None:
        """Add the last measurement of the living, name -> `[living]`, on a split."""
        self.final |= {f"{split}/{name}": row for name, row in self._rows(values).items()}

    def _rows(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows = {name: np.full(len(self.diverged_step_N), np.nan) for name in values}
        for name, living in values.items():
            rows[name][self.lane_of] = living
        return rows

    def observations(self, trials: Sequence[Trial], seconds: float) -> list[Observations]:
        """What was observed of each trial that ended, in order; `seconds` is the share of each."""
        ended = ((place, trial) for place, trial in enumerate(trials) if place in self.hashes)
        return [self._observations(place, trial, seconds) for place, trial in ended]

    def reached(self, place: int, trial: Trial, step: int, seconds: float) -> Reached:
        """What was observed of a living trial after so many steps."""
        return Reached(trial_id=trial.id, step=step, series=self._series(place, step), seconds=seconds)

    def _series(self, place: int, trained: int) -> dict[str, Series]:
        died = int(self.diverged_step_N[place])
        series = {BATCH_LOSS: Series(np.arange(trained), self.batch_loss_TN[:trained, place].copy())}
        for name, values_TN in self.scalars.items():
            told = np.flatnonzero(~np.isnan(values_TN[:trained, place]))
            if len(told):
                series[f"train/{name}"] = Series(told, values_TN[told, place])
        known = [i for i, step in enumerate(self.evaluated) if died < 0 or step <= died]
        for name, rows in self.val.items():
            at = np.array([self.evaluated[i] for i in known])
            series[f"val/{name}"] = Series(at, np.array([rows[i][place] for i in known]))
        return series

    def _observations(self, place: int, trial: Trial, seconds: float) -> Observations:
        died = int(self.diverged_step_N[place])
        finished, steps = died < 0, len(self.batch_loss_TN)
        series = self._series(place, steps if finished else min(died + 1, steps))
        final = {name: float(row[place]) for name, row in self.final.items() if np.isfinite(row[place])}
        return Observations(
            trial_id=trial.id,
            outcome=Outcome.FINISHED if finished else Outcome.DIVERGED,
            diverged_step=None if finished else died,
            metrics=final if finished else {},
            series=series,
            weight_hash=self.hashes[place],
            seconds=seconds,
        )

"""States put together for a longer cohort: only such as it would have had after as many steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from thalweg.optim.schema import ConstantConfig
from thalweg.runner.engine.checkpoint import Checkpoint
from thalweg.runner.engine.cohort import Cohort, train
from thalweg.runner.engine.lasting import Lasting, together
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.facts.observation import Observations
from thalweg.runner.study.settings import evaluation_steps
from thalweg.runner.study.trial import Trial


def states(trials: Sequence[Trial], steps: Sequence[int]) -> list[Checkpoint]:
    """Of each trial as it was after so many steps."""
    taken: dict[str, Checkpoint] = {}
    at = {trial.id: step for trial, step in zip(trials, steps, strict=True)}
    workload, cohort = prepared(trials[0].config, torch.device("cpu")), Cohort(tuple(trials), "vmap", "shared", 2)
    train(cohort, workload, lasting=Lasting(lambda trial: at[trial.id], taken.__setitem__))
    return [taken[trial.id] for trial in trials]


def longer(trial: Trial, steps: int = 60) -> Trial:
    return Trial(replace(trial.config, budget=replace(trial.config.budget, steps=steps)))


def joined(parts: Sequence[Checkpoint], trials: Sequence[Trial], points: int = 4) -> Checkpoint:
    cohort = Cohort(tuple(trials), "vmap", "shared", points)
    return together(parts, trials, cohort.facts, evaluation_steps(60, points))


def series_of(observed: Observations) -> dict[str, list[float]]:
    return {name: series.values.tolist() for name, series in observed.series.items()}


def steady(trials: Sequence[Trial]) -> list[Trial]:
    schedule = ConstantConfig(name="constant", warmup=5)
    return [Trial(replace(trial.config, schedule=schedule)) for trial in trials]


def test_a_longer_schedule_of_other_rates_is_refused_whatever_was_kept(grid_of) -> None:
    trials = grid_of(2)
    with pytest.raises(ValueError, match="schedule=warmup_cosine gives other learning rates in these steps when"):
        joined(states(trials, [30, 30]), [longer(trial) for trial in trials])


def test_states_of_other_steps_or_measurements_are_refused(grid_of) -> None:
    trials = steady(grid_of(2))
    with pytest.raises(ValueError, match="some were kept at step 30, others at step 17"):
        joined(states(trials, [30, 17]), [longer(trial) for trial in trials])
    with pytest.raises(ValueError, match="measurements that were not made, as at step 20"):
        joined(states(trials, [30, 30]), [longer(trial) for trial in trials], points=3)


def test_what_is_put_together_goes_on_to_the_bits_of_one_training(grid_of) -> None:
    """From a step that no block ends at."""
    trials = steady(grid_of(3))
    long = [longer(trial) for trial in trials]
    workload, cohort = prepared(long[0].config, torch.device("cpu")), Cohort(tuple(long), "vmap", "shared", 4)
    resumed = train(cohort, workload, resume=joined(states(trials, [17, 17, 17]), long))
    at_once = train(cohort, workload)
    assert [each.weight_hash for each in resumed] == [each.weight_hash for each in at_once]
    assert [series_of(each) for each in resumed] == [series_of(each) for each in at_once]

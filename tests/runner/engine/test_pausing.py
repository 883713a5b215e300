"""A cohort pauses at a rung, and its survivors go on in other company to the bits of a training at one go."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from thalweg.runner.engine.checkpoint import Checkpoint, regrouped
from thalweg.runner.engine.cohort import Cohort, Pausing, train
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.facts.observation import Reached


def same(one, other) -> bool:
    def plain(each):
        series = {name: (s.steps.tolist(), s.values.tolist()) for name, s in each.series.items()}
        return replace(each, seconds=0.0, series={}), str(series)  # as text: NaN equals NaN

    return [plain(each) for each in one] == [plain(each) for each in other]


def through_a_file(checkpoint: Checkpoint) -> Checkpoint:
    arrays = {
        name: np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape)
        for name, array in checkpoint.arrays.items()
    }
    return Checkpoint(arrays, json.loads(json.dumps(checkpoint.facts)))


def paused(cohort: Cohort, step: int, resume: Checkpoint | None = None) -> tuple[list, list[Reached], Checkpoint]:
    """Who ended by then, what the others reached, and their checkpoint as a file holds it."""
    found: list = []
    workload = prepared(cohort.trials[0].config, torch.device("cpu"))
    pausing = Pausing(step, lambda reached, checkpoint: found.append((reached, checkpoint)))
    ended = train(cohort, workload, resume=resume, pausing=pausing)
    (reached, checkpoint), *_ = found
    assert checkpoint is not None
    return ended, reached, through_a_file(checkpoint)


@pytest.mark.long
@pytest.mark.parametrize("executor", ["loop", "vmap", "traced"])
@pytest.mark.parametrize("layout", ["shared", "per_lane"])
def test_survivors_regrouped_at_each_rung_end_as_if_trained_at_once(trial_of, grid_of, executor, layout) -> None:
    dying = trial_of(1e30, warmup=0, steps=100, optimizer="adamw")
    trials = [dying, *grid_of(5, steps=100, optimizer="adamw")]
    cohorts = [Cohort(tuple(part), executor, layout, 4) for part in (trials[:3], trials[3:])]
    whole = Cohort(tuple(trials), executor, layout, 4)
    undisturbed = train(whole, prepared(trials[0].config, torch.device("cpu")))
    (ended, first, a), (none, second, b) = (paused(cohort, 25) for cohort in cohorts)
    assert same(ended, undisturbed[:1])
    assert none == []
    assert [each.trial_id for each in (*first, *second)] == [trial.id for trial in trials[1:]]
    assert all(each.step == 25 for each in first)
    for each, end in zip((*first, *second), undisturbed[1:], strict=True):
        for name, series in each.series.items():
            count = len(series.steps)
            assert count
            assert series.values.tolist() == end.series[name].values[:count].tolist()
    left = Cohort((trials[5], trials[1], trials[3], trials[4]), executor, layout, 4)
    _, _, again = paused(left, 75, regrouped(left.facts, [a, b]))
    last = Cohort((trials[1], trials[5]), executor, layout, 4)
    workload = prepared(trials[0].config, torch.device("cpu"))
    ended = train(last, workload, resume=regrouped(last.facts, [again]))
    assert same(ended, [undisturbed[1], undisturbed[5]])


def test_a_cohort_beyond_its_rung_pauses_where_it_is(grid_of) -> None:
    cohort = Cohort(tuple(grid_of(3, steps=100)), "vmap", "shared", 4)
    _, _, at = paused(cohort, 50)
    _, reached, again = paused(cohort, 25, at)
    assert [each.step for each in reached] == [50] * 3
    assert again.facts["step"] == 50
    assert 25 in reached[0].series["val/loss"].steps


def test_a_cohort_whose_trials_all_died_reaches_no_rung(trial_of) -> None:
    trials = tuple(trial_of(rate, warmup=0, steps=100) for rate in (1e30, 1e29))
    workload = prepared(trials[0].config, torch.device("cpu"))
    found: list = []
    ended = train(Cohort(trials, "vmap", "shared", 4), workload, pausing=Pausing(75, lambda *of: found.append(of)))
    assert (len(ended), found) == (2, [])

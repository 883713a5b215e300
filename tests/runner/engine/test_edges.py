"""Cohorts at their edges: everything diverges, the last step does, budgets and batches of awkward sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from thalweg.runner.engine import cohort as module
from thalweg.runner.engine.cohort import Cohort, train
from thalweg.runner.engine.evaluate import evaluate
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.study.settings import evaluation_steps

both = pytest.mark.parametrize("executor", ["loop", "vmap", "traced"])


@both
def test_a_cohort_that_dies_in_its_first_block_reports_all_its_work(trial_of, executor) -> None:
    trials = tuple(trial_of(10.0**power, warmup=0, steps=300) for power in (28, 29, 30))
    work = []
    workload = prepared(trials[0].config, torch.device("cpu"))
    observed = train(Cohort(trials, executor, "shared", 3), workload, lambda *tick: work.append(tick))
    assert [each.outcome for each in observed] == ["diverged"] * 3
    assert len({each.weight_hash for each in observed} - {None}) == 3
    assert all(each.metrics == {} and each.diverged_step < module.BLOCK for each in observed)
    assert tuple(map(sum, zip(*work, strict=True))) == (900, 3)


@both
def test_divergence_at_the_last_step_is_divergence(trial_of, train_all, executor) -> None:
    """With a constant rate a shorter budget walks the same path."""
    constant = {"warmup": 0, "floor": 1.0}
    step = train_all([trial_of(50.0, steps=90, **constant)], executor)[0].diverged_step
    assert step is not None
    (last,) = train_all([trial_of(50.0, steps=step + 1, **constant)], executor)
    assert (last.outcome, last.diverged_step) == ("diverged", step)
    assert len(last.series["train/batch_loss"].values) == step + 1
    assert last.series["val/loss"].steps[-1] <= step
    (before,) = train_all([trial_of(50.0, steps=step, **constant)], executor)
    assert before.weight_hash == last.weight_hash
    assert len(before.series["train/batch_loss"].values) == step


@both
def test_fewer_steps_than_evaluation_points_measures_each_step_once(trial_of, train_all, executor) -> None:
    (observed,) = train_all([trial_of(steps=3, warmup=1)], executor, evaluations=10)
    assert observed.series["val/loss"].steps.tolist() == [0, 1, 2, 3]
    assert evaluation_steps(1, 10) == [1]


@both
@pytest.mark.parametrize("layout", ["shared", "per_lane"])
def test_a_batch_larger_than_the_data_set_trains(trial_of, train_all, executor, layout) -> None:
    trials = [trial_of(rate, steps=4, warmup=1, batch_size=450) for rate in (0.05, 0.1)]
    observed = train_all(trials, executor, layout)
    assert [each.outcome for each in observed] == ["finished"] * 2
    assert observed[1].weight_hash == train_all(trials[1:], executor, layout)[0].weight_hash


@pytest.mark.long
@both
def test_lanes_keep_their_own_batches_when_others_are_dropped(trial_of, train_all, executor) -> None:
    living = [trial_of(0.05, seed=seed, steps=120) for seed in range(4)]
    dying = [trial_of(1e30, seed=seed, warmup=0, steps=120) for seed in (7, 8)]
    alone = {each.trial_id: each.weight_hash for each in train_all(living, executor, "per_lane")}
    mixed = train_all([dying[0], *living[:2], dying[1], *living[2:]], executor, "per_lane")
    assert {each.trial_id: each.weight_hash for each in mixed if each.outcome == "finished"} == alone
    assert [each.outcome for each in mixed].count("diverged") == 2


def test_a_trial_whose_final_validation_loss_is_not_finite_diverged_after_its_last_step(
    grid_of, train_all, monkeypatch
) -> None:
    def spoiled(workload, state, split, executor, **seeds):
        values = evaluate(workload, state, split, executor, **seeds)
        if split == "val" and state.step == 30:
            values["loss"][1] = torch.inf
        return values

    plain = train_all(grid_of(3))
    monkeypatch.setattr(module, "evaluate", spoiled)
    first, second, third = train_all(grid_of(3))
    assert (second.outcome, second.diverged_step, second.metrics) == ("diverged", 30, {})
    assert len(second.series["train/batch_loss"].values) == 30
    assert second.weight_hash == plain[1].weight_hash
    assert [first.metrics, third.metrics] == [plain[0].metrics, plain[2].metrics]


@both
def test_float64_trials_are_observed_in_float64(trial_of, train_all, executor) -> None:
    (observed,) = train_all([trial_of(precision="float64")], executor)
    losses = observed.series["train/batch_loss"].values
    assert losses.dtype == np.float64
    assert not np.array_equal(losses, losses.astype(np.float32))


def test_one_workload_serves_cohort_after_cohort(grid_of) -> None:
    trials = tuple(grid_of(3))
    workload = prepared(trials[2].config, torch.device("cpu"))
    cohort = Cohort(trials, "vmap", "shared", 2)
    first, second = (train(cohort, workload) for _ in range(2))
    assert [each.weight_hash for each in first] == [each.weight_hash for each in second]

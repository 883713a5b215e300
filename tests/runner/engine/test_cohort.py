"""What a cohort reports: whole series, diverged lanes with their step, metrics that are finite."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from thalweg.runner.engine.cohort import Cohort, train
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.state import host_arrays
from thalweg.runner.facts.weights import weight_hash
from thalweg.runner.study.settings import evaluation_steps


def test_a_finished_trial_has_every_loss_and_all_final_metrics(trial_of, train_all) -> None:
    (observed,) = train_all([trial_of(steps=70)], evaluations=3)
    assert observed.outcome == "finished"
    assert observed.series["train/batch_loss"].steps.tolist() == list(range(70))
    assert observed.series["val/loss"].steps.tolist() == [0, *evaluation_steps(70, 3)]
    measured = ("loss", "accuracy", "calibration_error")
    guess = {"guess/loss", "guess/accuracy"}
    assert set(observed.metrics) == {f"{split}/{m}" for split in ("train", "val", "test") for m in measured} | guess
    assert observed.metrics["val/loss"] == observed.series["val/loss"].values[-1]


@pytest.mark.parametrize("executor", ["loop", "vmap"])
def test_a_diverged_trial_stops_at_its_step_with_the_state_before_it(trial_of, train_all, executor) -> None:
    trial = trial_of(1e30, warmup=0, steps=120)
    (observed,) = train_all([trial], executor)
    assert observed.outcome == "diverged"
    assert observed.metrics == {}
    losses = observed.series["train/batch_loss"]
    assert losses.steps[-1] == observed.diverged_step
    assert not losses.values[-1] <= 1e4 * max(losses.values[0], 1)
    assert np.isfinite(losses.values[:-1]).all()
    shorter = trial_of(1e30, warmup=0, steps=120)
    assert train_all([shorter], executor)[0].weight_hash == observed.weight_hash


def test_divergence_is_by_the_configured_factor(trial_of, train_all) -> None:
    (observed,) = train_all([trial_of(50.0, warmup=0, steps=60)])
    first = observed.series["train/batch_loss"].values
    assert observed.outcome == "diverged"
    assert first[-1] > 1e4 * max(first[0], 1) or not math.isfinite(first[-1])
    assert (first[:-1] <= 1e4 * max(first[0], 1)).all()


def test_how_often_is_measured_changes_no_weight(grid_of, train_all) -> None:
    few, many = train_all(grid_of(3), evaluations=1), train_all(grid_of(3), evaluations=15)
    assert [each.weight_hash for each in few] == [each.weight_hash for each in many]
    assert few[0].metrics == many[0].metrics


def test_work_reported_while_training_adds_up(trial_of) -> None:
    trials = (trial_of(0.1, steps=110), trial_of(1e30, warmup=0, steps=110))
    ticks: list[tuple[int, int]] = []
    workload = prepared(trials[0].config, torch.device("cpu"))
    train(Cohort(trials, "vmap", "shared", 2), workload, lambda steps, diverged: ticks.append((steps, diverged)))
    assert sum(steps for steps, _ in ticks) == 220
    assert sum(diverged for _, diverged in ticks) == 1


def test_trials_of_different_init_gain_share_a_cohort(trial_of, train_all) -> None:
    trials = [trial_of(init_gain=gain) for gain in (0.5, 1.0, 2.0)]
    assert len({trial.group_id for trial in trials}) == 1
    together = [each.weight_hash for each in train_all(trials)]
    assert together == [train_all([trial])[0].weight_hash for trial in trials]


def test_shared_batches_refuse_two_seeds(trial_of, train_all) -> None:
    with pytest.raises(ValueError, match="one seed"):
        train_all([trial_of(seed=0), trial_of(seed=1)], layout="shared")


def test_the_weight_hash_is_pinned_and_sees_names_shapes_and_bits() -> None:
    weights = {"a": torch.arange(6.0).view(2, 3), "b": torch.zeros(2)}

    def hashed(tensors):
        return weight_hash(host_arrays(tensors))

    pinned = hashed(weights)
    assert pinned == "6aeb476c021a4b62fbc966f14f041c6cbe8045a621613d599b9891f380895e99"
    assert hashed(dict(reversed(weights.items()))) == pinned
    assert hashed({**weights, "a": weights["a"].view(3, 2)}) != pinned
    assert hashed({**weights, "a": weights["a"].double()}) != pinned
    assert hashed({"a": weights["a"], "c": weights["b"]}) != pinned
    assert hashed({**weights, "b": torch.tensor([0.0, 1e-45])}) != pinned
    assert hashed({**weights, "a": weights["a"].t().contiguous().t()}) == pinned

"""Label smoothing, augmentation and misfits, through whole training runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from thalweg.data.schema import TaskConfig
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.cohort import Cohort, train
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.study.trial import Trial


def smoothed(trial: Trial, by: float) -> Trial:
    return Trial(replace(trial.config, task=TaskConfig(loss="auto", label_smoothing=by)))


def augmented(trial: Trial, *names: str) -> Trial:
    dataset = replace(trial.config.dataset, augment=names)  # type: ignore[arg-type]
    return Trial(replace(trial.config, dataset=dataset))


def losses_of(observations) -> np.ndarray:
    return np.stack([each.series["train/batch_loss"].values for each in observations])


def test_trials_of_unlike_smoothing_share_a_group_and_fuse(grid_of, train_all) -> None:
    trials = [smoothed(trial, by) for trial, by in zip(grid_of(3, precision="float64"), (0.0, 0.1, 0.4), strict=True)]
    assert len({trial.group_id for trial in trials}) == 1
    np.testing.assert_allclose(losses_of(train_all(trials, "vmap")), losses_of(train_all(trials, "loop")), rtol=1e-10)


@pytest.mark.parametrize("executor", ["vmap", "loop"])
def test_a_trial_that_does_not_smooth_has_its_bits_beside_one_that_does(grid_of, train_all, executor) -> None:
    plain, other = grid_of(2)
    alone = train_all([plain, other], executor)[0].weight_hash
    assert train_all([plain, smoothed(other, 0.3)], executor)[0].weight_hash == alone


@pytest.mark.long
@pytest.mark.parametrize("layout", ["shared", "per_lane"])
@pytest.mark.parametrize("names", [("crop", "flip", "cutout"), ("mixup",)])
def test_augmented_batches_are_the_same_in_every_executor(grid_of, train_all, names, layout) -> None:
    trials = [augmented(trial, *names) for trial in grid_of(3, precision="float64", steps=12)]
    fused, solo = (train_all(trials, executor, layout) for executor in ("vmap", "loop"))
    np.testing.assert_allclose(losses_of(fused), losses_of(solo), rtol=1e-10)
    assert (losses_of(fused) != losses_of(train_all(grid_of(3, precision="float64", steps=12)))).all()


def test_augmentation_is_of_the_seed_and_of_nothing_else(trial_of, train_all) -> None:
    one, same, other = (augmented(trial_of(0.0, seed=seed), "crop") for seed in (0, 0, 1))
    alone, beside, unlike = train_all([one, same, other], "vmap", "per_lane")
    assert np.array_equal(losses_of([alone]), losses_of([beside]))
    assert not np.array_equal(losses_of([alone]), losses_of([unlike]))


def test_a_model_whose_outputs_do_not_fit_is_refused_before_it_trains(trial_of, monkeypatch) -> None:
    monkeypatch.setattr("thalweg.runner.engine.workload.build_model", lambda config, extent: torch.nn.Flatten())
    with pytest.raises(ConfigError, match=r"outputs of shape \[2, 64\] for 2 examples.*expected one tensor.*\[2, 10\]"):
        prepared(trial_of().config, torch.device("cpu"))


@pytest.mark.parametrize("executor", ["loop", "vmap", "traced"])
def test_any_name_of_a_device_trains_to_the_same_bits(trial_of, executor) -> None:
    """cpu:0 is to cpu what `cuda` is to cuda:0: the device, by a name that none of its tensors has."""
    trial = trial_of(0.1, steps=3, warmup=0)
    workloads = [prepared(trial.config, torch.device(name)) for name in ("cpu", "cpu:0")]
    assert workloads[0].device == workloads[1].device == workloads[1].start([trial]).theta.device
    one, other = (train(Cohort((trial,), executor, "shared", 2), each)[0] for each in workloads)
    assert one.weight_hash == other.weight_hash

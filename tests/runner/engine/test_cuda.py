"""The same trials on a GPU: the same start, the same losses to rounding, the same bits when trained again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from runner.engine.cohort import Cohort, train
from runner.engine.workload import Workload

pytestmark = pytest.mark.gpu


def on(device: str, trials, executor: str = "vmap"):
    workload = Workload.of(trials[0].config, torch.device(device))
    return train(Cohort(tuple(trials), executor, "shared", 2), workload)


def losses_of(observations) -> np.ndarray:
    return np.stack([each.series["train/batch_loss"].values for each in observations])


def test_cpu_and_gpu_begin_with_the_same_bits(grid_of) -> None:
    trials = grid_of(3)
    starts = [Workload.of(trials[0].config, torch.device(device)).start(trials) for device in ("cpu", "cuda")]
    assert torch.equal(starts[0].theta, starts[1].theta.cpu())


@pytest.mark.parametrize("executor", ["loop", "vmap"])
def test_losses_on_the_gpu_equal_the_cpus(grid_of, executor) -> None:
    trials = grid_of(4, precision="float64", steps=20)
    np.testing.assert_allclose(losses_of(on("cuda", trials, executor)), losses_of(on("cpu", trials)), rtol=1e-8)


def test_training_again_on_the_gpu_gives_the_same_bits(grid_of, trial_of) -> None:
    trials = [*grid_of(6), trial_of(1e30)]
    first, again = on("cuda", trials), on("cuda", trials)
    assert [each.weight_hash for each in first] == [each.weight_hash for each in again]
    assert first[-1].outcome == "diverged"

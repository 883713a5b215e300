"""The same trials on a GPU: the same start, the same losses to rounding, the same bits when trained again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from thalweg.runner.engine.checkpoint import Checkpoint
from thalweg.runner.engine.cohort import Cohort, Keeping, train
from thalweg.runner.engine.executors import EXECUTORS
from thalweg.runner.engine.inputs import Inputs
from thalweg.runner.engine.prepare import prepared

pytestmark = pytest.mark.gpu
FUSED = ("vmap", "traced", "graphed")


def on(device: str, trials, executor: str = "vmap", **more):
    workload = prepared(trials[0].config, torch.device(device))
    return train(Cohort(tuple(trials), executor, "shared", 2), workload, **more)


def losses_of(observations) -> np.ndarray:
    return np.stack([each.series["train/batch_loss"].values for each in observations])


def test_cpu_and_gpu_begin_with_the_same_bits(grid_of) -> None:
    trials = grid_of(3)
    starts = [prepared(trials[0].config, torch.device(device)).start(trials) for device in ("cpu", "cuda")]
    assert torch.equal(starts[0].theta, starts[1].theta.cpu())


@pytest.mark.parametrize("executor", ["loop", *FUSED])
@pytest.mark.parametrize("sam", [{"name": "none"}, {"name": "standard", "rho": 0.1}])
def test_losses_on_the_gpu_equal_the_cpus(grid_of, executor, sam) -> None:
    trials = grid_of(4, precision="float64", steps=20, sam=sam)
    np.testing.assert_allclose(losses_of(on("cuda", trials, executor)), losses_of(on("cpu", trials)), rtol=1e-8)


@pytest.mark.parametrize("executor", ["loop", *FUSED, "graphed_compiled"])
def test_what_is_frozen_is_held_apart_on_the_gpu_too(trial_of, executor) -> None:
    frozen = {"groups": {"named": [("middle", {"match": "layers.1.*", "freeze": True})]}}
    trials = [trial_of(lr, precision="float64", steps=20, optimizer="adamw", **frozen) for lr in (0.01, 0.1)]
    np.testing.assert_allclose(losses_of(on("cuda", trials, executor)), losses_of(on("cpu", trials)), rtol=1e-8)


@pytest.mark.parametrize("executor", FUSED)
def test_training_again_on_the_gpu_gives_the_same_bits(grid_of, trial_of, executor) -> None:
    trials = [*grid_of(6, steps=120), trial_of(1e30, warmup=0, steps=120)]
    first, again = on("cuda", trials, executor), on("cuda", trials, executor)
    assert [each.weight_hash for each in first] == [each.weight_hash for each in again]
    assert first[-1].outcome == "diverged"


@pytest.mark.parametrize("executor", FUSED)
def test_a_checkpoint_taken_on_the_gpu_goes_on_to_the_same_bits(grid_of, executor) -> None:
    trials = grid_of(5, steps=200)
    taken: list[Checkpoint] = []
    whole = on("cuda", trials, executor, keeping=Keeping(lambda: True, taken.append))
    resumed = on("cuda", trials, executor, resume=taken[0])
    assert [each.weight_hash for each in resumed] == [each.weight_hash for each in whole]


def test_a_compiled_update_trains_on_the_gpu_as_on_the_cpu_and_again_to_the_same_bits(grid_of, trial_of) -> None:
    trials = [*grid_of(4, precision="float64"), trial_of(1e30, warmup=0, precision="float64")]
    first, again = (on("cuda", trials, "graphed_compiled") for _ in range(2))
    np.testing.assert_allclose(losses_of(first[:4]), losses_of(on("cpu", trials)[:4]), rtol=1e-8)
    assert [each.weight_hash for each in first] == [each.weight_hash for each in again]
    assert first[-1].outcome == "diverged"


@pytest.mark.parametrize("executor", FUSED)
def test_no_step_waits_for_the_device(grid_of, executor) -> None:
    trials = grid_of(4, steps=60)
    workload = prepared(trials[0].config, torch.device("cuda"))
    state, inputs = workload.start(trials), Inputs(trials, "shared", workload)
    first, second = (inputs.block(start, start + 20, np.arange(4)) for start in (0, 20))
    EXECUTORS[executor](workload, state, first)
    torch.cuda.set_sync_debug_mode("error")
    try:
        EXECUTORS[executor](workload, state, second)
    finally:
        torch.cuda.set_sync_debug_mode("default")

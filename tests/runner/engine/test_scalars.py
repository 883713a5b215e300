"""What a step tells of itself: norms as a plain script takes them, stored as series, and no bit of training changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_constructs import trials_of
from torch import nn

from thalweg import optim
from thalweg.optim.schedule import warmup_cosine
from thalweg.runner.engine.checkpoint import Checkpoint, regrouped
from thalweg.runner.engine.choose import compiler_found
from thalweg.runner.engine.cohort import Cohort, Keeping, train
from thalweg.runner.engine.inputs import Inputs
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.streams import batch_indices
from thalweg.runner.engine.tabled import TabledSteps
from thalweg.runner.engine.workload import initialised

CPU = torch.device("cpu")
STEPS = 20
EXECUTORS = ("loop", "vmap", "traced")
ALL = ("gradient_norm", "update_norm", "weight_norm")


def told(trials, executor: str, scalars=ALL, layout="shared", **how):
    workload = prepared(trials[0].config, CPU).telling(scalars)
    return train(Cohort(tuple(trials), executor, layout, 2), workload, **how)


def series_of(observed, name: str) -> np.ndarray:
    return np.stack([each.series[f"train/{name}"].values for each in observed])


def by_hand(trial) -> dict[str, list[float]]:
    config, of = trial.config, trial.config.optimizer
    workload = prepared(config, CPU)
    model = initialised(config, workload.extent).double()
    weights = [*model.parameters()]
    optimizer = optim.AdamW(weights, lr=of.lr, betas=(of.beta1, of.beta2), eps=of.eps, weight_decay=of.weight_decay)
    found: dict[str, list[float]] = {name: [] for name in ALL}
    for t, rows in enumerate(batch_indices(config.seed, 0, STEPS, config.budget.batch_size, 200)):
        optimizer.param_groups[0]["lr"] = of.lr * float(warmup_cosine(t, STEPS, 5, 0.0))
        x, y = workload.splits["train"].take(torch.as_tensor(rows))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        before = nn.utils.parameters_to_vector(weights).detach().clone()
        found["gradient_norm"].append(nn.utils.clip_grad_norm_(weights, config.clip.limit).item())
        optimizer.step()
        after = nn.utils.parameters_to_vector(weights).detach()
        found["update_norm"].append((after - before).norm().item())
        found["weight_norm"].append(after.norm().item())
    return found


@pytest.mark.parametrize("layout", ["shared", "per_lane"])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_norms_are_those_of_a_script_the_gradients_before_it_is_clipped(trial_of, executor, layout) -> None:
    clip = {"name": "norm", "limit": 0.3}
    trials = [
        trial_of(lr, 0.1, optimizer="adamw", precision="float64", steps=STEPS, clip=clip) for lr in (0.02, 0.05, 0.01)
    ]
    observed = told(trials, executor, layout=layout)
    for place, trial in enumerate(trials):
        for name, values in by_hand(trial).items():
            np.testing.assert_allclose(series_of(observed, name)[place], values, rtol=1e-8)
            assert observed[place].series[f"train/{name}"].steps.tolist() == [*range(STEPS)]


@pytest.mark.long
@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_is_told_changes_no_bit_and_comes_in_any_choice(trial_of, train_all, executor) -> None:
    trials = [trial_of(lr, 0.1, optimizer="adamw", steps=STEPS, hidden=(7, 5)) for lr in (0.02, 0.05)]
    plain, whole = train_all(trials, executor), told(trials, executor)
    for scalars in (ALL, ALL[::-1], ALL[1:2], ()):
        observed = told(trials, executor, scalars)
        assert [each.weight_hash for each in observed] == [each.weight_hash for each in plain]
        names = {name for each in observed for name in each.series if name.startswith("train/")}
        assert names == {"train/batch_loss", *(f"train/{name}" for name in scalars)}
        for name in ("batch_loss", *scalars):
            assert np.array_equal(series_of(observed, name), series_of(whole, name))


@pytest.mark.long
@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_lane_that_dies_tells_until_it_does_and_the_others_go_on(trial_of, executor) -> None:
    trials = [trial_of(lr, warmup=0, optimizer="adamw", steps=150) for lr in (0.02, 1e30, 0.05)]
    observed = told(trials, executor)
    assert [each.outcome for each in observed] == ["finished", "diverged", "finished"]
    died = observed[1].diverged_step
    assert died is not None
    moved = observed[1].series["train/update_norm"]
    assert moved.steps.tolist() == [*range(died + 1)]
    assert moved.values[-1] == 0  # the update that was refused
    alone = told(trials[2:], executor)[0]
    for name in ALL:
        assert np.array_equal(alone.series[f"train/{name}"].values, observed[2].series[f"train/{name}"].values)


@pytest.mark.long
@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_cohort_that_goes_on_tells_what_it_would_have_told(trial_of, executor) -> None:
    trials = tuple(trial_of(lr, 0.1, optimizer="adamw", steps=150) for lr in (0.02, 0.05))
    kept: list[Checkpoint] = []
    whole = told(trials, executor, keeping=Keeping(lambda: True, kept.append))
    at = kept[0].facts["step"]
    facts = Cohort(trials, executor, "shared", 2).facts
    for checkpoint in (kept[0], regrouped(facts, kept[:1])):
        resumed = told(trials, executor, resume=checkpoint)
        for name in ALL:
            assert np.array_equal(series_of(resumed, name), series_of(whole, name))
    silent: list[Checkpoint] = []
    told(trials, executor, (), keeping=Keeping(lambda: True, silent.append))
    late = told(trials, executor, resume=silent[0])[0].series["train/weight_norm"]
    assert late.steps.tolist() == [*range(at, 150)]
    assert np.array_equal(late.values, whole[0].series["train/weight_norm"].values[at:])
    assert "train/weight_norm" not in told(trials, executor, ALL[:1], resume=kept[0])[0].series


@pytest.mark.slow
@pytest.mark.skipif(not compiler_found(), reason="NOT RUN: needs a C++ compiler")
def test_the_compiled_step_tells_too(trial_of) -> None:
    trials = [trial_of(lr, 0.1, optimizer="adamw", precision="float64", steps=STEPS) for lr in (0.02, 0.05)]
    found, expected = told(trials, "compiled"), told(trials, "loop")
    for name in ("batch_loss", *ALL):
        np.testing.assert_allclose(series_of(found, name), series_of(expected, name), rtol=1e-8)


def test_a_tabled_step_tells_too(trial_of) -> None:
    """What a CUDA graph replays, called as it is; a block longer than its tables."""
    trials = [trial_of(lr, 0.1, optimizer="adamw", precision="float64", steps=70) for lr in (0.02, 0.05)]
    workload = prepared(trials[0].config, CPU).telling(ALL)
    block = Inputs(trials, "shared", workload).block(0, 70, np.arange(2))
    state = workload.start(trials)
    steps = TabledSteps(workload, state, block)
    found = steps.advance(state, block, steps.take).view(70, 2, 4).numpy()
    expected = told(trials, "vmap")
    for place, name in enumerate(("batch_loss", *ALL)):
        np.testing.assert_allclose(found[:, :, place].T, series_of(expected, name), rtol=1e-8)


@pytest.mark.parametrize("name", ["Normed", "Counter"])
def test_a_users_own_model_tells_too(trial_of, constructs, monkeypatch, name) -> None:
    monkeypatch.chdir(constructs)
    trials = trials_of(trial_of, name)
    observed = told(trials, "loop")
    assert all((series_of(observed, scalar)[:, 1:] > 0).all() for scalar in ALL)


def test_the_average_of_weights_is_not_what_moves(trial_of) -> None:
    trial = trial_of(0.02, 0.1, steps=STEPS)
    averaged = replace(trial, config=trial_of(0.02, 0.1, steps=STEPS, average={"name": "ema", "decay": 0.9}).config)
    for name in ALL:
        assert np.array_equal(series_of(told([trial], "vmap"), name), series_of(told([averaged], "vmap"), name))

"""A running average of the weights: torch's AveragedModel, fused and in the loop; training knows nothing of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from handed import handed_over
from test_constructs import built_anew, seed_all, trials_of
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from thalweg import optim
from thalweg.optim.schedule import warmup_cosine
from thalweg.optim.schema import EMAConfig
from thalweg.runner.engine.checkpoint import Checkpoint
from thalweg.runner.engine.choose import compiler_found
from thalweg.runner.engine.cohort import Cohort, Keeping, train
from thalweg.runner.engine.executors import EXECUTORS as RUN
from thalweg.runner.engine.inputs import Inputs
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.streams import batch_indices, stream_key
from thalweg.runner.engine.tabled import TabledSteps
from thalweg.runner.engine.workload import Workload, initialised
from thalweg.runner.study.trial import Trial

CPU = torch.device("cpu")
STEPS = 20
EXECUTORS = ("loop", "vmap", "traced")


def averaged(trial: Trial, decay: float) -> Trial:
    return Trial(replace(trial.config, average=EMAConfig(name="ema", decay=decay)))


def hashes_of(observations) -> list[str]:
    return [each.weight_hash for each in observations]


def ended(trials, executor: str, layout: Any = "shared") -> tuple[list, list[dict[str, np.ndarray]]]:
    """What is observed of trials, and the arrays that are handed out."""
    observed, weights = handed_over(trials, prepared(trials[0].config, CPU), executor, layout, 4)
    return observed, [dict(each.arrays) for each in weights]


def by_hand(trial, model: nn.Module, workload: Workload) -> tuple[AveragedModel, list[float]]:
    """The average of a plain loop with AdamW, and its validation losses where the cohort measures."""
    config, of = trial.config, trial.config.optimizer
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.average.decay))
    optimizer = optim.AdamW(
        model.parameters(), lr=of.lr, betas=(of.beta1, of.beta2), eps=of.eps, weight_decay=of.weight_decay
    )
    val, measured = workload.splits["val"], []

    def measure() -> None:
        average.eval()
        with torch.no_grad():
            measured.append(nn.functional.cross_entropy(average(val.x), val.y).item())

    measure()
    for t, rows in enumerate(batch_indices(config.seed, 0, config.budget.steps, config.budget.batch_size, 200)):
        m = float(warmup_cosine(t, config.budget.steps, config.schedule.warmup, 0.0))
        optimizer.param_groups[0]["lr"] = of.lr * m
        x, y = workload.splits["train"].take(torch.as_tensor(rows))
        seed_all(stream_key(config.seed, "forward", t))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        average.update_parameters(model)
        if (t + 1) % (config.budget.steps // 4) == 0:
            measure()
    return average, measured


@pytest.mark.long
@pytest.mark.parametrize("layout", ["shared", "per_lane"])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_is_measured_and_handed_out_is_torchs_average_per_trial(trial_of, executor, layout) -> None:
    trials = [
        averaged(trial_of(0.02, 0.1, optimizer="adamw", precision="float64", steps=STEPS), decay)
        for decay in (0.5, 0.9, 0.999)
    ]
    assert len({trial.group_id for trial in trials}) == 1
    observed, arrays = ended(trials, executor, layout)
    workload = prepared(trials[0].config, CPU)
    for trial, one, given in zip(trials, observed, arrays, strict=True):
        average, measured = by_hand(trial, initialised(trial.config, workload.extent).double(), workload)
        np.testing.assert_allclose(one.series["val/loss"].values, measured, rtol=1e-10)
        np.testing.assert_allclose(one.metrics["val/loss"], measured[-1], rtol=1e-10)
        for name, parameter in average.module.named_parameters():
            np.testing.assert_allclose(given[name], parameter.detach().numpy(), rtol=1e-10, atol=1e-13)


@pytest.mark.long
@pytest.mark.parametrize("executor", EXECUTORS)
def test_training_is_the_same_to_the_bit_with_an_average_and_without(trial_of, executor) -> None:
    plain = [trial_of(lr, 0.1, optimizer="adamw", steps=STEPS) for lr in (0.02, 0.05)]
    states = []
    for trials in (plain, [averaged(trial, 0.9) for trial in plain]):
        workload = prepared(trials[0].config, CPU)
        state = workload.start(trials, executor)
        RUN[executor](workload, state, Inputs(trials, "shared", workload).block(0, STEPS, np.arange(2)))
        states.append(state)
    assert torch.equal(states[0].theta, states[1].theta)
    assert not torch.equal(states[1].theta, states[1].result.theta)
    assert states[0].result is states[0]


@pytest.mark.long
@pytest.mark.parametrize("executor", EXECUTORS)
def test_an_average_that_forgets_all_is_the_last_steps_weights(trial_of, train_all, executor) -> None:
    plain = [trial_of(lr, 0.1, optimizer="adamw", steps=STEPS) for lr in (0.02, 0.05)]
    forgetting = train_all([averaged(trial, 0.0) for trial in plain], executor)
    assert hashes_of(forgetting) == hashes_of(train_all(plain, executor))


@pytest.mark.long
@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_trials_bits_do_not_depend_on_its_neighbours_and_the_dead_keep_theirs(trial_of, train_all, executor) -> None:
    trials = [averaged(trial_of(0.05, 0.1, steps=STEPS, hidden=(7, 5)), decay) for decay in (0.5, 0.9, 0.99)]
    together = hashes_of(train_all(trials, executor))
    assert len({*together}) == 3
    assert [hashes_of(train_all([trial], executor))[0] for trial in trials] == together
    dying = averaged(trial_of(1e30, warmup=0, steps=STEPS, hidden=(7, 5)), 0.5)
    mixed = train_all([trials[2], dying, trials[0]], executor)
    assert hashes_of(mixed)[::2] == [together[2], together[0]]
    assert mixed[1].outcome == "diverged"
    assert mixed[1].weight_hash == train_all([dying], executor)[0].weight_hash


@pytest.mark.long
@pytest.mark.parametrize("executor", EXECUTORS)
def test_it_goes_on_from_a_checkpoint_to_the_same_bits(trial_of, executor) -> None:
    trials = tuple(averaged(trial_of(0.02, 0.1, optimizer="adamw", steps=150), decay) for decay in (0.9, 0.99))
    kept: list[Checkpoint] = []
    cohort = Cohort(trials, executor, "shared", 3)
    ended = train(cohort, prepared(trials[0].config, CPU), keeping=Keeping(lambda: True, kept.append))
    resumed = train(cohort, prepared(trials[0].config, CPU), resume=kept[0])
    assert [(one.weight_hash, one.metrics) for one in resumed] == [(one.weight_hash, one.metrics) for one in ended]


def test_a_rule_of_matrices_and_what_is_frozen_have_an_average_too(trial_of) -> None:
    named = [("low", {"match": "layers.0.*", "freeze": True})]
    trial = trial_of(
        0.02, 0.1, optimizer="muon", rule={"decay_on": "all"}, steps=STEPS, groups={"named": named}
    )  # fmt: skip
    (_, arrays), (_, initial) = (
        ended([averaged(trial, 0.9)], "vmap"),
        (None, dict(initialised(trial.config, prepared(trial.config, CPU).extent).named_parameters())),
    )
    for name, array in arrays[0].items():
        assert np.array_equal(array, initial[name].detach().numpy()) == name.startswith("layers.0."), name


@pytest.mark.slow
@pytest.mark.skipif(not compiler_found(), reason="NOT RUN: needs a C++ compiler")
def test_the_compiled_step_has_an_average_too(trial_of) -> None:
    trials = [averaged(trial_of(0.02, 0.1, optimizer="adamw", precision="float64", steps=STEPS), d) for d in (0.5, 0.9)]
    (_, found), (_, expected) = ended(trials, "compiled"), ended(trials, "loop")
    for one, other in zip(found, expected, strict=True):
        for name, array in other.items():
            np.testing.assert_allclose(one[name], array, rtol=1e-9, atol=1e-12)


def test_a_tabled_step_has_an_average_too(trial_of) -> None:
    """What a CUDA graph replays, called as it is."""
    trials = [averaged(trial_of(0.02, 0.1, steps=STEPS, precision="float64"), decay) for decay in (0.5, 0.9)]
    workload = prepared(trials[0].config, CPU)
    block = Inputs(trials, "shared", workload).block(0, STEPS, np.arange(2))
    tabled, plain = workload.start(trials), workload.start(trials)
    steps = TabledSteps(workload, tabled, block)
    steps.advance(tabled, block, steps.take)
    RUN["vmap"](workload, plain, block)
    torch.testing.assert_close(tabled.result.theta, plain.result.theta, rtol=1e-10, atol=1e-12)


@pytest.fixture
def _project(constructs, monkeypatch):
    monkeypatch.chdir(constructs)


@pytest.mark.long
@pytest.mark.usefixtures("_project")
@pytest.mark.parametrize("name", ["Normed", "Counter", "ForwardHook", "Tied"])
def test_a_users_own_model_is_averaged_as_in_a_script_with_the_last_steps_buffers(trial_of, name) -> None:
    """What a module keeps beside tensors is measured as it is; AveragedModel would have a copy from the start."""
    trials = [averaged(trial, 0.8) for trial in trials_of(trial_of, name)]
    workload = prepared(trials[0].config, CPU)
    for executor in ("loop",) if workload.habits.alone else EXECUTORS:
        observed, arrays = ended(trials, executor)
        for trial, one, given in zip(trials, observed, arrays, strict=True):
            average, measured = by_hand(trial, built_anew(trial, workload.extent), workload)
            if name != "Counter":
                np.testing.assert_allclose(one.metrics["val/loss"], measured[-1], rtol=1e-10)
            tensors = dict(average.module.named_parameters()) | dict(average.module.named_buffers())
            for key, array in given.items():
                np.testing.assert_allclose(array, tensors[key].detach().numpy(), rtol=1e-9, atol=1e-12)


def test_an_average_is_part_of_an_id_and_none_is_not(trial_of) -> None:
    trial = trial_of()
    assert trial_of(average={"name": "none"}).id == trial.id
    assert len({trial.group_id, averaged(trial, 0.9).group_id, averaged(trial, 0.99).group_id}) == 2

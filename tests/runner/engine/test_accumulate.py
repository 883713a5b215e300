"""A batch in parts: the whole batch's step where losses are means, as a plain script accumulates where they are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from handed import handed_over
from test_constructs import built_anew, seed_all, trials_of
from torch import nn

from thalweg import optim
from thalweg.optim.schedule import warmup_cosine
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.checkpoint import Checkpoint
from thalweg.runner.engine.choose import compiler_found
from thalweg.runner.engine.cohort import Cohort, Keeping, train
from thalweg.runner.engine.inputs import Inputs
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.streams import batch_indices, stream_key
from thalweg.runner.engine.tabled import TabledSteps
from thalweg.runner.study.trial import Trial

CPU = torch.device("cpu")
STEPS = 20
EXECUTORS = ("loop", "vmap", "traced")


def in_parts(trial: Trial, parts: int) -> Trial:
    return Trial(replace(trial.config, budget=replace(trial.config.budget, accumulate=parts)))


def losses_of(observations) -> np.ndarray:
    return np.stack([each.series["train/batch_loss"].values for each in observations])


def hashes_of(observations) -> list[str]:
    return [each.weight_hash for each in observations]


@pytest.mark.long
@pytest.mark.parametrize("layout", ["shared", "per_lane"])
@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize(
    "more",
    [
        {"optimizer": "adamw"},
        {"sam": {"name": "standard", "rho": 0.1}},
        {"clip": {"name": "norm", "limit": 0.3}},
        {"task": {"loss": "auto", "label_smoothing": 0.1}},
    ],
    ids=["adamw", "sam", "clip", "smoothing"],
)
def test_parts_make_the_step_of_the_whole_batch_at_equal_examples(trial_of, train_all, executor, layout, more) -> None:
    whole = [trial_of(lr, 0.1, precision="float64", steps=STEPS, **more) for lr in (0.02, 0.05)]
    expected = losses_of(train_all(whole, executor, layout))
    for parts in (2, 4):
        trials = [in_parts(trial, parts) for trial in whole]
        found = losses_of(train_all(trials, executor, layout))
        np.testing.assert_allclose(found, expected, rtol=1e-10)
        assert (found != expected).any()  # in parts indeed, which round otherwise


@pytest.mark.slow
@pytest.mark.skipif(not compiler_found(), reason="NOT RUN: needs a C++ compiler")
def test_the_compiled_step_takes_parts_too(trial_of, train_all) -> None:
    whole = [trial_of(lr, 0.1, precision="float64", steps=STEPS, optimizer="adamw") for lr in (0.02, 0.05)]
    found = losses_of(train_all([in_parts(trial, 4) for trial in whole], "compiled"))
    np.testing.assert_allclose(found, losses_of(train_all(whole, "loop")), rtol=1e-10)


def test_a_tabled_step_takes_parts_too(trial_of) -> None:
    """What a CUDA graph replays, called as it is."""
    trials = [in_parts(trial_of(lr, 0.1, steps=STEPS, optimizer="adamw"), 4) for lr in (0.02, 0.05)]
    workload = prepared(trials[0].config, CPU)
    block = Inputs(trials, "shared", workload).block(0, STEPS, np.arange(2))
    state = workload.start(trials)
    steps = TabledSteps(workload, state, block)
    found = steps.advance(state, block, steps.take)
    expected = losses_of(train(Cohort(tuple(trials), "vmap", "shared", 1), workload))
    np.testing.assert_allclose(found.T.numpy(), expected, rtol=1e-4)


OWN = (
    *("Normed", "Unused", "Counter", "TorchRandom", "Alternates", "ForwardHook", "Dropout"),
    *("RareParameterHook", "AccumulateHook", "TensorHook", "OptimizerInBackward"),
)


@pytest.fixture
def _project(constructs, monkeypatch):
    monkeypatch.chdir(constructs)


@pytest.mark.long
@pytest.mark.usefixtures("_project")
@pytest.mark.parametrize("name", OWN)
def test_a_users_own_model_accumulates_as_a_script_does(trial_of, name) -> None:
    """BatchNorm sees each part by itself, its statistics move once a part; a part draws numbers of its own."""
    trials = [in_parts(trial, 4) for trial in trials_of(trial_of, name)]
    workload = prepared(trials[0].config, CPU)
    for executor in ("loop",) if workload.habits.alone else EXECUTORS:
        for trial, one, handed in zip(trials, *handed_over(trials, workload, executor), strict=True):
            losses, model = own_script(trial, workload)
            np.testing.assert_allclose(one.series["train/batch_loss"].values, losses, rtol=1e-10)
            tensors = dict(model.named_parameters()) | dict(model.named_buffers())
            for key, array in handed.arrays.items():
                np.testing.assert_allclose(array, tensors[key].detach().numpy(), rtol=1e-9, atol=1e-12)


def own_script(trial, workload) -> tuple[list[float], nn.Module]:
    """A plain loop that accumulates: each part's loss is divided by their number and its gradient added."""
    config, model = trial.config, built_anew(trial, workload.extent)
    of = config.optimizer
    betas = (of.beta1, of.beta2)
    optimizer = optim.AdamW(model.parameters(), lr=of.lr, betas=betas, eps=of.eps, weight_decay=of.weight_decay)
    losses, parts, steps = [], config.budget.accumulate, config.budget.steps
    for t, rows in enumerate(batch_indices(config.seed, 0, steps, config.budget.batch_size, 200)):
        optimizer.param_groups[0]["lr"] = of.lr * float(warmup_cosine(t, steps, 3, 0.0))
        optimizer.zero_grad()
        key, total = stream_key(config.seed, "forward", t), 0.0
        for number, part in enumerate(np.split(rows, parts)):
            x, y = workload.splits["train"].take(torch.as_tensor(part))
            seed_all(stream_key(key, "part", number) if number else key)
            loss = nn.functional.cross_entropy(model(x), y)
            (loss / parts).backward()
            total += loss.item() / parts
        optimizer.step()
        losses.append(total)
    return losses, model


@pytest.mark.long
@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_trials_bits_do_not_depend_on_its_neighbours(trial_of, train_all, executor) -> None:
    trials = [in_parts(trial_of(lr, 0.1, steps=STEPS, hidden=(7, 5)), 4) for lr in (0.02, 0.05, 0.1)]
    together = hashes_of(train_all(trials, executor))
    assert [hashes_of(train_all([trial], executor))[0] for trial in trials] == together
    dying = in_parts(trial_of(1e30, warmup=0, steps=STEPS, hidden=(7, 5)), 4)
    assert hashes_of(train_all([trials[2], dying, trials[0]], executor))[::2] == [together[2], together[0]]


@pytest.mark.long
@pytest.mark.parametrize("executor", EXECUTORS)
def test_it_goes_on_from_a_checkpoint_to_the_same_bits(trial_of, executor) -> None:
    trials = tuple(in_parts(trial_of(lr, 0.1, optimizer="adamw", steps=150), 2) for lr in (0.02, 0.05))
    kept: list[Checkpoint] = []
    cohort = Cohort(trials, executor, "shared", 3)
    ended = train(cohort, prepared(trials[0].config, CPU), keeping=Keeping(lambda: True, kept.append))
    fresh = prepared(trials[0].config, CPU)
    assert hashes_of(train(cohort, fresh, resume=kept[0])) == hashes_of(ended)


def test_one_part_is_no_part_of_an_id_and_several_are(trial_of) -> None:
    trial = trial_of()
    assert in_parts(trial, 1).id == trial.id
    assert len({in_parts(trial, parts).group_id for parts in (1, 2, 4)}) == 3


def test_memory_is_planned_for_a_part(trial_of) -> None:
    trial = trial_of(batch_size=64)
    assert prepared(in_parts(trial, 16).config, CPU).batch_size == 4


@pytest.mark.usefixtures("_project")
def test_batchnorm_that_would_see_one_example_at_once_is_refused(trial_of) -> None:
    config = in_parts(trials_of(trial_of, "Normed")[0], 16).config
    with pytest.raises(ConfigError, match="16 of as many examples, but the model has BatchNorm"):
        prepared(config, CPU)

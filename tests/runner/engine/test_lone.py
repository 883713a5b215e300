"""What follows from a module of its own: who raises fails alone, what keeps more than tensors starts again."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from test_constructs import CPU, trials_of

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.checkpoint import Checkpoint
from thalweg.runner.engine.choose import choose
from thalweg.runner.engine.cohort import Cohort, Keeping, train
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.probing import Question
from thalweg.runner.facts.observation import Outcome
from thalweg.runner.train import worker
from thalweg.runner.train.messages import Train


@pytest.fixture(scope="module", autouse=True)
def _project(constructs):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(constructs)
        yield


def run(trials, executor="loop", layout="shared", **how):
    workload = prepared(trials[0].config, CPU)
    return train(Cohort(tuple(trials), executor, layout, 3), workload, **how)


def numpys_state():
    return np.random.get_state(legacy=False)["state"]["key"].tolist()


def saved(trials):
    """The checkpoints of a training that is asked for one after each block."""
    kept: list[Checkpoint] = []
    ended = run(trials, keeping=Keeping(lambda: True, kept.append))
    return kept, ended


@pytest.mark.long
@pytest.mark.parametrize("name", ["Normed", "TorchRandom", "ParameterHook", "Unused", "PythonRandom", "Checkpointed"])
def test_what_keeps_tensors_only_goes_on_from_a_checkpoint_to_the_same_bits(trial_of, name) -> None:
    trials = trials_of(trial_of, name)
    kept, ended = saved(trials)
    assert [each.facts["step"] for each in kept] == [4, 8]
    resumed = run(trials, resume=kept[0])
    assert [(each.weight_hash, each.metrics) for each in resumed] == [(one.weight_hash, one.metrics) for one in ended]


KEEPERS = [
    *("Counter", "ListOfLosses", "RunningTensor", "InClosure", "InIterator", "OwnGenerator", "OwnNumpyGenerator"),
    *("InClass", "InGlobal", "GlobalGenerator", "ActNorm", "LazyBuffer", "GrowingBuffer", "Alternates", "LayerDrop"),
    *("HooksByBuffer", "SettlesByBuffer"),
]


@pytest.mark.long
@pytest.mark.parametrize("name", KEEPERS)
def test_what_keeps_more_than_tensors_has_no_checkpoint_and_starts_again(trial_of, name) -> None:
    kept, ended = saved(trials_of(trial_of, name))
    assert not kept
    assert all(each.outcome is Outcome.FINISHED for each in ended)


def test_what_changes_late_what_all_trials_share_is_refused_and_put_back(trial_of) -> None:
    for _ in range(2):
        with pytest.raises(
            ConfigError, match=r"training changes constructs.ChangesLate.stage, and did not in its first"
        ):
            run(trials_of(trial_of, "ChangesLate"))


@pytest.mark.parametrize("name", ["PythonRandom", "NumpyRandom", "TorchRandom", "SeedsItself", "AlwaysDropout"])
def test_the_callers_random_numbers_are_put_back(trial_of, name) -> None:
    before = torch.get_rng_state(), numpys_state(), random.getstate()
    trials = tuple(trials_of(trial_of, name))
    workload = prepared(trials[0].config, CPU)
    choose(workload, Question(trials, "shared", "traced"))
    train(Cohort(trials, "loop", "shared", 3), workload)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (numpys_state(), random.getstate())


@pytest.mark.long
@pytest.mark.parametrize("name", ["SeedInAttribute", "SeedInList", "PythonRandom", "TorchRandom", "Normed"])
def test_a_trial_beside_other_seeds_is_as_alone(trial_of, name) -> None:
    trials = [trials_of(trial_of, name, seed=seed)[1] for seed in (3, 4, 5)]
    together = run(trials, layout="per_lane")
    for place in (0, 2):
        (alone,) = run(trials[place : place + 1], layout="per_lane")
        assert (alone.weight_hash, alone.metrics) == (together[place].weight_hash, together[place].metrics)


def test_code_that_has_changed_is_not_fused_as_was_chosen_for_it_before(trial_of) -> None:
    trials = trials_of(trial_of, "Counter")
    assert run(trials, "traced")[1].weight_hash == run(trials)[1].weight_hash


@pytest.mark.parametrize(
    ("name", "executor", "lr"), [("Restless", "loop", 1e6), ("Decomposes", "loop", 0.3), ("Decomposes", "traced", 0.3)]
)
def test_who_raises_fails_alone(trial_of, name, executor, lr) -> None:
    trials = tuple(trials_of(trial_of, name, lrs=(0.001, 0.002, lr, 0.003, 0.004)))
    bench = worker.Bench(SimpleNamespace(send=lambda message: None), CPU)  # type: ignore[arg-type]
    observed = bench.do(Train(trials[0].group_id, trials, executor, "shared", 2)).observations
    assert [each.trial_id for each in observed] == [trial.id for trial in trials]
    assert [each.outcome for each in observed] == ["finished", "finished", "failed", "finished", "finished"]
    assert "run away" in observed[2].error or "cholesky" in observed[2].error
    alone = bench.do(Train(trials[0].group_id, trials[3:4], executor, "shared", 2)).observations
    assert alone[0].weight_hash == observed[3].weight_hash


def test_a_seed_from_which_nothing_is_built_fails_alone(trial_of) -> None:
    trials = tuple(trials_of(trial_of, "UnluckySeed", seed=seed)[0] for seed in range(6))
    bench = worker.Bench(SimpleNamespace(send=lambda message: None), CPU)  # type: ignore[arg-type]
    observed = bench.do(Train(trials[0].group_id, trials, "loop", "per_lane", 2)).observations
    assert {each.outcome for each in observed} == {"finished", "failed"}
    assert all("not with this seed" in each.error for each in observed if each.outcome == "failed")


@pytest.mark.parametrize("executor", ["loop", "vmap"])
@pytest.mark.parametrize("kind", ["trained", "frozen", "buffer"])
def test_seeds_that_give_other_sizes_are_no_cohort(trial_of, kind, executor) -> None:
    trials = tuple(trials_of(trial_of, f"DrawnSize: {kind}", seed=seed)[0] for seed in range(3))
    with pytest.raises(ConfigError, match=r"is built with other sizes at other times: w \[\d\], then \[\d\]"):
        prepared(trials[0].config, CPU).start(trials, executor)


def test_a_layer_that_is_made_in_the_forward_pass_is_refused(trial_of) -> None:
    with pytest.raises(ConfigError, match=r"makes late.weight in its forward pass, so no optimizer trains it"):
        prepared(trials_of(trial_of, "LateLayer")[0].config, CPU)


def test_a_tensor_that_shares_a_parameters_memory_is_refused(trial_of) -> None:
    """The parameter moves to its trial's row of theta, the other tensor does not."""
    config = trials_of(trial_of, "SharedMemory", precision="float32")[0].config
    with pytest.raises(ConfigError, match=r"train differently: there is a difference of \S+ in \w+ at step 1"):
        prepared(config, CPU)


PARTS: dict[str, dict[str, Any]] = {
    "sam": {"sam": {"name": "standard", "rho": 0.05}},
    "clip": {"clip": {"name": "norm", "limit": 0.1}},
    "smoothing": {"task": {"loss": "auto", "label_smoothing": 0.1}},
    "muon": {"optimizer": "muon", "rule": {"decay_on": "weights"}},
    "weights only": {"rule": {"decay_on": "weights"}},
}


@pytest.mark.long
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", ["Normed", "Unused", "Gate", "CountingBuffer", "Dropout"])
def test_what_a_step_does_with_gradients_it_does_for_all_alike(trial_of, name, part) -> None:
    trials = trials_of(trial_of, name, **PARTS[part])
    fused, solo = run(trials, "traced"), run(trials)
    for one, other in zip(fused, solo, strict=True):
        a, b = (each.series["train/batch_loss"].values for each in (one, other))
        np.testing.assert_allclose(a, b, rtol=1e-9)


@pytest.mark.parametrize(("name", "executor"), [("Normed", "loop"), ("Normed", "traced"), ("KeepsAlias", "loop")])
def test_a_user_s_trial_that_dies_leaves_the_others_alone(trial_of, name, executor) -> None:
    trials = trials_of(trial_of, name, lrs=(0.01, 1e300, 0.02), optimizer="sgd")
    alone = run(trials[2:], executor)[0]
    first, second, third = run(trials, executor)
    assert (first.outcome, second.outcome, third.weight_hash) == ("finished", "diverged", alone.weight_hash)

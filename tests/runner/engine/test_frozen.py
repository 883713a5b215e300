"""What is frozen is held once for all trials that have it alike, beside what trains, and costs no bit of theirs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from handed import handed_over
from safetensors.torch import save_file
from test_constructs import trials_of
from test_parameter_groups import groups, hashes_of, losses_of

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.checkpoint import Checkpoint
from thalweg.runner.engine.cohort import Cohort, Keeping, train
from thalweg.runner.engine.executors import EXECUTORS as RUN
from thalweg.runner.engine.inputs import Inputs
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.recipe import norm_of
from thalweg.runner.engine.tabled import TabledSteps
from thalweg.runner.engine.workload import Workload, initialised
from thalweg.runner.study.start import InitConfig, declared
from thalweg.runner.study.trial import Trial

CPU = torch.device("cpu")
EXECUTORS = ("loop", "vmap", "traced")
BODY = groups(body={"match": "layers.[01].*", "freeze": True})
MIDDLE = groups(middle={"match": "layers.1.*", "freeze": True})
CLIPPED = {"clip": {"name": "norm", "limit": 0.3}}
SMALL = {"steps": 20, "hidden": (13, 11)}


@pytest.fixture
def _project(constructs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(constructs)


def from_file(trial: Trial, workload: Workload, path: Path) -> Trial:
    """The same trial, from weights of another seed in a file."""
    save_file(initialised(replace(trial.config, seed=99), workload.extent).state_dict(), path)
    return Trial(replace(trial.config, init=declared(InitConfig(weights=str(path), partial=False))))


@pytest.mark.parametrize("executor", EXECUTORS)
def test_trials_that_start_alike_hold_what_is_frozen_once(trial_of: Any, tmp_path: Path, executor: str) -> None:
    trials = [trial_of(seed=seed, **SMALL, **BODY) for seed in (0, 0, 1)]
    workload = prepared(trials[0].config, CPU)
    assert {*workload.layout.shapes} == {"layers.2.weight", "layers.2.bias"}
    widths = [{len(each) for each in workload.start(some, executor).fixed.values()} for some in (trials[:2], trials)]
    assert widths == [{1}, {3}]
    alike = [from_file(trial, workload, tmp_path / "body.safetensors") for trial in trials]
    state = prepared(alike[0].config, CPU).start(alike, executor)
    assert {len(each) for each in state.fixed.values()} == {1}
    assert {*state.fixed} == {f"layers.{layer}.{kind}" for layer in (0, 1) for kind in ("weight", "bias")}


@pytest.mark.usefixtures("_project")
def test_modules_of_a_users_own_share_its_memory(trial_of: Any) -> None:
    trials = trials_of(trial_of, "FrozenFirst")
    workload = prepared(trials[0].config, CPU)
    state = workload.start(trials, "loop")
    places = {each.parameters["a.weight"].data_ptr() for each in state.modules}
    assert places == {state.fixed["a.weight"].data_ptr()}
    RUN["loop"](workload, state, Inputs(tuple(trials), "shared", workload).block(0, 3, np.arange(3)))
    assert places == {each.parameters["a.weight"].data_ptr() for each in state.modules}
    unlike = [trial for seed in range(2) for trial in trials_of(trial_of, "FrozenFirst", seed=seed)[:1]]
    state = workload.start(unlike, "loop")
    for k, each in enumerate(state.modules):
        assert each.parameters["a.weight"].data_ptr() == state.fixed["a.weight"][k].data_ptr()


@pytest.mark.usefixtures("_project")
def test_a_write_into_what_others_have_too_ends_the_trial(trial_of: Any) -> None:
    """Which the first steps did not show: where they do, each trial has its own."""
    trials = trials_of(trial_of, "FrozenFirst")
    workload = prepared(trials[0].config, CPU)
    state = workload.start(trials, "loop")
    with torch.no_grad():
        state.modules[1].parameters["a.weight"].mul_(1)
    with pytest.raises(ConfigError, match=r"the model writes into a\.weight, which is frozen"):
        RUN["loop"](workload, state, Inputs(tuple(trials), "shared", workload).block(0, 3, np.arange(3)))


@pytest.mark.usefixtures("_project")
@pytest.mark.parametrize("name", ["Teacher", "TeacherAtTimes", "Thaws"])
def test_a_model_that_may_write_into_it_has_its_own(trial_of: Any, name: str) -> None:
    trials = trials_of(trial_of, name)
    workload = prepared(trials[0].config, CPU)
    assert not workload.start(trials, "loop").fixed


@pytest.mark.parametrize("more", [{}, CLIPPED], ids=["", "clipped"])
@pytest.mark.parametrize("frozen", [BODY, MIDDLE], ids=["body", "middle"])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_bits_do_not_depend_on_whether_others_have_it_too(
    trial_of: Any, train_all: Any, executor: str, frozen: dict[str, Any], more: dict[str, Any]
) -> None:
    trials = [trial_of(0.1, seed=seed, **SMALL, **frozen, **more) for seed in range(3)]
    together = train_all(trials, executor, "per_lane")
    for trial, one in zip(trials, together, strict=True):
        (alone,) = train_all([trial], executor, "per_lane")
        assert (alone.weight_hash, alone.metrics) == (one.weight_hash, one.metrics)


@pytest.mark.parametrize("kind", ["clip", "sam", "scalars"])
def test_norms_that_decide_anything_are_those_of_all_parameters_in_their_order(trial_of: Any, kind: str) -> None:
    more = {"clip": CLIPPED, "sam": {"sam": {"name": "standard", "rho": 0.1}}, "scalars": {}}[kind]
    workload = prepared(trial_of(**SMALL, **MIDDLE, **more).config, CPU)
    recipe = workload.telling(("weight_norm",)).recipe if kind == "scalars" else workload.recipe
    assert recipe.whole
    whole_KP = torch.randn(5, recipe.whole.size, generator=torch.Generator().manual_seed(0))
    trains_P = recipe.whole.spread(lambda name: name in recipe.layout.shapes).bool()
    fixed = {name: view for name, view in recipe.whole.views(whole_KP).items() if name not in recipe.layout.shapes}
    own_KP = whole_KP[:, trains_P]
    assert torch.equal(recipe.norm(own_KP, fixed), norm_of(whole_KP))
    assert torch.equal(recipe.norm(own_KP), norm_of(whole_KP * trains_P))
    once = {name: view[:1] for name, view in fixed.items()}
    whole_KP[:, ~trains_P] = whole_KP[:1, ~trains_P]
    assert torch.equal(recipe.norm(own_KP, once), norm_of(whole_KP))
    numbers = np.arange(2 * recipe.whole.size).reshape(2, -1)
    assert (recipe.trained(numbers) == numbers[:, trains_P.numpy()]).all()


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_checkpoint_of_before_which_has_all_parameters_is_gone_on_from(trial_of: Any, executor: str) -> None:
    trials = tuple(trial_of(seed=seed, optimizer="adamw", **SMALL | {"steps": 60}, **MIDDLE) for seed in range(2))
    kept: list[Checkpoint] = []
    workload = prepared(trials[0].config, CPU)
    cohort = Cohort(trials, executor, "per_lane", 3)
    ended = train(cohort, workload, keeping=Keeping(lambda: True, kept.append))
    recipe = workload.recipe
    assert recipe.whole
    trains_P = recipe.whole.spread(lambda name: name in recipe.layout.shapes).bool().numpy()
    rows = {}
    for name, array in kept[0].arrays.items():
        if name == "state/theta" or name.startswith("state/slot/"):
            rows[name] = np.full((len(array), len(trains_P)), np.nan, dtype=array.dtype)
            rows[name][:, trains_P] = array
    before = Checkpoint({**kept[0].arrays, **rows}, kept[0].facts)
    assert len(rows) == 3
    for each in (before, kept[0]):
        assert hashes_of(train(cohort, prepared(trials[0].config, CPU), resume=each)) == hashes_of(ended)


@pytest.mark.parametrize("executor", ["vmap", "traced"])
def test_a_program_serves_other_trials_with_what_they_have(trial_of: Any, train_all: Any, executor: str) -> None:
    """What is frozen goes into a recording, and is no part of it."""
    workload = prepared(trial_of(**SMALL, **BODY).config, CPU)
    for seed in range(2):
        trials = tuple(trial_of(lr, seed=seed, **SMALL, **BODY) for lr in (0.01, 0.1))
        here = train(Cohort(trials, executor, "shared", 2), workload)
        assert hashes_of(here) == hashes_of(train_all(trials, executor))


def test_steps_with_tables_take_over_what_is_frozen_and_leave_it(trial_of: Any) -> None:
    workload = prepared(trial_of(**SMALL, **BODY).config, CPU)
    tabled, held = None, []
    for seed in range(2):
        trials = tuple(trial_of(lr, seed=seed, **SMALL, **BODY) for lr in (0.01, 0.1))
        state, plain = workload.start(trials), workload.start(trials)
        block = Inputs(trials, "shared", workload).block(0, 10, np.arange(2))
        tabled = tabled or TabledSteps(workload, state, block)
        losses = tabled.advance(state, block, tabled.take)
        assert torch.equal(losses, RUN["vmap"](workload, plain, block))
        assert torch.equal(state.theta, plain.theta)
        held.append((state.fixed, plain.fixed))
    for found, expected in held:
        assert all(torch.equal(found[name], each) for name, each in expected.items())


@pytest.mark.parametrize("executor", EXECUTORS)
def test_its_weights_are_handed_out_whole(trial_of: Any, train_all: Any, executor: str) -> None:
    trials = [trial_of(lr, **SMALL, **BODY) for lr in (0.01, 0.1)]
    workload = prepared(trials[0].config, CPU)
    observed, handed = handed_over(trials, workload, executor)
    assert not np.isnan(losses_of(observed)).any()
    begun = dict(initialised(trials[0].config, workload.extent).named_parameters())
    for one, weights in zip(observed, handed, strict=True):
        assert weights.hash == one.weight_hash
        assert weights.names.keys() == begun.keys()
        for name in workload.recipe.frozen:
            assert np.array_equal(weights.arrays[name], begun[name].detach().numpy())

"""Update and guard as one compiled program do what the rule does, and a program that does not is refused.

On a CPU, where the same program is compiled by C++: of what Triton makes of it on a GPU a program says itself, when it
is made, whether it holds. Compiling takes 4 s.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from thalweg.runner.engine import compiling as module
from thalweg.runner.engine.choose import compiler_found
from thalweg.runner.engine.compiling import CompiledUpdate, kernel_hindrance
from thalweg.runner.engine.inputs import Inputs
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.step import update_living
from thalweg.runner.engine.tabled import TabledSteps

needs_compiler = pytest.mark.skipif(not compiler_found(), reason="NOT RUN: needs a C++ compiler")
slow = pytest.mark.slow
RULES: dict[str, dict] = {
    "adamw": {"optimizer": "adamw"},
    "sgd": {"optimizer": "sgd"},
    "lion": {"optimizer": "lion"},
    "adamw, weights alone decay, after": {
        "optimizer": "adamw",
        "rule": {"decay_on": "weights", "decay_order": "after", "decay": "independent", "amsgrad": True},
    },
    "adam_l2": {"optimizer": "adam_l2"},
    "sgd, nesterov, coupled": {"optimizer": "sgd", "rule": {"nesterov": True, "decay": "coupled"}},
    "float64": {"optimizer": "adamw", "precision": "float64"},
    "groups, averaged": {
        "optimizer": "adamw",
        "groups": {"named": [("head", {"match": "layers.2.*", "lr": 3, "weight_decay": 0})]},
        "average": {"name": "ema", "decay": 0.9},
    },
}
QUICK = ("adamw", "lion")


def test_distributions_look_at_their_parameters_as_before(monkeypatch) -> None:
    for looked in (True, False):
        monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", looked)
        module.compiled(lambda x: x + 1, [torch.zeros(2)])
        assert torch.distributions.Distribution._validate_args is looked


@pytest.fixture
def tabled(trial_of):
    """Tables for five lanes of a structure: their coefficients do not begin at 16 bytes unless they are made to."""

    def made(**parts) -> TabledSteps:
        trials = [trial_of(lr, steps=12, **parts) for lr in (1e-3, 2e-3, 3e-3, 4e-3, 5e-3)]
        workload = prepared(trials[0].config, torch.device("cpu"))
        block = Inputs(trials, "shared", workload).block(3, 12, np.arange(5))
        return TabledSteps(workload, workload.start(trials), block)

    return made


def drawn(tabled: TabledSteps) -> tuple:
    """A state as in the middle of training, of which a lane has died and one dies of its gradient; and a gradient."""
    generator = torch.Generator().manual_seed(3)
    like = tabled.state.theta
    theta, grad = (torch.randn(like.shape, generator=generator).to(like) for _ in range(2))
    slots = {name: torch.rand(like.shape, generator=generator).to(like) ** 4 for name in tabled.state.slots}
    alive = torch.tensor([True, False, True, False, True])
    grad[1], grad[3] = math.nan, math.inf
    return replace(tabled.state, theta=theta, slots=slots, alive=alive), grad


def copy_of(state):
    return replace(state, theta=state.theta.clone(), slots={name: slot.clone() for name, slot in state.slots.items()})


@pytest.mark.long
@needs_compiler
@pytest.mark.parametrize("name", [each if each in QUICK else pytest.param(each, marks=slow) for each in RULES])
def test_a_compiled_update_is_the_rules_to_two_roundings_and_the_dead_stay_as_they_were(tabled, name) -> None:
    tables = tabled(**RULES[name])
    recipe, feed = tables.workload.recipe, tables.feed()
    update = CompiledUpdate(recipe, tables.state, feed)
    before, grad = drawn(tables)
    found, expected = copy_of(before), copy_of(before)
    update(recipe, found, feed, grad.clone())
    update_living(recipe, expected, feed, grad.clone())
    for one, other, old in zip(
        *([each.theta, *each.slots.values()] for each in (found, expected, before)), strict=True
    ):
        assert torch.equal(one[1::2], old[1::2])
        assert not torch.equal(one[0], old[0])
        assert module._roundings(one[::2], other[::2], old[::2]) <= 2


@needs_compiler
def test_steps_with_a_compiled_update_are_those_without(tabled, trial_of) -> None:
    """Through the whole step, a lane that dies included."""
    tables = tabled(optimizer="adamw")
    workload, runs = tables.workload, []
    trials = [trial_of(lr, steps=12, warmup=0, optimizer="adamw") for lr in (1e-3, 2e-3, 3e-3, 4e-3, 1e30)]
    block = Inputs(trials, "shared", workload).block(0, 12, np.arange(5))
    for update in (None, CompiledUpdate(workload.recipe, tables.state, tables.feed())):
        tables.update = update
        state = workload.start(trials)
        runs.append((tables.advance(state, block, tables.take), state))
    (losses, plain), (found, compiled) = runs
    assert torch.equal(plain.alive, compiled.alive)
    assert plain.alive.tolist() == [True] * 4 + [False]
    assert torch.equal(plain.diverged_step, compiled.diverged_step)
    np.testing.assert_allclose(found[:, :4], losses[:, :4], rtol=1e-5)
    torch.testing.assert_close(compiled.theta, plain.theta, rtol=1e-4, atol=1e-6)


def wrong(change):
    """Compiling that makes of an update something else; nothing is really compiled."""

    def made(function, inputs):
        def program(theta, slots, grad, coefficients, alive):
            change(function, theta, slots, grad, coefficients, alive)

        return program

    return made


def unguarded(function, theta, slots, grad, coefficients, alive):
    function(theta, slots, grad, coefficients, torch.ones_like(alive))


def without_decay(function, theta, slots, grad, coefficients, alive):
    none = torch.zeros_like(coefficients["decay"])
    function(theta, slots, grad, coefficients | {"decay": none}, alive)


def a_lane_further(function, theta, slots, grad, coefficients, alive):
    function(theta, slots, grad, {name: value.roll(1, 0) for name, value in coefficients.items()}, alive)


def slots_forgotten(function, theta, slots, grad, coefficients, alive):
    function(theta, {name: slot.clone() for name, slot in slots.items()}, grad, coefficients, alive)


def of_a_tenth_part_in_a_million(function, theta, slots, grad, coefficients, alive):
    function(theta, slots, grad, coefficients, alive)
    theta.mul_(1 + 2e-6)


def nan_in_one_place(function, theta, slots, grad, coefficients, alive):
    function(theta, slots, grad, coefficients, alive)
    [*slots.values()][-1][2, 7] = math.nan


CHANGES = (unguarded, without_decay, a_lane_further, slots_forgotten, of_a_tenth_part_in_a_million, nan_in_one_place)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("name", ["adamw", "sgd", "lion"])
def test_a_program_that_does_something_else_is_refused(tabled, monkeypatch, name, change) -> None:
    tables = tabled(**RULES[name])
    monkeypatch.setattr(module, "compiled", wrong(change))
    with pytest.raises(RuntimeError, match=r"the compiled update is \S+ roundings off the rule's; take engine=graphed"):
        CompiledUpdate(tables.workload.recipe, tables.state, tables.feed())


def test_a_program_that_does_the_same_is_taken(tabled, monkeypatch) -> None:
    monkeypatch.setattr(module, "compiled", wrong(lambda function, *inputs: function(*inputs)))
    for parts in RULES.values():
        tables = tabled(**parts)
        CompiledUpdate(tables.workload.recipe, tables.state, tables.feed())


def test_coefficients_begin_where_a_compiled_program_wants_them(tabled) -> None:
    for value in tabled(optimizer="adamw").feed().coefficients.values():
        assert value.shape == (5, 1)
        assert value.storage_offset() * value.itemsize % 16 == 0


def test_what_cannot_be_one_kernel_is_said(tabled) -> None:
    of = {name: tabled(optimizer=name, rule={"decay_on": "all"}).workload.recipe for name in ("adamw", "muon")}
    cpu = torch.device("cpu")
    assert kernel_hindrance(of["adamw"], cpu) is None
    assert kernel_hindrance(of["muon"], cpu) == "its update takes each parameter as a matrix"
    unused = of["adamw"].sparing(frozenset([*of["adamw"].layout.shapes][:1]), torch.zeros(1))
    assert kernel_hindrance(unused, cpu) == "the model has parameters without a gradient"


def test_on_a_gpu_triton_and_a_c_compiler_are_needed(tabled, monkeypatch) -> None:
    recipe, gpu = tabled(optimizer="adamw").workload.recipe, torch.device("cuda")
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(module.shutil, "which", lambda name: name)
    assert kernel_hindrance(recipe, gpu) is None
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    assert kernel_hindrance(recipe, gpu) == "there is no C compiler"
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    assert kernel_hindrance(recipe, gpu) == "there is no Triton"

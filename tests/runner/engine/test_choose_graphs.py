"""The probe on a GPU: graphs, and those whose update is compiled, where the step can be one and that pays."""

from __future__ import annotations

import pytest
import torch
from contests import MINUTE, ask, judged

from thalweg.runner.engine import choose as module
from thalweg.runner.engine import probing
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.probing import Question
from thalweg.runner.engine.tabled import TabledSteps
from thalweg.runner.engine.workload import Workload
from thalweg.runner.facts.choice import Choice


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_graphs_are_for_cuda(grid_of) -> None:
    choice = ask(grid_of(8), "graphed")
    assert (choice.executor, choice.reason) == (
        "traced",
        "graphed was asked for, but CUDA graphs need a CUDA device",
    )


@pytest.fixture
def graphs(monkeypatch):
    """As on a GPU, where there are CUDA graphs; their steps are those of the tables that a graph repeats."""
    monkeypatch.setattr(module, "_hindrance", lambda workload, executor: None)

    def run(workload, state, block):
        key = ("tabled", state.lanes)
        if key not in workload.programs:
            workload.programs[key] = TabledSteps(workload, state, block)
        tabled = workload.programs[key]
        losses = tabled.advance(state, block, tabled.take)
        state.step += block.steps
        return losses

    monkeypatch.setitem(probing.EXECUTORS, "graphed", run)


def test_a_single_trial_takes_a_graph_that_is_faster(grid_of, clock, graphs) -> None:
    timed = clock({**MINUTE, "graphed": 1e-4})
    choice, bar = judged(grid_of(1, steps=1000), trials=1)
    assert choice == Choice("graphed", "shared", 1, "a single trial as a graph, 10.0× as fast as in the loop")
    assert bar is not None
    assert bar.seconds == pytest.approx(1e-3)
    assert {executor for executor, _ in timed} == {"loop", "graphed"}


@pytest.mark.parametrize("slow", [1e-3, 0.97e-3, 5e-3])
def test_a_single_trial_whose_graph_is_not_faster_loops(grid_of, clock, graphs, slow) -> None:
    clock({**MINUTE, "graphed": slow})
    choice, bar = judged(grid_of(1, steps=1000), trials=1)
    assert (choice.executor, choice.reason, bar) == ("loop", "a single trial", None)


def test_one_of_each_seed_is_no_single_trial_and_a_graph_that_is_another_training_is_not_used(
    grid_of, clock, graphs, monkeypatch
) -> None:
    clock({**MINUTE, "graphed": 1e-4})
    assert ask(grid_of(1, steps=1000), trials=3).reason == "a single trial of each seed"
    monkeypatch.setattr(module._Contest, "_agrees", lambda self, name, lanes=None: False)
    assert ask(grid_of(1, steps=1000), trials=1).executor == "loop"


def test_a_single_trial_of_few_steps_is_not_looked_at(grid_of, clock, graphs) -> None:
    timed = clock({**MINUTE, "graphed": 1e-4})
    assert ask(grid_of(1, steps=39), trials=1).executor == "loop"
    assert timed == []


GRAPHED = {**MINUTE, "graphed": 1e-4, "graphed_compiled": 8e-5}


@pytest.fixture
def on_a_gpu(graphs, monkeypatch):
    """Beyond traced there are graphs, as on a GPU."""
    monkeypatch.setattr(module._Contest, "_beyond_traced", module._Contest._graphed_or_traced)


def test_a_graphs_update_is_compiled_where_that_can_save_twice_its_time(grid_of, clock, on_a_gpu) -> None:
    timed = clock(GRAPHED)
    choice = ask(grid_of(8, steps=1000), trials=1000)
    assert choice.executor == "graphed_compiled"
    assert choice.reason == "8 trials at once, 12.5× as fast as one by one, 1.2× of that by a compiled update"
    timed.clear()
    for fewer in ({"trials": 500}, {"trials": 1000, "workers": 2}):  # 50 s, half of which it may save
        choice = ask(grid_of(8, steps=1000), "auto", "shared", **fewer)
        assert (choice.executor, choice.reason) == ("graphed", "8 trials at once, 10.0× as fast as one by one")
    assert "graphed_compiled" not in {executor for executor, _ in timed}


def test_a_hindered_update_is_not_tried(grid_of, clock, on_a_gpu, monkeypatch) -> None:
    timed = clock(GRAPHED)
    monkeypatch.setattr(module, "_hindrance", lambda workload, executor: {"graphed_compiled": "why"}.get(executor))
    assert ask(grid_of(8, steps=1000), trials=1000).executor == "graphed"
    assert "graphed_compiled" not in {executor for executor, _ in timed}


def test_a_single_trials_update_may_be_compiled_too(grid_of, clock, graphs) -> None:
    clock(GRAPHED)
    choice = ask(grid_of(1, steps=1_000_000), trials=1)
    assert (choice.executor, choice.width) == ("graphed_compiled", 1)


@pytest.mark.parametrize("seconds", [0.96e-4, 1e-4, 2e-4])
def test_a_compiled_update_that_is_not_faster_is_not_used(grid_of, clock, on_a_gpu, seconds) -> None:
    clock({**GRAPHED, "graphed_compiled": seconds})
    assert ask(grid_of(8, steps=1000), trials=1000).executor == "graphed"


def test_a_compiled_update_that_is_another_training_or_cannot_be_made_is_not_used(
    grid_of, clock, on_a_gpu, monkeypatch
) -> None:
    clock(GRAPHED)
    monkeypatch.setattr(module._Contest, "_agrees", lambda self, name, lanes=None: name != "graphed_compiled")
    assert ask(grid_of(8, steps=1000), trials=1000).executor == "graphed"

    def refused(self, name, lanes=None):
        if name == "graphed_compiled":
            raise RuntimeError("the compiled update is 99 roundings off the rule's")
        return True

    monkeypatch.setattr(module._Contest, "_agrees", refused)
    choice = ask(grid_of(8, steps=1000), trials=1000)
    assert choice.executor == "graphed"
    assert choice.reason.endswith("; its update is not compiled: the compiled update is 99 roundings off the rule's")


def waits_in_a_capture(*_):
    """What torch raises of a step that waits for the device while it is captured."""
    try:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
    except RuntimeError:
        raise RuntimeError("CUDA error: operation failed due to a previous error during capture")  # noqa: B904


def test_a_step_that_no_graph_can_hold_is_fused_without_and_the_reason_is_said(
    grid_of, clock, on_a_gpu, monkeypatch
) -> None:
    clock(GRAPHED)
    monkeypatch.setattr(module._Contest, "_agrees", waits_in_a_capture)
    chosen = ask(grid_of(8, steps=1000), trials=1000)
    assert chosen.executor == "traced"  # "probing failed", and the loop, when it was not expected
    assert "; a CUDA graph cannot hold its step: " in chosen.reason
    assert "test_choose_graphs.py, line " in chosen.reason
    assert ask(grid_of(1, steps=1000), trials=1).executor == "loop"
    for asked in ("graphed", "graphed_compiled"):
        told = ask(grid_of(8), asked)
        assert told.executor == "traced"
        assert told.reason.startswith(f"{asked} was asked for, but a CUDA graph cannot hold its step: ")
        assert "Python waits there for the GPU" in told.reason


def test_a_graph_that_memory_ends_is_no_step_that_none_can_hold(grid_of, clock, on_a_gpu, monkeypatch) -> None:
    def ended(*_):
        try:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        except RuntimeError:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")  # noqa: B904

    clock(GRAPHED)
    monkeypatch.setattr(module._Contest, "_agrees", ended)
    with pytest.raises(RuntimeError, match="previous error during capture"):
        ask(grid_of(8, steps=1000), trials=1000)


def test_what_hinders_a_compiled_update_hinders_it_when_asked_for(grid_of, monkeypatch) -> None:
    asked = ask(grid_of(8), "graphed_compiled")
    assert asked.executor == "traced"
    assert asked.reason == "graphed_compiled was asked for, but CUDA graphs need a CUDA device"
    monkeypatch.setattr(module._Contest, "_agrees", lambda self, name, lanes=None: True)
    why = {"graphed_compiled": "its update takes each parameter as a matrix"}
    monkeypatch.setattr(module, "_hindrance", lambda workload, executor: why.get(executor))
    asked = ask(grid_of(8), "graphed_compiled")
    assert asked.executor == "graphed"
    assert asked.reason == "graphed_compiled was asked for, but its update takes each parameter as a matrix"


def test_a_rule_of_matrices_hinders_a_compiled_update_alone(grid_of, monkeypatch) -> None:
    muon = grid_of(2, optimizer="muon", rule={"decay_on": "all"})
    workload = prepared(muon[0].config, torch.device("cpu"))
    monkeypatch.setattr(Workload, "device", torch.device("cuda"), raising=False)
    object.__setattr__(workload, "device", torch.device("cuda"))
    assert module._hindrance(workload, "graphed") is None
    assert module._hindrance(workload, "graphed_compiled") == "its update takes each parameter as a matrix"


@pytest.mark.parametrize("honest", [True, False])
def test_a_graph_is_held_against_its_own_steps_and_not_against_its_first(grid_of, graphs, monkeypatch, honest) -> None:
    """The first step of all is taken without the graph: what a graph does wrong, it does from the second on."""
    plain = TabledSteps.take

    def take(self, first: bool = False) -> None:
        plain(self, first)
        if not first and not honest:
            next(iter(self.state.slots.values())).mul_(1.01)

    monkeypatch.setattr(TabledSteps, "take", take)
    sample = grid_of(3, steps=30)
    workload = prepared(sample[0].config, torch.device("cpu"))
    contest = module._Contest(workload, Question(tuple(sample), "shared", "auto"))
    contest.width = 3
    assert contest._agrees("graphed") is honest

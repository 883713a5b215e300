"""Models with more than weights: batch norm, counters, tied and unused parameters train alike in every executor."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from thalweg.runner.engine.evaluate import evaluate
from thalweg.runner.engine.executors import EXECUTORS
from thalweg.runner.engine.inputs import Inputs
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.state import State

CPU = torch.device("cpu")
EXECUTED = ("loop", "vmap", "traced")


class Odd(nn.Module):
    """What a user's model may hold. `seen` counts forward passes in place, `mean` is replaced by each one."""

    seen: Tensor
    mean: Tensor
    scratch: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, 12)
        self.norm = nn.BatchNorm1d(12)
        self.second, self.third = nn.Linear(12, 12), nn.Linear(12, 12)
        self.third.weight = self.second.weight
        self.last = nn.Linear(12, outputs)
        self.unused = nn.Parameter(torch.ones(3))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("scratch", torch.zeros(2), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        self.scratch += 1
        h = self.norm(torch.relu(self.first(x.flatten(1))))
        self.mean = 0.9 * self.mean + 0.1 * h.mean()
        return self.last(torch.relu(self.third(torch.relu(self.second(h)))))


@pytest.fixture(autouse=True)
def _odd(monkeypatch) -> None:
    monkeypatch.setattr(
        "thalweg.runner.engine.workload.build_model", lambda config, extent: Odd(extent.features, extent.outputs)
    )


def advance(trials, executor: str, steps: int, layout: Literal["shared", "per_lane"] = "shared") -> State:
    workload = prepared(trials[0].config, CPU)
    state = workload.start(trials)
    block = Inputs(trials, layout, workload).block(0, steps, np.arange(len(trials)))
    EXECUTORS[executor](workload, state, block)
    return state


@pytest.mark.parametrize("layout", ["shared", "per_lane"])
def test_vmap_equals_loop_in_weights_and_buffers(grid_of, layout) -> None:
    trials = grid_of(4, precision="float64", steps=20)
    fused, solo = (advance(trials, executor, 20, layout) for executor in ("vmap", "loop"))
    torch.testing.assert_close(fused.theta, solo.theta, rtol=1e-10, atol=1e-12)
    assert fused.buffers.keys() == solo.buffers.keys() == {*prepared(trials[0].config, CPU).start(trials).buffers}
    for name, buffer in fused.buffers.items():
        torch.testing.assert_close(buffer, solo.buffers[name], rtol=1e-10, atol=1e-12)
    assert fused.buffers["seen"].tolist() == [20] * 4
    assert (fused.buffers["mean"] != 0).all()


def test_a_tied_weight_is_held_once_and_an_unused_one_only_decays(trial_of) -> None:
    trial = trial_of(0.1, 0.0, steps=5)
    layout = prepared(trial.config, CPU).layout
    assert "second.weight" in layout.shapes
    assert "third.weight" not in layout.shapes
    for executor in EXECUTED:
        unused = layout.views(advance([trial], executor, 5).theta)["unused"]
        assert torch.equal(unused, torch.ones(1, 3))


@pytest.mark.parametrize("executor", EXECUTED)
def test_buffers_of_a_diverged_lane_stay_as_before_the_offending_step(trial_of, executor) -> None:
    trials = [trial_of(1e30, warmup=0, steps=20), trial_of(0.05, warmup=0, steps=20)]
    state = advance(trials, executor, 20)
    died = int(state.diverged_step[0])
    assert 0 < died < 20
    assert state.diverged_step[1] == -1
    assert state.buffers["seen"].tolist() == [died, 20]
    before = advance(trials, executor, died)
    assert torch.equal(before.theta[0], state.theta[0])
    for name, buffer in before.buffers.items():
        assert torch.equal(buffer[0], state.buffers[name][0])


@pytest.mark.long
@pytest.mark.parametrize("executor", EXECUTED)
def test_measuring_changes_neither_buffers_nor_weights(grid_of, train_all, executor) -> None:
    trials = grid_of(3)
    workload = prepared(trials[0].config, CPU)
    state = workload.start(trials)
    evaluate(workload, state, "val", executor)
    assert state.buffers["seen"].tolist() == [0, 0, 0]
    few, many = (train_all(trials, executor, evaluations=points) for points in (1, 15))
    assert [each.weight_hash for each in few] == [each.weight_hash for each in many]


def test_a_measurement_that_fails_leaves_the_model_in_training(trial_of, monkeypatch) -> None:
    workload = prepared(trial_of().config, CPU)
    monkeypatch.setattr("thalweg.runner.engine.task.Classification.sums", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluate(workload, workload.start([trial_of()]), "val", "vmap")
    assert workload.module.training


def test_the_weight_hash_sees_persistent_buffers_alone(trial_of, train_all, monkeypatch) -> None:
    plain = train_all([trial_of(steps=3, warmup=1)])[0].weight_hash
    monkeypatch.setattr(Odd, "forward", forgetting(Odd.forward, "scratch"))
    assert train_all([trial_of(steps=3, warmup=1)])[0].weight_hash == plain
    monkeypatch.setattr(Odd, "forward", forgetting(Odd.forward, "seen"))
    assert train_all([trial_of(steps=3, warmup=1)])[0].weight_hash != plain


def forgetting(forward, name: str):
    def forward_and_forget(self, x: Tensor) -> Tensor:
        logits = forward(self, x)
        getattr(self, name).zero_()
        return logits

    return forward_and_forget

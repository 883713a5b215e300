"""The probe: fuses what can be fused, quotes the reason when it cannot, and never fuses one trial."""

from __future__ import annotations

import torch
from torch import Tensor

from runner.choice import layout_for
from runner.engine import choose as module
from runner.engine.choose import Question, choose
from runner.engine.workload import Workload


def ask(trials, requested: str = "auto", layout: str = "shared", workload: Workload | None = None):
    workload = workload or Workload.of(trials[0].config, torch.device("cpu"))
    return choose(workload, Question(tuple(trials), layout, requested, None))


def test_a_single_trial_is_trained_in_a_loop(grid_of) -> None:
    assert ask(grid_of(1)).executor == "loop"


def test_a_grid_of_small_models_is_fused_and_the_gain_is_said(grid_of) -> None:
    choice = ask(grid_of(32))
    assert choice.executor == "vmap"
    assert "the loop's speed" in choice.reason


def test_what_the_user_asked_for_is_taken(grid_of) -> None:
    assert ask(grid_of(1), "vmap").executor == "vmap"
    assert ask(grid_of(8), "loop").executor == "loop"


class ReadsAValue(torch.nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1)) * (2.0 if self.weight.sum().item() > 0 else 1.0)


def test_a_model_that_vmap_cannot_take_runs_in_a_loop_with_the_reason_quoted(grid_of, monkeypatch) -> None:
    build = "runner.engine.workload.build_model"
    monkeypatch.setattr(build, lambda config, extent: ReadsAValue(extent.features, extent.outputs))
    choice = ask(grid_of(4))
    assert choice.executor == "loop"
    assert "vmap cannot take this model" in choice.reason
    assert "item()" in choice.reason


def test_a_fused_gradient_that_differs_is_not_used(grid_of, monkeypatch) -> None:
    monkeypatch.setitem(module.TOLERANCE, torch.float32, -1.0)
    choice = ask(grid_of(4))
    assert choice.executor == "loop"
    assert "differs" in choice.reason


def test_batches_are_shared_only_where_a_seed_has_trials_enough(trial_of, grid_of) -> None:
    assert layout_for(grid_of(3)) == "shared"
    assert layout_for([trial_of(seed=seed) for seed in range(20)]) == "per_lane"
    assert layout_for([*grid_of(8, seed=0), *grid_of(8, seed=1)]) == "shared"

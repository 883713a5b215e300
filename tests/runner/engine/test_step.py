"""One step: whether the host asks how the lanes are spares time, and changes nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from thalweg.runner.engine.inputs import Inputs
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.step import train_step

LARGE = 3e38
"""Two of them add up to more than float32 holds."""
LANES = {
    "sound": (1.0, 1.0, math.inf, True),
    "at its limit": (2.0, 1.0, 2.0, True),
    "above its limit": (2.5, 1.0, 2.0, True),
    "dead": (1.0, 1.0, math.inf, False),
    "loss not a number": (math.nan, 1.0, math.inf, True),
    "loss infinite": (math.inf, 1.0, math.inf, True),
    "gradient not a number": (1.0, math.nan, math.inf, True),
    "gradient infinite": (1.0, math.inf, math.inf, True),
    "large loss": (LARGE, 1.0, math.inf, True),
    "large gradient": (1.0, LARGE, math.inf, True),
    "large both": (LARGE, LARGE, math.inf, True),
}
GO_ON = {"sound", "at its limit", "large loss", "large gradient"}


@pytest.mark.parametrize("middle", LANES)
def test_asking_the_lanes_changes_nothing(trial_of, middle: str, monkeypatch) -> None:
    trials = [trial_of(0.1), trial_of(0.2), trial_of(0.3)]
    workload = prepared(trials[0].config, torch.device("cpu"))
    (feed,) = Inputs(trials, "shared", workload).block(1, 2, np.arange(3)).feeds(workload)
    loss_K, norm_K, limit_K, alive_K = map(
        torch.tensor, zip(*(LANES[n] for n in ("sound", middle, "sound")), strict=True)
    )
    monkeypatch.setattr("thalweg.runner.engine.recipe.norm_of", lambda grad_KP: norm_K)

    def gradient(state, feed):
        return loss_K.clone(), torch.ones_like(state.theta), {}

    ended = []
    for asking in (True, False):
        state = workload.start(trials)
        state.limit, state.alive, state.step = limit_K.clone(), alive_K.clone(), 1
        before_KP = state.theta.clone()
        train_step(workload.recipe, gradient, state, feed, asking=asking)
        assert (state.theta != before_KP).any(1).tolist() == [True, middle in GO_ON, True]
        ended.append(state)
    for name, tensor in ended[0].tensors().items():
        assert torch.equal(tensor, ended[1].tensors()[name]), name

"""The planted workload has the answer that its formula gives, through the whole engine and torch's own conventions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from thalweg.data.load import load_splits
from thalweg.data.schema import PlantedConfig
from thalweg.models.schema import PlantedConfig as PlantedModel
from thalweg.runner.engine.executors import EXECUTORS
from thalweg.runner.engine.inputs import Inputs
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.workload import Workload
from thalweg.runner.study.trial import Trial

STEPS, WARMUP, TARGET = 200, 10, 0.3
PRODUCT, PRODUCT_WITH_MOMENTUM = 0.01186746395, 0.001163762668
DATA = PlantedConfig(name="planted", train_size=50, curvature=2.0, noise=0.5, target=TARGET, split_seed=0)


def planted(trial: Trial, **optimizer: Any) -> Trial:
    config = trial.config
    return Trial(
        replace(
            config,
            model=PlantedModel(name="planted"),
            dataset=DATA,
            optimizer=replace(config.optimizer, **optimizer),
        )
    )


def trained(trial: Trial, executor: str = "vmap", steps: int = STEPS) -> tuple[Workload, dict[str, float]]:
    """The workload, and u and v after training."""
    workload = prepared(trial.config, torch.device("cpu"))
    state = workload.start([trial, trial])
    EXECUTORS[executor](workload, state, Inputs([trial, trial], "shared", workload).block(0, steps, np.arange(2)))
    return workload, {name: view[0].item() for name, view in workload.layout.views(state.theta).items()}


CASES: dict[str, tuple[str, dict[str, Any], Callable[[float], float]]] = {
    "sgd": ("sgd", {"momentum": 0.0}, lambda lr: PRODUCT / lr),
    "sgd, coupled": ("sgd", {"momentum": 0.0, "decay": "coupled"}, lambda lr: PRODUCT / lr),
    "sgd with momentum": ("sgd", {"momentum": 0.9}, lambda lr: PRODUCT_WITH_MOMENTUM / lr),
    "adamw": ("adamw", {}, lambda lr: PRODUCT / lr),
    "adamw, independent": ("adamw", {"decay": "independent"}, lambda lr: PRODUCT),
}


@pytest.mark.long
@pytest.mark.parametrize("executor", ["vmap", "loop"])
@pytest.mark.parametrize("lr", [0.001, 0.03, 0.3])
@pytest.mark.parametrize("case", CASES)
def test_the_stated_product_decays_v_to_its_target(trial_of, case, lr, executor) -> None:
    optimizer, options, best = CASES[case]
    trial = trial_of(lr, best(lr), optimizer=optimizer, steps=STEPS, warmup=WARMUP, precision="float64")
    _, found = trained(planted(trial, **options), executor)
    assert found["v"] == pytest.approx(TARGET, abs=1e-8)


def test_adam_with_l2_moves_v_by_the_rate_whatever_the_decay(trial_of) -> None:
    """So that no weight decay is best: a flat row, not a number."""
    found = {
        trained(planted(trial_of(1e-3, wd, optimizer="adam_l2", steps=STEPS, warmup=WARMUP)))[1]["v"]
        for wd in (1e-3, 1e-2, 1e-1, 1.0)
    }
    assert max(found) - min(found) < 1e-3


def test_the_losses_are_the_stated_ones(trial_of, train_all) -> None:
    trial = planted(trial_of(0.03, 0.1, steps=20, precision="float64"))
    _, after = trained(trial, steps=20)
    observed = train_all([trial])[0]
    expected = 0.1 + 0.5 * after["u"] ** 2 + 0.5 * (after["v"] - TARGET) ** 2
    assert observed.metrics["val/loss"] == pytest.approx(expected, rel=1e-6)  # the targets are float32
    splits = load_splits(DATA)
    noise = splits.train.y[:, 0] / splits.train.x[:, 0]
    expected = 0.5 * DATA.curvature * np.mean((after["u"] - noise.astype(np.float64)) ** 2)
    assert observed.metrics["train/loss"] == pytest.approx(expected, rel=1e-6)
    assert noise.std() == pytest.approx(DATA.noise, rel=0.3)  # 50 draws: ±10%


def test_v_has_no_gradient_at_all(trial_of) -> None:
    _, found = trained(planted(trial_of(0.3, 0.0, steps=50)), steps=50)
    assert found["v"] == 1.0
    assert found["u"] != 1.0

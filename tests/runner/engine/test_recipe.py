"""SAM, clipping, masked decay and rules of one parameter at a time: as written by hand, per trial, and fused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from thalweg.optim.schedule import warmup_cosine
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.streams import batch_indices
from thalweg.runner.engine.workload import initialised

STEPS = 20
FUSED = ("vmap", "traced")
PARTS: dict[str, list[dict[str, Any]]] = {
    "sam": [{"sam": {"name": "standard", "rho": rho}} for rho in (0.0, 0.05, 0.3)],
    "adaptive sam": [{"sam": {"name": "adaptive", "rho": rho}} for rho in (0.0, 0.5, 2.0)],
    "clipped norm": [{"clip": {"name": "norm", "limit": limit}} for limit in (0.1, 1.0, 1e9)],
    "clipped values": [{"clip": {"name": "value", "limit": limit}} for limit in (0.001, 0.02, 1e9)],
    "sam, clipped": [
        {"sam": {"name": "standard", "rho": rho}, "clip": {"name": "norm", "limit": limit}}
        for rho, limit in ((0.1, 0.5), (0.2, 0.1), (0.3, 1.0))
    ],
    "decay of weights": [{"rule": {"decay_on": "weights"}, "weight_decay": decay} for decay in (0.0, 0.1, 1.0)],
    "smoothing": [{"task": {"loss": "auto", "label_smoothing": by}} for by in (0.0, 0.1, 0.5)],
}


def losses_of(observations) -> np.ndarray:
    return np.stack([each.series["train/batch_loss"].values for each in observations])


def by_hand(trial) -> list[float]:
    """The losses of a plain script: torch's optimizers, clipping and cross-entropy, SAM as in its paper."""
    config = trial.config
    workload = prepared(config, torch.device("cpu"))
    model = initialised(config, workload.extent).double()
    everything, decay = [*model.parameters()], config.optimizer.weight_decay
    groups = [{"params": everything, "weight_decay": decay}]
    if config.optimizer.decay_on == "weights":
        groups = [
            {"params": [p for p in everything if p.dim() > 1], "weight_decay": decay},
            {"params": [p for p in everything if p.dim() < 2], "weight_decay": 0.0},
        ]
    optimizer = torch.optim.SGD(groups, lr=0.0, momentum=config.optimizer.momentum)
    losses = []
    for t, rows in enumerate(batch_indices(config.seed, 0, STEPS, config.budget.batch_size, 200)):
        x, y = workload.splits["train"].take(torch.as_tensor(rows))
        for group in optimizer.param_groups:
            group["lr"] = config.optimizer.lr * float(warmup_cosine(t, STEPS, 5, 0.0))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y, label_smoothing=config.task.label_smoothing)
        loss.backward()
        losses.append(loss.item())
        if config.sam.name != "none":
            climbed(model, config.sam, lambda: nn.functional.cross_entropy(model(x), y).backward())  # noqa: B023
        if config.clip.name == "norm":
            nn.utils.clip_grad_norm_(everything, config.clip.limit)
        if config.clip.name == "value":
            nn.utils.clip_grad_value_(everything, config.clip.limit)
        optimizer.step()
    return losses


@torch.no_grad()
def climbed(model: nn.Module, sam, backward) -> None:
    """Leave the gradient at the point uphill in the parameters' grad."""
    weights = [*model.parameters()]
    scales: list[Tensor | float] = [p.abs() if sam.name == "adaptive" else 1.0 for p in weights]
    norm = sum((s * p.grad).square().sum() for s, p in zip(scales, weights, strict=True)).sqrt()
    before = [p.clone() for p in weights]
    for s, p in zip(scales, weights, strict=True):
        p.add_(sam.rho * s * s * p.grad / norm)
    model.zero_grad()
    with torch.enable_grad():
        backward()
    for p, old in zip(weights, before, strict=True):
        p.copy_(old)


@pytest.mark.parametrize("case", PARTS)
def test_every_executor_does_what_a_plain_script_does(trial_of, train_all, case) -> None:
    trials = [trial_of(precision="float64", steps=STEPS, **parts) for parts in PARTS[case]]
    assert len({trial.group_id for trial in trials}) == 1
    expected = [by_hand(trial) for trial in trials]
    assert not np.allclose(expected[0], expected[1], rtol=1e-6)
    for executor in ("loop", *FUSED):
        np.testing.assert_allclose(losses_of(train_all(trials, executor)), expected, rtol=1e-10)


@pytest.mark.parametrize("executor", ["loop", *FUSED])
def test_sam_that_climbs_nowhere_is_its_base_to_the_bit(trial_of, train_all, executor) -> None:
    base, still = trial_of(), trial_of(sam={"name": "standard", "rho": 0.0})
    hashes = [train_all([trial, trial], executor)[0].weight_hash for trial in (base, still)]
    assert hashes[0] == hashes[1]


@pytest.mark.long
@pytest.mark.parametrize("executor", ["loop", *FUSED])
@pytest.mark.parametrize("case", ["sam", "clipped norm", "decay of weights"])
def test_a_trials_bits_do_not_depend_on_its_neighbours(trial_of, train_all, executor, case) -> None:
    trials = [trial_of(steps=STEPS, **parts) for parts in PARTS[case]]
    together = train_all(trials, executor)
    for trial, one in zip(trials, together, strict=True):
        assert train_all([trial], executor)[0].weight_hash == one.weight_hash
    assert (
        train_all([trials[2], trial_of(1e30, warmup=0, steps=STEPS, **PARTS[case][0]), trials[1]], executor)[
            2
        ].weight_hash
        == together[1].weight_hash
    )


@pytest.mark.long
def test_a_rule_of_matrices_trains_fused_as_in_the_loop(trial_of, train_all) -> None:
    def muon(lr: float, decay_on: str, precision: str = "float64"):
        return trial_of(lr, 0.1, optimizer="muon", rule={"decay_on": decay_on}, precision=precision, steps=STEPS)

    for decay_on in ("all", "weights"):
        trials = [muon(lr, decay_on) for lr in (0.001, 0.01, 0.03)]
        solo = losses_of(train_all(trials, "loop"))
        assert (np.diff(solo[:, -1]) != 0).all()
        for executor in FUSED:
            np.testing.assert_allclose(losses_of(train_all(trials, executor)), solo, rtol=1e-10)
    masked, whole = (train_all([muon(0.01, on)], "loop")[0].weight_hash for on in ("weights", "all"))
    assert masked != whole


@pytest.mark.parametrize("executor", ["loop", *FUSED])
def test_bf16_rounds_the_forward_pass_and_not_the_weights(trial_of, train_all, executor) -> None:
    trials = [trial_of(lr, precision="bf16", steps=STEPS) for lr in (0.02, 0.05)]
    plain = losses_of(train_all([trial_of(lr, steps=STEPS) for lr in (0.02, 0.05)], executor))
    rounded = losses_of(train_all(trials, executor))
    np.testing.assert_allclose(rounded, plain, rtol=0.05)
    assert (rounded != plain).all()
    assert prepared(trials[0].config, torch.device("cpu")).start(trials).theta.dtype == torch.float32


def test_tf32_is_a_precision_of_its_own_and_leaves_torchs_setting_as_it_was(trial_of, train_all) -> None:
    trial = trial_of(precision="tf32", steps=STEPS)
    assert trial.group_id != trial_of(steps=STEPS).group_id
    assert train_all([trial])[0].outcome == "finished"
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.backends.cudnn.allow_tf32

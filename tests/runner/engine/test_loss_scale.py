"""Half precision and the loss scale: torch's autocast and GradScaler, fused and in the loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from thalweg import optim
from thalweg.optim.schedule import warmup_cosine
from thalweg.optim.schema import DynamicScalingConfig
from thalweg.runner.engine.checkpoint import Checkpoint
from thalweg.runner.engine.choose import choose
from thalweg.runner.engine.cohort import Cohort, Keeping, train
from thalweg.runner.engine.executors import EXECUTORS as RUN
from thalweg.runner.engine.inputs import Inputs
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.probing import Question
from thalweg.runner.engine.scale import Scale
from thalweg.runner.engine.streams import batch_indices
from thalweg.runner.engine.workload import initialised
from thalweg.runner.study.trial import Trial

CPU = torch.device("cpu")
STEPS = 24
EXECUTORS = ("loop", "vmap", "traced")
HALF, LARGE = 2.0**22, 2.0**124
"""Scales at which the first gradients are infinite: in half precision; and in float32, once it doubled some times."""
CASES = {"half": ("fp16", (HALF, 1024.0), 5), "float32": ("float32", (LARGE, 2.0**118), 1)}


def scaled(trial: Trial, start: float = 65536.0, interval: int = 2000, floor: float = 1.0) -> Trial:
    scaling = DynamicScalingConfig(name="dynamic", start=start, interval=interval, floor=floor)
    return Trial(replace(trial.config, scaling=scaling))


def adamw(trial_of, lr: float, precision: str = "fp16", **more: Any) -> Trial:
    gain = 1.0 if precision == "fp16" else 6.0  # whose gradients are above 2, so that such a scale can be too large
    return trial_of(lr, 0.1, optimizer="adamw", precision=precision, **{"steps": STEPS, "init_gain": gain, **more})


def told(trials, executor: str, names=("loss_scale", "gradient_norm", "update_norm"), **how: Any):
    workload = prepared(trials[0].config, CPU).telling(names)
    return train(Cohort(tuple(trials), executor, "shared", 2), workload, **how)


def hashes_of(observations) -> list[str]:
    return [each.weight_hash for each in observations]


def by_hand(trial: Trial, make: Any) -> tuple[nn.Module, list[float], list[float]]:
    """Weights, batch losses and scales of a plain loop with torch's own autocast and GradScaler."""
    config, workload = trial.config, prepared(trial.config, CPU)
    of, scaling = config.optimizer, config.scaling
    model = initialised(config, workload.extent)
    optimizer = make(model.parameters(), lr=of.lr, betas=(of.beta1, of.beta2), eps=of.eps, weight_decay=of.weight_decay)
    scaler = torch.amp.GradScaler("cpu", init_scale=scaling.start, growth_interval=scaling.interval)
    losses, scales = [], []
    for t, rows in enumerate(batch_indices(config.seed, 0, config.budget.steps, config.budget.batch_size, 200)):
        rate = float(warmup_cosine(t, config.budget.steps, config.schedule.warmup, 0.0))
        optimizer.param_groups[0]["lr"] = of.lr * rate
        x, y = workload.splits["train"].take(torch.as_tensor(rows))
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.float16, enabled=config.precision == "fp16", cache_enabled=False):
            logits = model(x)
        loss = nn.functional.cross_entropy(logits.float(), y)
        scales.append(scaler.get_scale())
        scaler.scale(loss).backward()
        if config.clip.name == "norm":
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), config.clip.limit)
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    return model, losses, scales


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize(("precision", "starts", "interval"), CASES.values(), ids=CASES)
def test_steps_skips_and_scales_are_torchs_in_each_lane(trial_of, executor, precision, starts, interval) -> None:
    trials = [scaled(adamw(trial_of, 0.01, precision), start, interval) for start in starts]
    assert len({trial.group_id for trial in trials}) == 1
    skipped = []
    for trial, found in zip(trials, told(trials, executor), strict=True):
        _, losses, scales = by_hand(trial, optim.AdamW)
        assert found.series["train/loss_scale"].values.tolist() == pytest.approx(scales, rel=1e-6)
        np.testing.assert_allclose(found.series["train/batch_loss"].values, losses, rtol=2e-3)
        still = found.series["train/update_norm"].values == 0
        np.testing.assert_array_equal(still[:-1], np.diff(scales) < 0)
        assert {*found.series["train/gradient_norm"].steps} == {*np.flatnonzero(~still)}
        skipped.append(int(still.sum()))
    assert skipped[0] > 1, skipped
    assert skipped[0] != skipped[1]


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize(("precision", "starts", "interval"), CASES.values(), ids=CASES)
def test_the_weights_are_those_of_a_plain_loop(trial_of, executor, precision, starts, interval) -> None:
    """After skipped steps, of which Adam's count knows nothing."""
    more = {"clip": {"name": "norm", "limit": 0.5}} if precision == "float32" else {}
    trials = [scaled(adamw(trial_of, 0.003, precision, **more), start, interval) for start in starts]
    workload = prepared(trials[0].config, CPU)
    state = workload.start(trials, executor)
    RUN[executor](workload, state, Inputs(trials, "shared", workload).block(0, STEPS, np.arange(2)))
    assert state.scale is not None
    assert state.scale.missed[0] > 5
    for lane, trial in enumerate(trials):
        begun = workload.start([trial]).theta[0]
        for make, off in ((optim.AdamW, 2e-5), (torch.optim.AdamW, 1e-4)):
            model, *_ = by_hand(trial, make)
            expected = workload.layout.flatten({n: p.detach()[None] for n, p in model.named_parameters()})[0]
            assert (state.theta[lane] - expected).norm() <= off * (expected - begun).norm()


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_skipped_step_leaves_weights_slots_and_average_to_the_bit(trial_of, executor, optimizer) -> None:
    average = {"name": "ema", "decay": 0.9}
    more = {"rule": {"decay_on": "all"}} if optimizer == "muon" else {}
    trial = trial_of(0.01, 0.1, optimizer=optimizer, precision="fp16", steps=STEPS, average=average, **more)
    trials = [scaled(trial, start, interval) for start, interval in ((1.0, 2000), (HALF, 3))]
    workload = prepared(trials[0].config, CPU)
    inputs, state = Inputs(trials, "shared", workload), workload.start(trials, executor)
    skipped = 0
    for step in range(STEPS):
        assert state.scale is not None
        before = {name: tensor.clone() for name, tensor in state.tensors().items()}
        block = inputs.block(step, step + 1, np.arange(2), state.scale.missed.tolist())
        RUN[executor](workload, state, block)
        after = state.tensors()
        moved = {name for name in after if not torch.equal(before[name][1], after[name][1])}
        if "scale/missed" in moved:
            skipped += 1
            assert moved <= {"scale/missed", "scale/factor", "scale/good", "limit"}
            assert after["scale/factor"][1] == before["scale/factor"][1] / 2
        else:
            if after["scale/missed"][1] == step:  # the first that it takes sets the average
                assert torch.equal(after["slot/average"][1], after["theta"][1])
            assert {"theta", "slot/average", *(f"slot/{name}" for name in workload.recipe.rule.slots)} <= moved
        assert not torch.equal(before["theta"][0], after["theta"][0])
    assert 0 < skipped < STEPS - 2
    assert state.alive.all()


@pytest.mark.long
@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("start", [LARGE, HALF])
def test_a_trials_bits_do_not_depend_on_its_company_nor_on_blocks(trial_of, train_all, executor, start) -> None:
    """A block's coefficients are made for the steps missed before it; those that are missed in it are made up for."""
    precision = "fp16" if start == HALF else "float32"
    rates = ((0.01, start), (0.02, 4.0), (0.01, start / 256))
    trials = [scaled(adamw(trial_of, lr, precision), scale, 2) for lr, scale in rates]
    together = hashes_of(train_all(trials, executor))
    assert len({*together}) == 3
    assert hashes_of([train_all([trial], executor)[0] for trial in trials]) == together
    assert hashes_of(train_all(trials[::-1], executor, evaluations=STEPS))[::-1] == together
    dying = scaled(adamw(trial_of, 1e30, precision, warmup=0), start, 1)
    assert hashes_of(train_all([trials[1], dying, trials[0]], executor))[::2] == [together[1], together[0]]


@pytest.mark.long
@pytest.mark.parametrize("executor", EXECUTORS)
def test_it_goes_on_from_a_checkpoint_to_the_same_bits(trial_of, executor) -> None:
    trials = tuple(scaled(adamw(trial_of, 0.02, "float32", steps=60), start, 1) for start in (LARGE, 2.0**118))
    kept: list[Checkpoint] = []
    cohort = Cohort(trials, executor, "shared", 3)
    workload = prepared(trials[0].config, CPU).telling(("loss_scale",))
    ended = train(cohort, workload, keeping=Keeping(lambda: True, kept.append))
    assert len({*ended[0].series["train/loss_scale"].values[20:]}) > 2
    resumed = train(cohort, workload, resume=kept[0])
    for one, other in zip(ended, resumed, strict=True):
        assert (one.weight_hash, one.metrics) == (other.weight_hash, other.metrics)
        assert np.array_equal(one.series["train/loss_scale"].values, other.series["train/loss_scale"].values)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_scale_below_the_floor_and_a_loss_that_is_not_finite_are_divergence(trial_of, executor) -> None:
    fine, falling = (scaled(adamw(trial_of, 0.001), HALF, 2000, floor) for floor in (16.0, HALF / 4))
    lasts, falls = told([fine, falling], executor)
    assert lasts.outcome == "finished"
    assert falls.outcome == "diverged"
    assert falls.diverged_step == 2
    assert falls.series["train/loss_scale"].values.tolist() == [HALF, HALF / 2, HALF / 4]
    assert falls.weight_hash == told([scaled(adamw(trial_of, 0.1), HALF, 2000, HALF)], executor)[0].weight_hash
    wild = told([scaled(adamw(trial_of, 1e30, warmup=0), 1.0)], executor)[0]
    assert wild.outcome == "diverged"


@pytest.mark.long
@pytest.mark.parametrize("executor", EXECUTORS)
def test_parts_frozen_parameters_and_sam_are_scaled_too(trial_of, train_all, executor) -> None:
    """Powers of two change no bit: with a scale that never overflows all is as without one."""
    for more in (
        {"budget": {"steps": STEPS, "batch_size": 16, "accumulate": 4}},
        {"groups": {"named": [("low", {"match": "layers.0.*", "freeze": True})]}},
        {"sam": {"name": "standard", "rho": 0.05}},
        {"sam": {"name": "adaptive", "rho": 0.5}, "clip": {"name": "value", "limit": 0.01}},
    ):
        plain = [adamw(trial_of, lr, "float32", **more) for lr in (0.01, 0.02)]
        expected = hashes_of(train_all(plain, executor))
        assert hashes_of(train_all([scaled(trial, 2.0**16, 4) for trial in plain], executor)) == expected


def test_sam_skips_a_step_whose_second_gradient_is_not_finite(trial_of) -> None:
    trial = scaled(adamw(trial_of, 0.01, "float32", sam={"name": "standard", "rho": 0.05}), LARGE, 2)
    (found,) = told([trial], "loop")
    still = found.series["train/update_norm"].values == 0
    assert 0 < still.sum() < STEPS - 2, still
    assert np.isfinite(found.metrics["val/loss"])


def test_a_scale_that_would_be_infinite_stays(trial_of) -> None:
    scale = Scale.start(torch.tensor([3e38, 1.0]))
    scale.move(torch.tensor([True, True]), torch.tensor([1.0, 2.0]))
    assert scale.factor.tolist() == [pytest.approx(3e38), 1.0]
    assert scale.good.tolist() == [0, 1]


def test_half_precision_is_fused_and_the_weights_are_not_rounded(trial_of, train_all) -> None:
    trials = [scaled(adamw(trial_of, lr, hidden=(64, 64))) for lr in (0.001, 0.01)]
    workload = prepared(trials[0].config, CPU)
    assert workload.start(trials).theta.dtype == torch.float32
    assert choose(workload, Question(tuple(trials), "shared", "vmap"))[0].executor == "vmap"
    rounded, plain = (
        np.array([each.series["train/batch_loss"].values for each in train_all(ours, "traced")])
        for ours in (trials, [adamw(trial_of, lr, "float32", hidden=(64, 64), init_gain=1.0) for lr in (0.001, 0.01)])
    )
    np.testing.assert_allclose(rounded, plain, rtol=0.02)
    assert (rounded != plain).all()


@pytest.mark.parametrize("executor", ["compiled", "graphed", "graphed_compiled"])
def test_programs_of_whole_steps_are_traced_instead_and_it_is_said(trial_of, executor) -> None:
    trials = tuple(scaled(adamw(trial_of, lr)) for lr in (0.001, 0.01))
    choice, _ = choose(prepared(trials[0].config, CPU), Question(trials, "shared", executor))
    assert choice.executor == "traced"
    assert executor in choice.reason


def test_a_scale_is_part_of_an_id_and_none_is_not(trial_of) -> None:
    trial = trial_of()
    assert trial_of(scaling={"name": "none"}).id == trial.id
    ids = {trial.id, *(scaled(trial, *numbers).id for numbers in ((4.0,), (8.0,), (8.0, 7), (8.0, 7, 0.5)))}
    assert len(ids) == 5
    assert len({trial.group_id, scaled(trial).group_id, scaled(trial, 4.0, 7, 0.5).group_id}) == 2

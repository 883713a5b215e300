"""Executors agree with each other, and a lane's bits do not depend on the company it trains in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from thalweg.models.schema import CNNConfig
from thalweg.optim.schedule import warmup_cosine
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.streams import batch_indices
from thalweg.runner.engine.workload import initialised
from thalweg.runner.study.trial import Trial

CASES = [(optimizer, model) for optimizer in ("sgd", "adamw", "adam_l2") for model in ("mlp", "mlp_scale_invariant")]


def losses_of(observations) -> np.ndarray:
    return np.stack([each.series["train/batch_loss"].values for each in observations])


@pytest.mark.parametrize(("optimizer", "model"), CASES)
def test_vmap_equals_loop_to_rounding_in_float64(grid_of, train_all, optimizer, model) -> None:
    trials = grid_of(4, optimizer=optimizer, model=model, precision="float64", steps=20)
    np.testing.assert_allclose(losses_of(train_all(trials, "vmap")), losses_of(train_all(trials, "loop")), rtol=1e-10)


@pytest.mark.parametrize(("optimizer", "model"), CASES)
def test_vmap_losses_equal_loop_losses_in_float32(grid_of, train_all, optimizer, model) -> None:
    trials = grid_of(3, optimizer=optimizer, model=model, steps=50)
    np.testing.assert_allclose(losses_of(train_all(trials, "vmap")), losses_of(train_all(trials, "loop")), rtol=1e-4)


@pytest.mark.long
@pytest.mark.parametrize("executor", ["loop", "vmap"])
@pytest.mark.parametrize("model", ["mlp", "mlp_scale_invariant"])
def test_a_trials_bits_do_not_depend_on_width_place_or_neighbours(grid_of, train_all, executor, model) -> None:
    trials = grid_of(37, model=model, optimizer="adamw")
    whole = [(each.weight_hash, each.metrics) for each in train_all(trials, executor)]
    for chosen in ([5], [5, 6], [36, 5, 0], list(range(5, 21)), list(reversed(range(37)))):
        part = [(each.weight_hash, each.metrics) for each in train_all([trials[i] for i in chosen], executor)]
        assert part == [whole[i] for i in chosen]


@pytest.mark.long
@settings(deadline=None, max_examples=30)
@given(
    hidden=st.lists(st.integers(2, 70), min_size=1, max_size=3),
    batch_size=st.sampled_from([1, 3, 7, 16, 31, 32, 33]),
    model=st.sampled_from(["mlp", "mlp_scale_invariant"]),
    layout=st.sampled_from(["shared", "per_lane"]),
    precision=st.sampled_from(["float32", "float64"]),
)
def test_equal_trials_end_with_equal_bits_whatever_their_shapes(
    trial_of, train_all, hidden, batch_size, model, layout, precision
) -> None:
    """Layers and batches that are no multiple of a cache line put lanes at unlike places in memory."""
    shape = {"hidden": hidden, "batch_size": batch_size, "model": model, "precision": precision}
    trial = trial_of(0.05, optimizer="adamw", steps=3, warmup=1, **shape)
    together = {each.weight_hash for each in train_all([trial] * 9, "vmap", layout)}
    assert together == {train_all([trial], "vmap", layout)[0].weight_hash}


@pytest.mark.slow
@settings(deadline=None, max_examples=20)
@given(
    widths=st.lists(st.integers(1, 40), min_size=1, max_size=2),
    norm=st.sampled_from(["batch", "group", "none"]),
    batch_size=st.sampled_from([2, 7, 16, 33]),
    layout=st.sampled_from(["shared", "per_lane"]),
)
def test_equal_normalised_trials_end_with_equal_bits_whatever_their_shapes(
    trial_of, train_all, widths, norm, batch_size, layout
) -> None:
    model = CNNConfig(name="cnn", widths=tuple(widths), norm=norm, dropout=0.0, init_gain=1.0)
    plain = trial_of(0.01, optimizer="adamw", steps=3, warmup=1, batch_size=batch_size)
    trial = Trial(replace(plain.config, model=model))
    together = {each.weight_hash for each in train_all([trial] * 9, "vmap", layout)}
    assert together == {train_all([trial], "vmap", layout)[0].weight_hash}


@pytest.mark.parametrize("executor", ["loop", "vmap"])
def test_lanes_with_batches_of_their_own_keep_their_bits_too(grid_of, trial_of, train_all, executor) -> None:
    trials = [trial_of(0.05, seed=seed) for seed in range(9)]
    whole = [each.weight_hash for each in train_all(trials, executor, "per_lane")]
    pair = [each.weight_hash for each in train_all([trials[4], trials[1]], executor, "per_lane")]
    assert pair == [whole[4], whole[1]]
    assert len(set(whole)) == 9


def test_one_lane_of_infinite_rate_changes_no_other_to_the_bit(grid_of, trial_of, train_all) -> None:
    trials = grid_of(8)
    alone = [each.weight_hash for each in train_all(trials)]
    mixed = train_all([*trials[:3], trial_of(1e30), *trials[3:]])
    assert mixed[3].outcome == "diverged"
    assert [each.weight_hash for i, each in enumerate(mixed) if i != 3] == alone


def test_the_loop_equals_a_plain_torch_script(trial_of, train_all) -> None:
    """The oracle itself, against torch.optim written out by hand."""
    trial = trial_of(0.05, 1e-3, optimizer="adamw", steps=40, precision="float64")
    config = trial.config
    workload = prepared(config, torch.device("cpu"))
    train = workload.splits["train"]
    module = initialised(config, workload.extent).double()
    optimizer = torch.optim.AdamW(module.parameters(), lr=config.optimizer.lr, weight_decay=1e-3)
    expected = []
    for t, rows in enumerate(batch_indices(config.seed, 0, 40, 16, 200)):
        optimizer.param_groups[0]["lr"] = config.optimizer.lr * float(warmup_cosine(t, 40, 5, 0.0))
        x, y = train.take(torch.as_tensor(rows))
        loss = torch.nn.functional.cross_entropy(module(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    for executor in ("loop", "vmap"):
        np.testing.assert_allclose(losses_of(train_all([trial], executor))[0], expected, rtol=1e-10)


def test_training_leaves_torchs_generator_alone(grid_of, train_all) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    train_all(grid_of(2))
    assert torch.equal(before, torch.get_rng_state())

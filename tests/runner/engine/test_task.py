"""Losses and measurements against torch, numpy and their definitions."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import vmap

from thalweg.data.schema import MEASURES
from thalweg.runner.engine.task import BINS, TASKS, Own, compared, cross_entropy, gathered, in_bins, picked

K, B, C, L = 3, 40, 5, 6


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def classes(*shape: int) -> torch.Tensor:
    return torch.randint(0, C, shape, generator=torch.Generator().manual_seed(1))


BATCHES = {
    "classes": (3 * drawn(K, B, C), classes(B)),
    "values": (drawn(K, B, 2), drawn(B, 2, seed=1) + 3),
    "tokens": (drawn(K, B, L, C), classes(B, L)),
}
every_kind = pytest.mark.parametrize("kind", BATCHES)


@every_kind
def test_a_task_measures_what_its_kind_promises(kind) -> None:
    task = TASKS[kind]()
    outputs, y = BATCHES[kind]
    measured = task.finish(task.sums(outputs, y))
    assert set(measured) == set(MEASURES[kind])
    assert all(values.shape == (K,) and values.dtype == torch.float64 for values in measured.values())
    torch.testing.assert_close(measured["loss"], torch.stack([task.loss(one, y) for one in outputs]))


@every_kind
@settings(max_examples=20, deadline=None)
@given(cuts=st.sets(st.integers(1, B - 1)))
def test_how_a_split_is_cut_into_batches_does_not_matter(kind, cuts) -> None:
    task, (outputs, y) = TASKS[kind](), BATCHES[kind]
    edges = [0, *sorted(cuts), B]
    parts = [task.sums(outputs[:, a:b], y[a:b]) for a, b in pairwise(edges)]
    whole, pieces = task.finish(task.sums(outputs, y)), task.finish(torch.stack(parts).sum(0))
    for name, values in whole.items():
        torch.testing.assert_close(pieces[name], values, rtol=1e-12, atol=1e-14)


def test_accuracy_and_calibration_error_are_what_their_definitions_say() -> None:
    outputs, y = BATCHES["classes"]
    measured = TASKS["classes"]().finish(TASKS["classes"]().sums(outputs, y))
    for k in range(K):
        p = outputs[k].softmax(1).numpy()
        sure, hit = p.max(1), p.argmax(1) == y.numpy()
        assert measured["accuracy"][k] == hit.mean()
        place = np.minimum((sure * BINS).astype(int), BINS - 1)
        bins = [place == b for b in range(BINS) if (place == b).any()]
        error = sum(one.mean() * abs(sure[one].mean() - hit[one].mean()) for one in bins)
        assert measured["calibration_error"][k].item() == pytest.approx(error, rel=1e-12)


def test_r2_is_one_for_the_truth_and_nought_for_the_mean() -> None:
    task, (_, y) = TASKS["values"](), BATCHES["values"]
    outputs = torch.stack([y, y.mean(0).expand_as(y), y + 1])
    r2 = task.finish(task.sums(outputs, y))["r2"]
    expected = 1 - B * 2 / ((y - y.mean(0)) ** 2).sum()
    torch.testing.assert_close(r2, torch.stack([torch.ones_like(expected), torch.zeros_like(expected), expected]))


def test_a_uniform_guess_costs_the_bits_of_the_alphabet() -> None:
    task, y = TASKS["tokens"](), BATCHES["tokens"][1]
    measured = task.finish(task.sums(torch.zeros(1, B, L, C, dtype=torch.float64), y))
    assert measured["bits_per_character"].item() == pytest.approx(math.log2(C))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_a_smoothed_loss_is_torchs_each_trial_with_its_own(smoothing) -> None:
    outputs, y = BATCHES["classes"]
    own = torch.tensor([smoothing, 0.0, 0.3], dtype=torch.float64)
    losses = vmap(cross_entropy, in_dims=(0, None, 0))(outputs, y, own)
    for k in range(K):
        expected = F.cross_entropy(outputs[k], y, label_smoothing=own[k].item())
        torch.testing.assert_close(losses[k], expected, rtol=1e-12, atol=0)
    assert torch.equal(losses[1], cross_entropy(outputs[1], y))


def test_probabilities_of_classes_are_targets_too() -> None:
    outputs, y = BATCHES["classes"]
    p = drawn(B, C, seed=2).softmax(1)
    torch.testing.assert_close(cross_entropy(outputs[0], p), F.cross_entropy(outputs[0], p), rtol=1e-12, atol=0)
    hard = F.one_hot(y, C).double()
    torch.testing.assert_close(cross_entropy(outputs[0], hard), cross_entropy(outputs[0], y), rtol=1e-12, atol=0)


def hinge(outputs, y):
    return F.multi_margin_loss(outputs, y)


def ones(outputs, y):
    return torch.ones(())


def test_a_loss_and_a_metric_of_the_users_are_minimised_and_measured_as_means_over_all_examples() -> None:
    outputs, y = BATCHES["classes"]
    task, usual = Own(TASKS["classes"](), {"loss": hinge, "ones": ones}), TASKS["classes"]()
    assert task.loss(outputs[0], y) == hinge(outputs[0], y)
    pieces = task.finish(task.sums(outputs[:, :7], y[:7]) + task.sums(outputs[:, 7:], y[7:]))
    assert set(pieces) == {"loss", "accuracy", "calibration_error", "ones"}
    torch.testing.assert_close(pieces["loss"], torch.stack([hinge(one, y) for one in outputs]))
    torch.testing.assert_close(pieces["accuracy"], usual.finish(usual.sums(outputs, y))["accuracy"])
    assert (pieces["ones"] == 1).all()


def test_a_metric_that_writes_into_what_it_is_given_changes_nothing_else() -> None:
    def spoils(outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        outputs.zero_()
        y.zero_()
        return outputs.sum()

    outputs, y = (each.clone() for each in BATCHES["classes"])
    task = Own(TASKS["classes"](), {"spoils": spoils, "hinge": hinge})
    found = task.finish(task.sums(outputs, y))
    expected, labels = BATCHES["classes"]
    torch.testing.assert_close(found["hinge"], torch.stack([hinge(one, labels) for one in expected]))
    assert torch.equal(outputs, expected)
    assert torch.equal(y, labels)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    st.tuples(st.integers(1, 9), st.integers(1, 70), st.integers(2, 70)),
    st.booleans(),
    st.sampled_from([0.0, 1.0, 300.0]),
    st.sampled_from([None, math.inf, -math.inf, math.nan]),
    st.integers(0, 2**31),
)
def test_summing_picks_what_gathering_does_to_the_bit(dtype, shape, shared, scale, odd, seed) -> None:
    lanes, batch, kinds = shape
    random = torch.Generator().manual_seed(seed)
    logits = (scale * torch.randn(lanes, batch, kinds, generator=random)).to(dtype)
    if odd is not None:
        logits[0, 0, 0] = odd
    y = torch.randint(0, kinds, (batch,) if shared else (lanes, batch), generator=random)
    found = []
    for way in (gathered, picked):
        leaf = logits.clone().requires_grad_()
        losses = vmap(lambda x, y, way=way: -way(x.t().log_softmax(0), y).mean(), (0, None if shared else 0))(leaf, y)
        found.append((losses.detach(), *torch.autograd.grad(losses.sum(), leaf)))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one.isnan(), other.isnan())
        assert torch.equal(*(each.nan_to_num(7).contiguous().view(torch.uint8) for each in (one, other)))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 50), st.integers(0, 2**31))
def test_comparing_fills_the_bins_that_scattering_does(lanes, batch, seed) -> None:
    random = torch.Generator().manual_seed(seed)
    values = torch.randn(lanes, batch, generator=random, dtype=torch.float64)
    bins = torch.randint(0, BINS, (lanes, batch), generator=random)
    torch.testing.assert_close(compared(values, bins), in_bins(values, bins), rtol=1e-12, atol=1e-12)

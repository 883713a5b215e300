"""A recording knows where each tensor came from, and keeps none alive for it."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import Tensor

from thalweg.runner.engine.recording import Recording

SIDE = 37


def alive() -> int:
    gc.collect()
    return sum(type(each) is Tensor and each.shape == (SIDE, SIDE) for each in gc.get_objects())


@pytest.mark.long
def test_a_tensor_that_nobody_needs_is_let_go_of_while_recording() -> None:
    most = 0

    def chain(x: Tensor) -> Tensor:
        nonlocal most
        for _ in range(20):
            x = x + 1
            most = max(most, alive())
        return x

    x = torch.zeros(SIDE, SIDE)
    before = alive()
    recording = Recording(chain, [x])
    assert most - before <= 2
    assert torch.equal(recording(torch.ones(SIDE, SIDE)), torch.full((SIDE, SIDE), 21.0))


def test_tensors_that_take_each_others_ids_are_told_apart() -> None:
    def many(x: Tensor) -> Tensor:
        total = x * 0
        for i in range(300):
            total = total + (x * i).relu().tanh()  # three that die, whose ids are taken at once
        return total

    x = torch.linspace(-1, 1, 5)
    recording = Recording(many, [x])
    other = torch.linspace(3, -2, 5)
    assert torch.equal(recording(other), many(other))


def test_what_autograd_saved_is_known_when_it_comes_back() -> None:
    def gradient(x: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            loss = (leaf.tanh().exp().sigmoid() @ leaf.t()).softmax(0).log().square().sum()
            (grad,) = torch.autograd.grad(loss, leaf)
        return grad

    x = torch.linspace(-1, 1, 12).view(3, 4)
    recording = Recording(gradient, [x])
    assert recording.take_result() is not None
    assert recording.take_result() is None
    other = torch.linspace(2, -2, 12).view(3, 4)
    assert torch.equal(recording(other), gradient(other))


def test_what_draws_from_a_generator_is_not_trusted_again() -> None:
    def drawn(x: Tensor) -> Tensor:
        return x + torch.randn(3, generator=torch.Generator().manual_seed(3))

    assert Recording(drawn, [torch.zeros(3)]).reads_values


def test_what_only_lets_profilers_know_is_no_part_of_a_recording() -> None:
    def named(x: Tensor) -> Tensor:
        with torch.profiler.record_function("hidden"):
            return x * 2

    recording = Recording(named, [torch.zeros(3)])
    assert [each.name for each in recording.operations()] == ["mul"]
    assert torch.equal(recording(torch.ones(3)), torch.full((3,), 2.0))
    assert not recording.reads_values


ROWS = torch.tensor([2, 0])


@pytest.mark.parametrize(
    ("picked", "reads"),
    [
        (lambda x: x[ROWS], False),
        (lambda x: x[:, ROWS], False),
        (lambda x: x[:, None, ROWS], False),
        (lambda x: x[x.sum(1) > 0], True),
        (lambda x: x[:, torch.tensor([True, False, True])], True),
    ],
)
def test_rows_may_be_picked_by_number_and_not_by_mask(picked, reads) -> None:
    """How many a mask picks Python learns, and may act on."""
    recording = Recording(picked, [torch.ones(4, 3)])
    assert recording.reads_values is reads
    if not reads:
        other = torch.linspace(2, -2, 12).view(4, 3)
        assert torch.equal(recording(other), picked(other))

"""The stacked forms of layers compute what vmap computes without them, and leave alone what they do not cover."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from thalweg.runner.engine import stacked
from thalweg.runner.engine.recording import Recording

K, B = 3, 5


class OnFeatures(nn.Module):
    """A layer on features that a function of torch.func computes first."""

    def __init__(self, layer: nn.Module, before: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.before = layer, before

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.before(x))


class Inner(nn.Module):
    """A layer applied example by example by the model's own vmap."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return vmap(lambda row: self.layer(row[None])[0])(x)


LAYERS = {
    "linear": (lambda: nn.Linear(4, 2), (4,)),
    "linear, no bias": (lambda: nn.Linear(4, 2, bias=False), (4,)),
    "linear over places": (lambda: nn.Linear(4, 2), (6, 4)),
    "linear, one output of one input": (lambda: nn.Linear(1, 1), (1,)),
    "group norm": (lambda: nn.GroupNorm(2, 4), (4, 3, 3)),
    "group norm of features": (lambda: nn.GroupNorm(2, 4), (4,)),
    "group norm without weights": (
        lambda: nn.Sequential(nn.Conv2d(4, 4, 1), nn.GroupNorm(2, 4, affine=False)),
        (4, 3, 3),
    ),
    "batch norm of images": (lambda: nn.BatchNorm2d(4), (4, 3, 3)),
    "batch norm of features": (lambda: nn.BatchNorm1d(4), (4,)),
    "batch norm without weights": (lambda: nn.BatchNorm2d(4, affine=False), (4, 3, 3)),
    "batch norm without statistics": (lambda: nn.BatchNorm2d(4, track_running_stats=False), (4, 3, 3)),
    "a vmap of the model's own": (Inner, (4,)),
    "a gradient of the model's own": (lambda: OnFeatures(nn.Linear(4, 2), grad(lambda x: (x**3).sum())), (4,)),
}
COVERED = {"linear": "baddbmm", "group norm": "native_group_norm", "batch norm of images": "native_batch_norm"}


def lanes_of(name: str) -> tuple[nn.Module, dict[str, Tensor], dict[str, Tensor], Tensor]:
    """A layer, and K trials' weights, buffers and batches for it."""
    make, shape = LAYERS[name]
    torch.manual_seed(0)
    module = make().double()
    weights = {n: torch.randn(K, *p.shape, dtype=torch.float64) for n, p in module.named_parameters()}
    buffers = {
        n: torch.stack([b + k if b.is_floating_point() else b for k in range(K)]) for n, b in module.named_buffers()
    }
    return module, weights, buffers, torch.randn(K, B, *shape, dtype=torch.float64)


def through(
    over: Callable[..., Any],
    module: nn.Module,
    weights: dict[str, Tensor],
    buffers: dict[str, Tensor],
    x: Tensor,
    dim: Any,
) -> dict[str, Tensor]:
    """Outputs, gradients and buffers afterwards of K trials."""
    leaves = {n: w.clone().requires_grad_() for n, w in weights.items()}
    x = x.clone().requires_grad_()

    def one(weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        tensors = weights | {n: b.clone() for n, b in buffers.items()}
        outputs = functional_call(module, tensors, (x,))
        return outputs, {n: tensors[n] for n in buffers}

    outputs, after = over(one, (0, 0, dim))(leaves, buffers, x)
    inputs = [*leaves.values(), x]
    grads = torch.autograd.grad((outputs * outputs.detach().cos()).sum(), inputs)
    return {"outputs": outputs, **after, **dict(zip([f"grad {n}" for n in [*leaves, "x"]], grads, strict=True))}


def plain(function: Callable[..., Any], in_dims: Any) -> Callable[..., Any]:
    """vmap as torch has it."""
    return vmap(function, in_dims=in_dims, randomness="same")


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluating"])
@pytest.mark.parametrize("shared", [True, False], ids=["one batch", "a batch each"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_computes_what_vmap_computes(name: str, shared: bool, training: bool) -> None:
    module, weights, buffers, x = lanes_of(name)
    module.train(training)
    x, dim = (x[0], None) if shared else (x, 0)
    expected = through(plain, module, weights, buffers, x, dim)
    found = through(stacked.over_trials, module, weights, buffers, x, dim)
    assert expected.keys() == found.keys()
    for what, value in expected.items():
        said = f"{what}: {{}}".format
        torch.testing.assert_close(found[what], value, rtol=1e-10, atol=1e-12, msg=said)


@pytest.mark.parametrize("name", LAYERS)
def test_the_buffers_given_stay_as_they_are(name: str) -> None:
    module, weights, buffers, x = lanes_of(name)
    before = copy.deepcopy(buffers)
    through(stacked.over_trials, module, weights, buffers, x, 0)
    assert all(torch.equal(before[n], b) for n, b in buffers.items())


@pytest.mark.parametrize(("name", "operation"), COVERED.items())
def test_a_covered_layer_is_one_operation(name: str, operation: str) -> None:
    module, weights, buffers, x = lanes_of(name)

    def forward(weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(module, weights | buffers, (x,))

    with torch.no_grad():
        recording = Recording(stacked.over_trials(forward), (weights, copy.deepcopy(buffers), x))
    names = [each.name for each in recording.operations()]
    assert names.count(operation) == 1
    assert not {"mul", "add"} & set(names), names


def test_weights_that_all_trials_share_are_left_to_vmap() -> None:
    weight, x = torch.randn(2, 4), torch.randn(K, B, 4)
    found = stacked.over_trials(lambda x: nn.functional.linear(x, weight))(x)
    torch.testing.assert_close(found, x @ weight.t())

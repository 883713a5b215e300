"""The stacked forms of layers compute what vmap computes without them, and leave alone what they do not cover."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from thalweg.runner.engine import stacked
from thalweg.runner.engine.recording import Recording

K, B = 3, 5
HEADS = torch.linspace(0, 1, 72, dtype=torch.float64).view(1, 2, 6, 6)
Made = tuple[Callable[[], nn.Module], tuple[int, ...]]
"""What makes a layer, and the shape of an example."""


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


class Called(nn.Module):
    """A layer, or a function, called as it likes. weights: of a layer [4, 4] of its own."""

    def __init__(self, layer: nn.Module, of: Callable[..., Any]) -> None:
        super().__init__()
        self.layer, self.of = layer, of

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.of(self.layer, x)
        return result


def recurrent(
    kind: str, *sizes: int, states: bool = False, **more: Any
) -> tuple[Callable[[], nn.Module], tuple[int, ...]]:
    """A recurrent layer on sequences of 6 places, its outputs, or with its last states."""

    def of(layer: nn.Module, x: Tensor) -> Tensor:
        out, last = layer(x)
        last = last if isinstance(last, tuple) else (last,)
        return torch.cat([out.flatten(1), *(each.transpose(0, 1).flatten(1) for each in last)], 1) if states else out

    return lambda: Called(getattr(nn, kind)(4, 3, *sizes, batch_first=True, **more), of), (6, 4)


def stepped(kind: str, **more: Any) -> Made:
    """A recurrent cell, three times."""

    def of(cell: nn.Module, x: Tensor) -> Tensor:
        state = None
        for place in range(3):
            state = cell(x[:, place], state)
        return torch.cat(state, 1) if isinstance(state, tuple) else cast(Tensor, state)

    return lambda: Called(getattr(nn, kind)(4, 3, **more), of), (6, 4)


def attends(layer: nn.Module, x: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """Attention of 2 heads of 2 numbers."""
    q, k = (each.unflatten(2, (2, 2)).transpose(1, 2) for each in (layer(x), x))
    return nn.functional.scaled_dot_product_attention(q, k, layer(x)[:, None], mask, is_causal=causal).flatten(2)


def attention(of: Callable[..., Tensor]) -> Made:
    """A layer whose outputs attend."""
    return lambda: Called(nn.Linear(4, 4), of), (6, 4)


LAYERS = {
    **{f"{kind}": recurrent(kind) for kind in ("LSTM", "GRU", "RNN")},
    **{f"{kind}, states": recurrent(kind, states=True) for kind in ("LSTM", "GRU", "RNN")},
    **{f"{kind}, two layers": recurrent(kind, 2, states=True) for kind in ("LSTM", "GRU", "RNN")},
    **{f"{kind}, both ways": recurrent(kind, 2, states=True, bidirectional=True) for kind in ("LSTM", "GRU", "RNN")},
    **{f"{kind}, no bias": recurrent(kind, bias=False) for kind in ("LSTM", "GRU", "RNN")},
    "RNN, relu": recurrent("RNN", nonlinearity="relu"),
    **{kind: stepped(kind) for kind in ("LSTMCell", "GRUCell", "RNNCell")},
    "RNNCell, relu": stepped("RNNCell", nonlinearity="relu"),
    "attention": attention(attends),
    "attention, causal": attention(partial(attends, causal=True)),
    "attention, a mask": attention(partial(attends, mask=torch.eye(6, dtype=torch.bool))),
    "attention, a mask for each head": attention(partial(attends, mask=HEADS)),
    "attention, the trial's own mask": attention(
        lambda layer, x: attends(layer, x, layer.weight[:1, :1] * HEADS[:, :1])
    ),
    "attention of torch's layer": (
        lambda: Called(
            nn.MultiheadAttention(4, 2, batch_first=True), lambda layer, x: layer(x, x, x, need_weights=False)[0]
        ),
        (6, 4),
    ),
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


def alone(function: Callable[..., Any], in_dims: Any) -> Callable[..., Any]:
    """One trial after another."""

    def each(weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Any:
        runs = [
            function({n: w[k] for n, w in weights.items()}, {n: b[k] for n, b in buffers.items()}, own)
            for k, own in enumerate(x if in_dims[2] == 0 else [x] * K)
        ]
        return torch.stack([out for out, _ in runs]), {n: torch.stack([after[n] for _, after in runs]) for n in buffers}

    return each


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluating"])
@pytest.mark.parametrize("shared", [True, False], ids=["one batch", "a batch each"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_computes_what_each_trial_alone_does(name: str, shared: bool, training: bool) -> None:
    module, weights, buffers, x = lanes_of(name)
    module.train(training)
    x, dim = (x[0], None) if shared else (x, 0)
    expected = through(alone, module, weights, buffers, x, dim)
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


def test_attention_is_batched_within_torchs_own_layers_too(recwarn) -> None:
    module, weights, buffers, x = lanes_of("attention of torch's layer")
    through(stacked.over_trials, module, weights, buffers, x, 0)
    assert not [each for each in recwarn if "batching rule" in str(each.message)]


def test_who_catches_an_error_of_one_trial_does_not_take_all_another_way() -> None:
    """Of two matrices one is not positive; each alone goes its own way."""

    def factor(matrix: Tensor) -> Tensor:
        try:
            return torch.linalg.cholesky(matrix)
        except RuntimeError:
            return matrix

    matrices = torch.stack([torch.eye(3), -torch.eye(3)])
    assert torch.equal(stacked.over_trials(factor)(matrices[:1]), matrices[:1])
    with pytest.raises(RuntimeError, match="in the pass of all trials, of one maybe, and the model went on"):
        stacked.over_trials(factor)(matrices)


def test_a_linear_layer_makes_no_batching_rule_at_each_call(monkeypatch) -> None:
    """Which takes torch longer than all else that Python does for a layer."""

    def made(*_: object) -> None:
        raise AssertionError("a batching rule is made")

    monkeypatch.setattr("torch._functorch.autograd_function.vmapify_autograd_function", made)
    x, w = torch.randn(5, 4), torch.randn(3, 2, 4, requires_grad=True)
    stacked.over_trials(lambda w: nn.functional.linear(x, w))(w).sum().backward()
    assert w.grad is not None
    assert torch.allclose(w.grad, x.sum(0).expand(3, 2, 4))

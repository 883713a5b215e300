"""Why a model is not fused is one sentence: file and line of the user's, what is there, and what would be fused."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn
from torch.func import vmap

from thalweg.runner.engine.forms import made_for
from thalweg.runner.engine.hindrance import hindrance
from thalweg.runner.engine.stacked import over_trials


class Aliased(torch.autograd.Function):
    """An old function."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad


alias = Aliased.apply
WHAT = {
    "a number": (lambda w: w * (2.0 if w.sum().item() > 0 else 1.0), r"torch\.where"),
    "a branch": (lambda w: w if w.sum() > 0 else -w, r"torch\.where"),
    "a mask": (lambda w: w[w > 0].sum(), r"torch\.where\(mask, a, b\)"),
    "nonzero": (lambda w: w.nonzero().sum() * w.sum(), r"torch\.where\(mask, a, b\)"),
    "written": (lambda w: torch.zeros(4).copy_(w), r"x\.new_zeros"),
    "added": (lambda w: torch.zeros(4).add_(w), r"x\.new_zeros"),
    "numpy": (lambda w: torch.from_numpy(w.detach().numpy()) * w, r"torch's own functions|torch's own"),
    "an alias of an old function": (alias, "setup_context"),
}


@pytest.mark.parametrize("name", WHAT)
def test_it_says_where_what_and_what_would_be_fused(name: str) -> None:
    model, would = WHAT[name]
    with pytest.raises(Exception) as raised:
        over_trials(lambda w: model(w))(torch.randn(3, 4))
    said = hindrance(raised.value)
    assert re.match(r"vmap cannot take this model: tests/runner/engine/test_hindrance\.py, line \d+: ", said), said
    assert re.search(would, said), said
    assert "fused" in said
    assert "issue" not in said
    assert "\n" not in said
    assert len(said) < 300


def test_what_nobody_knows_is_quoted_without_what_torch_asks_to_be_done() -> None:
    said = hindrance(RuntimeError("flux is not supported. Please file an issue with your use-case.\nAnd more."))
    assert said == "vmap cannot take this model: flux is not supported"
    assert hindrance(AssertionError()) == "vmap cannot take this model: AssertionError"


def test_what_a_model_makes_is_each_trials_own_only_where_it_writes_into_it() -> None:
    def model(w: Tensor) -> Tensor:
        out = torch.zeros(2, 4)
        out[0] = w
        return out + torch.ones(4)

    w = torch.randn(3, 4)
    found = over_trials(model, writes=True)(w)
    assert torch.equal(found, torch.stack([model(each) for each in w]))
    assert made_for(3, 5) == 5


def test_functions_of_autograds_are_as_they_were_outside() -> None:
    before = torch.autograd.Function.__dict__["apply"]
    with pytest.raises(ZeroDivisionError):
        over_trials(lambda w: w / (1 // 0))(torch.randn(3))
    assert torch.autograd.Function.__dict__["apply"] is before


def test_a_function_with_a_rule_of_its_own_is_batched_by_it() -> None:
    class Ruled(torch.autograd.Function):
        @staticmethod
        def forward(x):
            return x * 2

        @staticmethod
        def setup_context(ctx, inputs, output):
            return None

        @staticmethod
        def backward(ctx, grad):
            return grad * 2

        @staticmethod
        def vmap(info, in_dims, x):
            ruled.append(info.batch_size)
            return x * 2, 0

    ruled: list[int] = []
    assert torch.equal(over_trials(Ruled.apply)(torch.ones(3)), torch.full((3,), 2.0))
    assert ruled == [3]
    assert nn.Linear(2, 2)(torch.ones(2)).shape == vmap(nn.Linear(2, 2))(torch.ones(1, 2))[0].shape

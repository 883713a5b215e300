"""Fifty-step trajectories of the optimizer classes against torch.optim and against the papers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference
import torch

from thalweg.optim import AdamL2, AdamW, Lion, SGDMomentum, WarmupCosine

STEPS = 50
SHAPES = [(5, 7), (3,), (), (2, 3, 4)]
# float64: both sides round in another order, a few ulp a step. float32: the same with 6e-8, and Adam's
# m/√v magnifies it where the gradient nearly cancels. bfloat16: 8 bits, and torch rounds after other operations.
TOLERANCE: dict[torch.dtype, dict[str, Any]] = {
    torch.float64: {"rtol": 1e-12, "atol": 1e-13},
    torch.float32: {"rtol": 2e-5, "atol": 2e-6},
    torch.bfloat16: {"rtol": 0.05, "atol": 0.02},
}
SAME = None
TORCH_ROWS = [  # ours, torch's, our arguments, torch's arguments
    (SGDMomentum, torch.optim.SGD, {"lr": 0.1}, SAME),
    (SGDMomentum, torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.1}, SAME),
    (SGDMomentum, torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}, SAME),
    (SGDMomentum, torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.02}, SAME),
    (SGDMomentum, torch.optim.SGD, {"momentum": 0.9, "weight_decay": 0.2, "nesterov": True}, SAME),
    (SGDMomentum, torch.optim.SGD, {"momentum": 0.9, "dampening": 0.4, "weight_decay": 0.1}, SAME),
    (SGDMomentum, torch.optim.SGD, {"lr": 0.1, "dampening": 0.4}, SAME),
    (SGDMomentum, torch.optim.SGD, {"momentum": 0.5, "weight_decay": 0.1, "maximize": True}, SAME),
    (SGDMomentum, torch.optim.SGD, {"weight_decay": 0.1, "decay": "coupled"}, {"weight_decay": 0.1}),
    (AdamW, torch.optim.AdamW, {}, SAME),
    (AdamW, torch.optim.AdamW, {"lr": 0.03, "weight_decay": 0.5}, SAME),
    (AdamW, torch.optim.AdamW, {"lr": 0.03, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0}, SAME),
    (AdamW, torch.optim.AdamW, {"betas": (0.0, 0.0)}, SAME),
    (AdamW, torch.optim.AdamW, {"weight_decay": 5e-4, "decay": "independent"}, {"weight_decay": 0.5}),
    (AdamW, torch.optim.AdamW, {"lr": 0.03, "amsgrad": True}, SAME),
    (AdamW, torch.optim.AdamW, {"lr": 0.03, "maximize": True}, SAME),
    (AdamL2, torch.optim.Adam, {}, SAME),
    (AdamL2, torch.optim.Adam, {"lr": 0.03, "weight_decay": 0.3, "amsgrad": True}, SAME),
    (AdamL2, torch.optim.Adam, {"lr": 0.03, "weight_decay": 0.3, "amsgrad": True, "maximize": True}, SAME),
    (AdamL2, torch.optim.Adam, {"lr": 0.03, "weight_decay": 0.3}, SAME),
    (AdamL2, torch.optim.Adam, {"betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 2.0}, SAME),
]


def weights(dtype):
    draw = torch.Generator().manual_seed(7)
    return [torch.nn.Parameter(torch.randn(s, generator=draw, dtype=torch.float64).to(dtype)) for s in SHAPES]


def descend(optimizer, params, scheduler=None):
    """Train on a noisy quadratic whose gradient depends on the weights; yield after each step."""
    draw = torch.Generator().manual_seed(11)
    for _ in range(STEPS):
        for p in params:
            noise = torch.randn(p.shape, generator=draw, dtype=torch.float64).to(p.dtype)
            p.grad = 0.3 * p.detach() + noise
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        yield [p.detach().clone() for p in params]


@pytest.mark.long
@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
@pytest.mark.parametrize(("ours", "theirs", "kwargs", "their_kwargs"), TORCH_ROWS)
def test_fifty_steps_equal_torch(ours, theirs, kwargs, their_kwargs, dtype):
    mine, other = weights(dtype), weights(dtype)
    path = descend(ours(mine, **kwargs), mine)
    wanted = descend(theirs(other, **(their_kwargs or kwargs)), other)
    for left, right in zip(path, wanted, strict=True):
        for a, b in zip(left, right, strict=True):
            torch.testing.assert_close(a, b, **TOLERANCE[dtype])


ADAM = {"lr": 0.03, "betas": (0.9, 0.99), "eps": 1e-6, "weight_decay": 0.2}
SGD = {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.05}
LION = {"lr": 0.01, "betas": (0.9, 0.97), "weight_decay": 0.2}
PAPER_ROWS: list[tuple[type, Callable[..., Any], dict[str, Any]]] = [
    (kind, paper, {**rates, "decay": decay, "decay_order": order})
    for kind, paper, rates in ((AdamW, reference.adam, ADAM), (Lion, reference.lion, LION))
    for decay in ("coupled", "independent")
    for order in ("before", "after")
] + [
    (SGDMomentum, reference.sgd, {**SGD, "nesterov": nesterov, "decay": decay, "decay_order": order})
    for nesterov in (False, True)
    for decay in ("l2", "coupled", "independent")
    for order in ("before", "after")
]
PAPER_ROWS.append((SGDMomentum, reference.sgd, {**SGD, "nesterov": False, "decay": "l2", "dampening": 0.3}))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(("ours", "paper", "kwargs"), PAPER_ROWS)
def test_scheduled_steps_equal_the_papers(ours, paper, kwargs, dtype):
    gradients = np.random.default_rng(3).normal(size=(STEPS, 4))
    start = np.array([1.0, -2.0, 0.5, 3.0])
    theta = torch.nn.Parameter(torch.tensor(start, dtype=dtype))
    optimizer = ours([theta], **kwargs)
    scheduler = WarmupCosine(optimizer, STEPS, 10, floor=0.1)
    path = []
    for gradient in gradients:
        theta.grad = torch.tensor(gradient, dtype=dtype)
        optimizer.step()
        scheduler.step()
        path.append(theta.detach().clone())
    etas = [reference.warmup_cosine(t, STEPS, 10, 0.1) for t in range(STEPS)]
    wanted = [paper(w, gradients[:, i].tolist(), etas, **kwargs) for i, w in enumerate(start.tolist())]
    torch.testing.assert_close(
        torch.stack(path), torch.tensor(wanted, dtype=torch.float64).T.to(dtype), **TOLERANCE[dtype]
    )


@pytest.mark.parametrize("ours", [SGDMomentum, AdamW, AdamL2])
def test_torch_schedulers_drive_our_rate(ours):
    theirs = {SGDMomentum: torch.optim.SGD, AdamW: torch.optim.AdamW, AdamL2: torch.optim.Adam}[ours]
    mine, other = weights(torch.float64), weights(torch.float64)
    paths = []
    for kind, params in ((ours, mine), (theirs, other)):
        optimizer = kind(params, lr=0.03, weight_decay=0.3)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=STEPS)
        paths.append(list(descend(optimizer, params, scheduler))[-1])
    for a, b in zip(*paths, strict=True):
        torch.testing.assert_close(a, b, **TOLERANCE[torch.float64])

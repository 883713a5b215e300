"""Passes of a user's module by plain autograd, on the first examples. Knows not what they are compared with."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, NoReturn

import torch
from torch import Tensor

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.copying import Aside
from thalweg.runner.engine.examples import Batch
from thalweg.runner.engine.generators import seed_all
from thalweg.runner.engine.inputs import Feed
from thalweg.runner.engine.lone import Lone
from thalweg.runner.engine.streams import stream_key
from thalweg.runner.engine.watch import Watch

if TYPE_CHECKING:
    from thalweg.runner.engine.workload import Workload

SHIFT = 0.05
"""By how much of their size weights are moved between two passes. (An optimizer's first step may be nothing.)"""
EVALUATED = 0
"""What generators are seeded with for evaluation here."""


def feed_of(workload: Workload, step: int) -> Feed:
    """The examples of a step in their order, with the random numbers of the first trial's seed."""
    train = workload.splits["train"]
    first, size = step * workload.batch_size, min(workload.batch_size, train.rows)
    batch = train.take(torch.arange(first, first + size, device=train.home) % train.rows)
    return Feed(batch, {}, None, torch.tensor(step), stream_key(workload.config.seed, "forward", step))


def plain_pass(workload: Workload, lone: Lone, feed: Feed) -> tuple[Tensor, dict[str, Tensor | None]]:
    """Loss and gradients as a script would take them: which may set the mode for each pass, or once for all, and clear
    the gradients of the pass before, or clear them only now."""
    assert feed.key is not None
    lone.module.train()
    seed_all(feed.key)
    with lone.at_home(), torch.enable_grad():
        before = {name: parameter.grad for name, parameter in lone.parameters.items()}
        loss = workload.loss_of(lone.module, feed.batch)
        if any(before[name] is not parameter.grad for name, parameter in lone.parameters.items()):
            refuse_gradients(workload.config.model.name, "adds to")
        for parameter in lone.parameters.values():
            parameter.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
    grads = {name: parameter.grad for name, parameter in lone.parameters.items()}
    return loss.detach(), {
        n: grad.to_dense() if grad is not None and grad.is_sparse else grad for n, grad in grads.items()
    }


@torch.no_grad()
def outputs_of(
    workload: Workload,
    lone: Lone,
    apart: Aside | None = None,
    *,
    watch: Watch | None = None,
    of: Batch | None = None,
) -> Tensor:
    """What the module makes of the first examples in evaluation, or of others."""
    batch = feed_of(workload, 0).batch if of is None else of
    with lone.measured(apart) as module, watch.watching(EVALUATED, module) if watch else nullcontext():
        seed_all(EVALUATED)
        return workload.answers(module, batch)[0]


@torch.no_grad()
def moved(lone: Lone) -> dict[str, Tensor]:
    """Move a module's weights, in place as an optimizer does, and not in proportion; return by how much."""
    generator, moves = torch.Generator().manual_seed(0), {}
    for name, parameter in lone.parameters.items():
        size = float(parameter.square().mean().sqrt().nan_to_num()) if parameter.numel() else 0.0
        noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype).to(parameter.device)
        moves[name] = noise * (SHIFT * (size or 0.1))
        parameter.add_(moves[name])
    return moves


def refuse_gradients(name: str, does: str) -> NoReturn:
    said = f"{name} {does} gradients in its forward pass, before which some scripts clear them, and others after it"
    raise ConfigError(said, "keep what it needs of them in attributes or buffers, or add to the loss instead")

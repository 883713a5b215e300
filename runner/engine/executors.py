"""Two ways to execute the same step: `loop`, one trial after another, and `vmap`, all of a cohort at once.

Both take a State and a Block and leave the State advanced in place. A lane's bits depend on which of the two
executed it and on the batch layout, and on nothing else: not on K, its place, or its neighbours. Known exceptions,
measured, vmap only: a layer of one single unit rounds otherwise in a cohort of one trial; torch's sigmoid, GELU, SiLU
and softplus round the last few numbers of an array otherwise than the rest; the gradient of a BatchNorm's bias is
summed in an order that depends on K.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import vmap

from runner.engine.state import State
from runner.engine.step import Gradient, train_step
from runner.engine.workload import Workload


@dataclass(frozen=True)
class Block:
    """The inputs of T consecutive steps.

    rows: batch row numbers, int64 `[T, B]` when all lanes share them, else `[T, K, B]`, where the data lies;
    coefficients: name -> `[T, K, 1]`; label_smoothing `[K]`, None where no lane smooths (a lane that does not has
    the same loss to the bit beside one that does: one times it, plus nothing); draws: uniform numbers of a batch's
    augmentation, float32 `[T, B, D]` or `[T, K, B, D]`. Tensors on the device, so that no step has to ask the host
    for anything.
    """

    rows: Tensor
    coefficients: dict[str, Tensor]
    label_smoothing: Tensor | None = None
    draws: Tensor | None = None

    @property
    def steps(self) -> int:
        """T."""
        return self.rows.shape[0]

    @property
    def shared(self) -> bool:
        """Whether all lanes see the same batches."""
        return self.rows.dim() == 2

    def lane(self, k: int) -> Block:
        """The inputs of lane k alone."""
        rows = self.rows if self.shared else self.rows[:, k]
        smoothing, draws = self.label_smoothing, self.draws
        return Block(
            rows=rows,
            coefficients={name: c[:, k : k + 1] for name, c in self.coefficients.items()},
            label_smoothing=None if smoothing is None else smoothing[k : k + 1],
            draws=draws if self.shared or draws is None else draws[:, k],
        )


Executor = Callable[[Workload, State, Block], Tensor]
"""(workload, state, block) -> batch losses `[T, K]`; the state is advanced by T steps in place."""


def run_vmap(workload: Workload, state: State, block: Block) -> Tensor:
    """Advance all lanes together: one batched gradient a step."""
    return _run(workload, vmap_gradient(workload, block.shared, block.label_smoothing), state, block)


def run_loop(workload: Workload, state: State, block: Block) -> Tensor:
    """Advance one lane through the whole block, then the next. The oracle that the others are held against."""
    losses = []
    for k in range(state.lanes):
        lane, own = state.lane(k), block.lane(k)
        losses.append(_run(workload, solo_gradient(workload, own.label_smoothing), lane, own))
    state.step += block.steps
    return torch.cat(losses, dim=1)


EXECUTORS: dict[str, Executor] = {"loop": run_loop, "vmap": run_vmap}


def vmap_gradient(workload: Workload, shared: bool, label_smoothing_K: Tensor | None = None) -> Gradient:
    """The gradient of K trials at once: x, y are `[B, …]` for all lanes if shared, else `[K, B, …]`.

    Only the forward pass is batched by vmap; autograd then differentiates the sum of the lanes' losses, which
    keeps lanes apart as well. Against vmap(grad) a step takes a third less, and the first one not 3 s for
    importing torch's compiler.
    """
    batched = None if shared else 0
    smoothed = None if label_smoothing_K is None else 0
    losses = vmap(workload.loss, in_dims=(0, 0, batched, smoothed))

    def gradient(state: State, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        leaves = _leaves(workload.layout.views(state.theta))
        loss_K, buffers = losses(leaves, state.buffers, (x, y), label_smoothing_K)
        grads = _gradients(loss_K.sum(), leaves)
        return loss_K.detach(), workload.layout.flatten(grads), {n: b.detach() for n, b in buffers.items()}

    return gradient


def solo_gradient(workload: Workload, label_smoothing_1: Tensor | None = None) -> Gradient:
    """The gradient of a single trial (K = 1) by ordinary autograd; vmap at K = 1 would be four times slower."""

    smoothing = None if label_smoothing_1 is None else label_smoothing_1[0]

    def gradient(state: State, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        leaves = _leaves({n: v[0] for n, v in workload.layout.views(state.theta).items()})
        loss, buffers = workload.loss(leaves, {n: b[0] for n, b in state.buffers.items()}, (x, y), smoothing)
        grads = {n: grad[None] for n, grad in _gradients(loss, leaves).items()}
        return loss.detach()[None], workload.layout.flatten(grads), {n: b.detach()[None] for n, b in buffers.items()}

    return gradient


def _leaves(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: weight.detach().requires_grad_() for name, weight in weights.items()}


def _gradients(loss: Tensor, leaves: dict[str, Tensor]) -> dict[str, Tensor]:
    """The gradient with respect to each leaf; zero for one that the loss does not use."""
    grads = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
    return dict(zip(leaves, grads, strict=True))


def _run(workload: Workload, gradient: Gradient, state: State, block: Block) -> Tensor:
    train = workload.splits["train"]
    losses = []
    columns = [(name, values.unbind(0)) for name, values in block.coefficients.items()]
    for t, rows in enumerate(block.rows.unbind(0)):
        c = {name: values[t] for name, values in columns}
        batch = train.take(rows)
        if workload.augment is not None and block.draws is not None:
            batch = workload.augment(*batch, block.draws[t])
        loss_K = train_step(workload.rule, gradient, state, batch, c)
        if state.step == 1:
            state.limit.copy_(workload.loss_factor * loss_K.clamp(min=1))
        losses.append(loss_K)
    return torch.stack(losses)

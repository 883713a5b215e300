"""Two ways to execute the same step: `loop`, one trial after another, and `vmap`, all of a cohort at once.

Both take a State and a Block and leave the State advanced in place. A lane's bits depend on which of the two
executed it and on the batch layout, and on nothing else: not on K, its place, or its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from runner.engine.state import State
from runner.engine.step import Gradient, train_step
from runner.engine.workload import Examples, Workload


@dataclass(frozen=True)
class Block:
    """The inputs of T consecutive steps.

    rows: batch row numbers, int64 `[T, B]` when all lanes share them, else `[T, K, B]`; coefficients: name ->
    `[T, K, 1]`. Tensors on the device, so that no step has to ask the host for anything.
    """

    rows: Tensor
    coefficients: dict[str, Tensor]

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
        return Block(rows, {name: c[:, k : k + 1] for name, c in self.coefficients.items()})


Executor = Callable[[Workload, State, Block], Tensor]
"""(workload, state, block) -> batch losses `[T, K]`; the state is advanced by T steps in place."""


def run_vmap(workload: Workload, state: State, block: Block) -> Tensor:
    """Advance all lanes together: one batched gradient a step."""
    return _run(workload, vmap_gradient(workload, shared=block.shared), state, block)


def run_loop(workload: Workload, state: State, block: Block) -> Tensor:
    """Advance one lane through the whole block, then the next. The oracle that the others are held against."""
    losses = []
    for k in range(state.lanes):
        lane = state.lane(k)
        losses.append(_run(workload, solo_gradient(workload), lane, block.lane(k)))
    state.step += block.steps
    return torch.cat(losses, dim=1)


EXECUTORS: dict[str, Executor] = {"loop": run_loop, "vmap": run_vmap}


def vmap_gradient(workload: Workload, shared: bool) -> Gradient:
    """The gradient of K trials at once: x, y are `[B, …]` for all lanes if shared, else `[K, B, …]`."""
    batched = 0 if not shared else None
    of_all = vmap(grad_and_value(workload.loss, has_aux=True), in_dims=(0, 0, batched, batched))

    def gradient(state: State, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        grads, (loss_K, buffers) = of_all(workload.layout.views(state.theta), state.buffers, x, y)
        return loss_K, workload.layout.flatten(grads), buffers

    return gradient


def solo_gradient(workload: Workload) -> Gradient:
    """The gradient of a single trial (K = 1) by ordinary autograd; vmap at K = 1 would be four times slower."""

    def gradient(state: State, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        leaves = {n: v[0].detach().requires_grad_() for n, v in workload.layout.views(state.theta).items()}
        loss, buffers = workload.loss(leaves, {n: b[0] for n, b in state.buffers.items()}, x, y)
        grads = torch.autograd.grad(loss, list(leaves.values()))
        grad_1P = torch.cat([grad.flatten() for grad in grads])[None]
        return loss.detach()[None], grad_1P, {n: b.detach()[None] for n, b in buffers.items()}

    return gradient


def _run(workload: Workload, gradient: Gradient, state: State, block: Block) -> Tensor:
    train: Examples = workload.splits["train"]
    losses = []
    columns = [(name, values.unbind(0)) for name, values in block.coefficients.items()]
    for t, rows in enumerate(block.rows.unbind(0)):
        c = {name: values[t] for name, values in columns}
        loss_K = train_step(workload.rule, gradient, state, (train.x[rows], train.y[rows]), c)
        if state.step == 1:
            state.limit.copy_(workload.loss_factor * loss_K.clamp(min=1))
        losses.append(loss_K)
    return torch.stack(losses)

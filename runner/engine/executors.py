"""The ways to execute the same step. All take a State and a Block and leave the State advanced in place.

    loop      one trial after another, a user's model as a module of its own: any model, and what the others must equal
    vmap      all lanes at once, eagerly
    traced    as vmap, the gradient recorded once as a flat list of operations: the same kernels, without the detour
    compiled  gradient and update as one program of torch.compile
    graphed   as vmap, the whole step, its inputs too, replayed as one CUDA graph
    graphed_compiled  as graphed, update and guard compiled to one kernel

A lane's bits depend on which of them executed it and on the batch layout, and not on K, its place, or its
neighbours, given the spare lanes of seating.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from thalweg.runner.engine.accumulate import accumulated, parts_of
from thalweg.runner.engine.gradient import own_gradient, solo_gradient, vmap_gradient
from thalweg.runner.engine.inputs import Block
from thalweg.runner.engine.programs import compiled_step, graphed_steps, recorded
from thalweg.runner.engine.state import State
from thalweg.runner.engine.step import Gradient, train_step
from thalweg.runner.engine.workload import Workload

Executor = Callable[[Workload, State, Block], Tensor]
"""(workload, state, block) -> batch losses `[T, K]`, or where S numbers are told `[T, K·(1+S)]`, a lane's side by side.

The state is advanced by T steps in place."""


def run_loop(workload: Workload, state: State, block: Block) -> Tensor:
    """Advance one lane through the whole block, then the next."""
    run = _run_own if state.modules else _run_solo
    losses = [run(workload, state.lane(k), block.lane(k)) for k in range(state.lanes)]
    state.step += block.steps
    return torch.cat(losses, dim=1)


def _run_solo(workload: Workload, state: State, block: Block) -> Tensor:
    return _run(workload, lambda: solo_gradient(workload), state, block, recording="loop")


def _run_own(workload: Workload, state: State, block: Block) -> Tensor:
    """The losses of a lane that has a module. Where it has died it goes no further: NaN, which nobody reads."""
    gradient = own_gradient(workload, workload.parts)
    asking = state.theta.device.type == "cpu"
    told = 1 + len(workload.recipe.told)
    losses = torch.full((block.steps, told), math.nan, dtype=state.theta.dtype, device=state.theta.device)
    (lone,) = state.modules
    with lone.at_home(), lone.in_place(state.theta) as theta:
        state = replace(state, theta=theta)
        for t, feed in enumerate(block.feeds(workload)):
            losses[t] = train_step(workload.recipe, gradient, state, feed, asking=asking)
            if not state.alive:
                break
    return losses


def run_vmap(workload: Workload, state: State, block: Block) -> Tensor:
    """Advance all lanes together: one batched gradient a step."""
    return _run(workload, lambda: vmap_gradient(workload, block.shared), state, block)


def run_traced(workload: Workload, state: State, block: Block) -> Tensor:
    """Advance all lanes together by a recorded gradient."""
    return _run(workload, lambda: vmap_gradient(workload, block.shared), state, block, recording="traced")


def run_compiled(workload: Workload, state: State, block: Block) -> Tensor:
    """Advance all lanes together by one compiled program."""
    return torch.stack([compiled_step(workload, block.shared, state, feed) for feed in block.feeds(workload)])


def run_graphed(workload: Workload, state: State, block: Block) -> Tensor:
    """Advance all lanes together by replaying a CUDA graph."""
    return _run_graph(workload, state, block, "graphed")


def run_graphed_compiled(workload: Workload, state: State, block: Block) -> Tensor:
    """Advance all lanes together by replaying a CUDA graph whose update is one compiled kernel."""
    return _run_graph(workload, state, block, "graphed_compiled")


def _run_graph(workload: Workload, state: State, block: Block, executor: str) -> Tensor:
    losses_TK = graphed_steps(workload, state, block, executor)(state, block)
    state.step += block.steps
    return losses_TK


EXECUTORS: dict[str, Executor] = {
    "loop": run_loop,
    "vmap": run_vmap,
    "traced": run_traced,
    "compiled": run_compiled,
    "graphed": run_graphed,
    "graphed_compiled": run_graphed_compiled,
}


def _run(
    workload: Workload, gradient: Callable[[], Gradient], state: State, block: Block, recording: str | None = None
) -> Tensor:
    """Take the steps of a block. recording: the name under which the gradient is recorded, if it is."""
    asking, chosen, losses = state.theta.device.type == "cpu", None, []
    for feed in block.feeds(workload):
        if chosen is None:
            first = next(parts_of(feed, workload.parts, block.shared))
            part = recorded(workload, recording, gradient, state, first) if recording else gradient()
            chosen = accumulated(part, workload.parts, block.shared)
        losses.append(train_step(workload.recipe, chosen, state, feed, asking=asking))
    return torch.stack(losses)

"""Steps that find their inputs by themselves: in tables, at the place that a counter on the device says.

What a CUDA graph must be that is one launch a step: each run of it is the next step of a block. Its tables, its weights
and its losses stay where they are in memory; a block and a state are copied in, and the state out again. Nothing here
is about CUDA: called as it is, a tabled step does what a graph of it does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from thalweg.runner.engine.accumulate import accumulated
from thalweg.runner.engine.gradient import vmap_gradient
from thalweg.runner.engine.inputs import Block, Feed
from thalweg.runner.engine.state import State
from thalweg.runner.engine.step import Update, train_step
from thalweg.runner.engine.workload import Workload

LONGEST = 50
"""Steps that the tables have room for: those between two read-outs. A longer block is taken in parts."""
ALIGNED = 4
"""Numbers after which the next coefficient may begin, so that a compiled program, which wants 16 bytes, copies none."""


class TabledSteps:
    """K trials' steps of blocks that are made like `block`, from the place of the counter on.

    rows, draws: of each step's batch, `[LONGEST, …]`; numbers: its coefficients, `[LONGEST, C, K, 1]`; losses_TK: what
    came out; at: the place in the tables, and the number of the step. Data that lies on the host has no table: its
    batches are put into `batch`, a step at a time. update: what stands in for the eager update, if anything does.
    """

    def __init__(self, workload: Workload, state: State, block: Block) -> None:
        device, train = workload.device, workload.splits["train"]
        self.workload, self.shared, self.names = workload, block.shared, list(block.coefficients)
        own = state.keep(torch.arange(state.lanes, device=device))
        self.state = replace(own, fixed={name: each.clone() for name, each in own.fixed.items()})
        self.resident = train.home == device and not train.in_files
        self.rows = _table(block.rows)
        self.draws = None if block.draws is None else _table(block.draws)
        self.batch = None if self.resident else train.take(block.rows[0])
        self.update: Update | None = None
        room = state.lanes + -state.lanes % ALIGNED
        self.numbers = torch.empty(LONGEST, len(self.names), room, 1, dtype=workload.dtype, device=device)
        self.smoothing = None if block.label_smoothing is None else block.label_smoothing.clone()
        told = state.lanes * (1 + len(workload.recipe.told))
        self.losses_TK = torch.zeros(LONGEST, told, dtype=workload.dtype, device=device)
        self.places_T1 = torch.arange(LONGEST, device=device)[:, None]
        self.at = torch.zeros(2, dtype=torch.int64, device=device)
        self.forget()
        self.load(_parts(block)[0])

    def forget(self) -> None:
        """Let the next step make anew whatever a gradient keeps between steps."""
        gradient = vmap_gradient(self.workload, self.shared)
        self.gradient = accumulated(gradient, self.workload.parts, self.shared)

    def load(self, block: Block) -> None:
        """Take over the inputs of at most LONGEST steps; the counter is at the first of them."""
        self.rows[: block.steps].copy_(block.rows)
        if self.draws is not None and block.draws is not None:
            self.draws[: block.steps].copy_(block.draws)
        if self.smoothing is not None and block.label_smoothing is not None:
            self.smoothing.copy_(block.label_smoothing)
        if self.names:
            columns = [block.coefficients[name] for name in self.names]
            torch.stack(columns, dim=1, out=self.numbers[: block.steps, :, : self.state.lanes])
        self.at[:1].zero_()
        self.at[1:].fill_(block.start)
        self.coming = self.workload.splits["train"].batches(block.rows.unbind(0))

    def place(self) -> None:
        """Put the examples of the next step where it finds them, if they lie on the host."""
        if self.batch is not None:
            for held, each in zip(tree_leaves(self.batch), tree_leaves(next(self.coming)), strict=True):
                held.copy_(each, non_blocking=True)

    def advance(self, state: State, block: Block, take: Callable[[], None]) -> Tensor:
        """Advance a state by a block, each step taken by `take`, which does what `self.take` does; its losses."""
        losses = []
        _copy(state.inputs(), self.state.inputs())
        for part in _parts(block):
            self.load(part)
            for t in range(part.steps):
                self.place()
                if part.start + t == 0:
                    self.take(first=True)
                else:
                    take()
            losses.append(self.losses_TK[: part.steps].clone())
        _copy(self.state.tensors(), state.tensors())
        return losses[0] if len(losses) == 1 else torch.cat(losses)

    def take(self, first: bool = False) -> None:
        """Take the next step. The first of all also sets the limits, and is none that is repeated."""
        self.state.step = 0 if first else 1
        loss_K = train_step(
            self.workload.recipe, self.gradient, self.state, self.feed(), asking=False, update=self.update
        )
        torch.where(self.places_T1 == self.at[:1], loss_K, self.losses_TK, out=self.losses_TK)
        self.at.add_(1)

    def feed(self) -> Feed:
        """What the step at the counter's place is fed."""
        here = self.at[:1]
        batch = self.batch
        if batch is None:
            batch = self.workload.splits["train"].take(self.rows.index_select(0, here)[0])
        if self.workload.augment is not None and self.draws is not None:
            batch = self.workload.augment(*batch, self.draws.index_select(0, here)[0])
        numbers = self.numbers.index_select(0, here)[0, :, : self.state.lanes].unbind(0)
        coefficients = dict(zip(self.names, numbers, strict=True))
        return Feed(batch, coefficients, self.smoothing, self.at[1], None)


def _parts(block: Block) -> list[Block]:
    """A block in parts that fit the tables."""
    return [_part(block, start, start + LONGEST) for start in range(0, block.steps, LONGEST)]


def _part(block: Block, start: int, stop: int) -> Block:
    return replace(
        block,
        rows=block.rows[start:stop],
        draws=None if block.draws is None else block.draws[start:stop],
        coefficients={name: values[start:stop] for name, values in block.coefficients.items()},
        start=block.start + start,
    )


def _copy(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    """Write a state's numbers into another's tensors."""
    for name, tensor in target.items():
        tensor.copy_(source[name])


def _table(first: Tensor) -> Tensor:
    return first.new_zeros(LONGEST, *first.shape[1:])

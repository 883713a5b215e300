"""What a task measures of K trials on a split. Each time it is measured alike, so its cadence changes no trial."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from operator import add

import torch
from torch import Tensor

from thalweg.runner.engine.examples import Batch, Examples
from thalweg.runner.engine.generators import seed_all, seed_torch
from thalweg.runner.engine.stacked import over_trials
from thalweg.runner.engine.state import State
from thalweg.runner.engine.streams import stream_key
from thalweg.runner.engine.task import Own, Task
from thalweg.runner.engine.workload import Answers, Workload

CHUNK, NUMBERS = 512, 2**18
"""Outputs of a trial evaluated at once, a text's row having one at each place; and numbers that go in for them, which
is less for images: an activation of ResNet-18 is 20 times its image. Constants, since another chunking may round
differently."""
TOGETHER, BATCHES = 256, 2
"""On a GPU, whose kernels want work, few lanes take more rows: up to those of so many lanes, and of so many batches,
which take less memory than a step's one, of which everything is kept. Their last bits then depend on their company."""
STREAM = "evaluate"


@torch.no_grad()
def evaluate(
    workload: Workload, state: State, split: str, executor: str, *, seeds: Sequence[int] = ()
) -> dict[str, Tensor]:
    """Return the task's metrics over all rows of a split, name -> `[K]` in float64, on the host.

    seeds: the lanes', for models that draw random numbers. Each time they are given the same ones.
    """
    if state.modules:
        own = [_sums_of_own(workload, state, k, split, seeds[k]) for k in range(state.lanes)]
        return workload.task.finish(torch.cat(own))
    if seeds and workload.seeded:
        seed_torch(stream_key(seeds[0], STREAM))
    with evaluating(workload):
        totals = _sums(workload, split, state.lanes, lambda batch: forward_all(workload, state, batch, executor))
    return workload.task.finish(totals)


@contextmanager
def evaluating(workload: Workload) -> Iterator[None]:
    """The template in its evaluating mode."""
    workload.module.eval()
    try:
        yield
    finally:
        workload.module.train()


def _sums_of_own(workload: Workload, state: State, k: int, split: str, seed: int) -> Tensor:
    """Lane k's sums `[1, M]`, by its own module."""
    lane, lone = state.lane(k), state.modules[k]
    lone.sit(workload.layout, lane.theta, lane.buffers)
    seed_all(stream_key(seed, STREAM))
    with lone.measured(workload.habits.apart) as module:
        return _sums(workload, split, 1, lambda batch: stacked([workload.answers(module, batch)]))


def _sums(workload: Workload, split: str, lanes: int, answers: Callable[[Batch], Answers]) -> Tensor:
    """The task's sums over a split, on the host: on a GPU nobody waits before the last chunk is under way."""
    examples = workload.splits[split]
    rows = rows_at_once(examples)
    if workload.device.type == "cuda":
        rows = max(rows, min(TOGETHER // lanes * rows, BATCHES * workload.batch_size))
    parts = (_summands(workload.task, answers(batch), batch[1]) for batch in examples.chunks(rows))
    return reduce(add, parts).cpu()


def _summands(task: Task, answers: Answers, y: Tensor) -> Tensor:
    outputs, of_all = answers
    return task.sums(outputs, y, of_all) if isinstance(task, Own) else task.sums(outputs, y)


def rows_at_once(examples: Examples) -> int:
    """How many rows of these examples are evaluated at once, at least."""
    places = math.prod(examples.y.shape[1:])
    return max(1, min(CHUNK // places, NUMBERS // examples.numbers))


def forward_all(workload: Workload, state: State, batch: Batch, executor: str) -> Answers:
    """Return every lane's answers for the same rows: outputs `[K, B, …]`, and `[K]` of each of their own functions."""

    def forward(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Answers:
        return workload.forward(parameters, buffers, batch)

    views = state.parameters(workload.layout)
    if executor != "loop":
        habits = workload.habits
        of_trials = over_trials(forward, writes=habits.writes, as_compiled=habits.as_compiled)
        answers: Answers = of_trials(views, state.buffers)
        return answers
    return stacked(
        [
            forward({n: v[k] for n, v in views.items()}, {n: b[k] for n, b in state.buffers.items()})
            for k in range(state.lanes)
        ]
    )


def stacked(answers: Sequence[Answers]) -> Answers:
    """Trials' answers side by side."""
    of_all = zip(*(each for _, each in answers), strict=True)
    return torch.stack([outputs for outputs, _ in answers]), tuple(torch.stack(each) for each in of_all)

"""Trials of a group as an executor trains them, timed: what a choice among executors rests on. It chooses nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from thalweg.runner.engine.accumulate import accumulated
from thalweg.runner.engine.evaluate import evaluate, rows_at_once
from thalweg.runner.engine.executors import EXECUTORS
from thalweg.runner.engine.inputs import Feed, Inputs
from thalweg.runner.engine.likeness import few
from thalweg.runner.engine.seating import recorded_pair, seats
from thalweg.runner.engine.state import AVERAGE, State
from thalweg.runner.engine.step import train_step
from thalweg.runner.engine.timing import seconds_of
from thalweg.runner.engine.workload import Workload
from thalweg.runner.facts.choice import Layout, pieces
from thalweg.runner.study.trial import Trial

FORWARD = 1 / 3
"""Share of a step that its forward pass takes, about."""


@dataclass(frozen=True)
class Question:
    """What to choose for: a sample of a group's trials in their batch layout (one seed if it is "shared").

    requested: "auto" measures, an executor is taken at its word. width limits the probes if given: what did not fit
    before. trials: how many the group has in all; workers: how many processes share them;
    sharing: how many of these share this one's device and its memory; evaluations: how often a trial is measured.
    seeds: of all trials; idle: how many of the processes have nothing to do but these trials.
    """

    sample: tuple[Trial, ...]
    layout: Layout
    requested: str
    width: int | None = None
    trials: int = 0
    workers: int = 1
    sharing: int = 1
    evaluations: int = 1
    seeds: int = 1
    idle: int = 1

    @property
    def size(self) -> int:
        """How many trials the group has."""
        return max(self.trials, len(self.sample))

    @property
    def steps(self) -> int:
        """Of each trial."""
        return self.sample[0].config.budget.steps

    @property
    def trial_steps(self) -> int:
        """Steps of all the group's trials together."""
        return self.size * self.steps

    @property
    def shared_by(self) -> int:
        """How many processes there is work for."""
        return max(1, min(self.workers, self.size))

    def busy(self, width: int) -> int:
        """How many of the idle processes cohorts of that width keep at work."""
        pools = self.seeds if self.layout == "shared" else 1
        wanted = math.ceil(2 * self.workers / pools)
        return min(self.idle, pools * pieces(math.ceil(self.size / pools), width, wanted))


def pair_seconds(workload: Workload, trial: Trial) -> float | None:
    """Seconds of a step of two trials by the gradient that was recorded of two; None where it cannot be done again."""
    state = workload.start((trial, trial), "vmap")
    block = Inputs((trial, trial), "shared", workload).block(0, 1, np.arange(2))
    recording, feed = recorded_pair(workload), next(block.feeds(workload))

    def replayed(state: State, feed: Feed) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        gradient: tuple[Tensor, Tensor, dict[str, Tensor]]
        gradient = recording(state.theta, state.fixed, state.buffers, feed.batch)
        return gradient

    gradient, asking = accumulated(replayed, workload.parts, shared=True), workload.device.type == "cpu"
    run: Callable[[], object] = lambda: train_step(workload.recipe, gradient, state, feed, asking=asking)  # noqa: E731
    try:
        return min(seconds_of(workload.device, run) for _ in range(2))
    except RuntimeError:
        return None


class Runner:
    """So many trials of the sample in their seats, as an executor trains them: takes steps and measures, and times it.

    The first steps never count: they may import, record, and check what was recorded (0.6 of the loop's speed was said
    of what has 1.4). built: seconds until they sat. at_once: steps of a block, whose inputs are made, whose state is
    put into a graph's memory and taken out of it, and whose modules are given their weights together.
    """

    def __init__(self, workload: Workload, question: Question, executor: str, lanes: int, *, at_once: int = 1) -> None:
        self.workload, self.question, self.executor, self.lanes = workload, question, executor, lanes
        self.at_once = at_once
        self.seats = seats(workload, executor, lanes, 0)
        sample = question.sample
        self.lane_of = np.arange(self.seats) % min(lanes, len(sample))
        self.built = seconds_of(workload.device, self._sit)
        self.inputs = Inputs(sample, question.layout, workload)
        records = executor == "traced" or (executor == "loop" and not workload.foreign)
        self.untimed, self.taken, self.at, self.best = 2 if records else 1, 0, 0, math.inf
        self.row_seconds = 0.0

    def _sit(self) -> None:
        self.state = self.workload.start([self.question.sample[i] for i in self.lane_of], self.executor)

    def step(self) -> None:
        """Take a block of them, timed."""
        at = self.at if self.at < self.question.steps else 0
        self.at = stop = min(at + self.at_once, self.question.steps)
        took = seconds_of(self.workload.device, lambda: self._run(at, stop)) / (stop - at)
        self.best = took if self.taken <= self.untimed else min(self.best, took)
        self.taken += 1

    def _run(self, start: int, stop: int) -> None:
        block = self.inputs.block(start, stop, self.lane_of)
        EXECUTORS[self.executor](self.workload, self.state, block)

    def slots_after_the_second(self) -> Tensor:
        """The slots that the second step leaves of the initial weights, `[K, …]`: they hold its gradient.

        The first step is no witness: a graph does not take it.
        """
        at = min(1, self.question.steps - 1)
        self._run(at, at + 1)
        slots = (slot for name, slot in self.state.slots.items() if name != AVERAGE)
        return torch.cat([slot[: self.lanes] for slot in slots], dim=1)

    def measure(self, most: float) -> None:
        """Time an evaluation of as many rows as are evaluated at once; of fewer, where that might take too long."""
        val, size = self.workload.splits["val"], self.workload.batch_size
        affordable = most * size / (2 * FORWARD * self.best)
        rows = int(min(val.rows, rows_at_once(val), max(size, affordable)))
        some = few(self.workload, rows)
        seeds = [self.question.sample[i].config.seed for i in self.lane_of]
        run: Callable[[], object] = lambda: evaluate(some, self.state, "val", self.executor, seeds=seeds)  # noqa: E731
        self.row_seconds = min(seconds_of(self.workload.device, run) for _ in range(2)) / rows

    @property
    def step_seconds(self) -> float:
        """Of a step of one trial."""
        return self.best / self.lanes

    @property
    def evaluation(self) -> float:
        """Seconds of all measurements of one trial, 0 while none was timed."""
        sizes = {name: split.rows for name, split in self.workload.splits.items()}
        rows = sum(sizes.values()) + (self.question.evaluations + 1) * sizes["val"]
        return rows * self.row_seconds / self.lanes

    @property
    def total(self) -> float:
        """Seconds of one trial, whole; with what each process takes once for its recording."""
        once = self.question.shared_by * self.lanes / self.question.size if self.executor == "traced" else 0
        return (self.question.steps + 3 * min(1.0, once)) * self.step_seconds + self.evaluation

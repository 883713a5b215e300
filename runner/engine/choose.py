"""Which executor, batch layout and width a group of trials gets: measured, not hoped.

Fusing that is slower than a loop, or that changes the gradient, is never chosen; the reason is kept in words. What is
asked for by name is taken, unless it cannot be done here. Nothing fails for a model that cannot be fused. Finding out
takes a small share of what the loop would take for the whole work: where more would be needed, the loop it is.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from thalweg.runner.engine.evaluate import evaluate, rows_at_once
from thalweg.runner.engine.examine import TOLERANCE
from thalweg.runner.engine.executors import EXECUTORS
from thalweg.runner.engine.gradient import vmap_gradient
from thalweg.runner.engine.inputs import Inputs
from thalweg.runner.engine.likeness import distance, few, objection
from thalweg.runner.engine.memory import lanes_that_fit
from thalweg.runner.engine.recording import Recording
from thalweg.runner.engine.seating import NARROWEST, example, pair_inputs, recorded_pair, seats, spare_lanes
from thalweg.runner.engine.timing import now, seconds_of
from thalweg.runner.engine.workload import Workload
from thalweg.runner.facts.choice import LOOP_WIDTH, Bar, Choice, Layout
from thalweg.runner.study.trial import Trial

CPU_WIDTHS = (8, 16, 32, 64)
GPU_WIDTHS = (64, 256, 1024, 4096)
"""Widths to try. Convolutional networks fall out of a CPU core's cache after the first, perceptrons after the last."""
FREE, SHARE = 0.5, 0.025
"""What finding out may take: seconds, and a share of the loop's predicted time. The first fused cohort, which must show
its speed, may take as much again before it is given up."""
FEWEST = 40
"""Steps of all trials together below which not even one is taken to find out."""
ALIKE_STEPS = 20
"""Steps of one trial that comparing gradients takes."""
TIMED_STEPS = 9
"""Steps of a recording that timing it takes: it is made, checked, and three are timed."""
ROUNDS = 7
MARGIN = 0.95
"""Share of the loop's time that fusing must stay below, since no timing is exact."""
ALIKE = 1.05
"""Of widths that differ by no more than this in speed the narrowest is taken, for its memory."""
FORWARD = 1 / 3
"""Share of a step that its forward pass takes, about."""
COMPILE_SECONDS = 15.0
"""What compiling a step takes: 13 s for a first structure, more on a busy machine."""
PRODUCTS = ("mm", "convolution", "matmul")
"""Parts of the names of operations that compiling leaves to the same libraries."""
KEPT = 0.8
"""Share of the time outside matrix products that compiling was seen to save (perceptrons: 0.7 to 0.9)."""


@dataclass(frozen=True)
class Question:
    """What to choose for: a sample of a group's trials in their batch layout (one seed if it is "shared").

    requested: "auto" measures, an executor is taken at its word. width limits the probes if given: what did not fit
    before. trials: how many the group has in all; workers: how many processes share them;
    sharing: how many of these share this one's device and its memory; evaluations: how often a trial is measured.
    """

    sample: tuple[Trial, ...]
    layout: Layout
    requested: str
    width: int | None = None
    trials: int = 0
    workers: int = 1
    sharing: int = 1
    evaluations: int = 1

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


def choose(workload: Workload, question: Question) -> tuple[Choice, Bar | None]:
    """Choose executor, layout and width; and what fused steps must not exceed, where that was measured."""
    if workload.habits.draws and question.layout != "shared":  # one seed a cohort: masks never depend on company
        seed = question.sample[0].config.seed
        own = tuple(trial for trial in question.sample if trial.config.seed == seed)
        question = replace(question, sample=own, layout="shared")
    with workload.numerics(), workload.apart():
        contest = _Contest(workload, question)
        return contest.choice(), contest.bar


def narrower(device: torch.device, width: int | None) -> int | None:
    """The widest to try after a width did not fit, or after no width was given; None where none is left."""
    widths = GPU_WIDTHS if device.type == "cuda" else CPU_WIDTHS
    below = [each for each in widths if each < (width or widths[-1])]
    return max(below, default=(width or widths[-1]) // 2) or None


def compiler_found() -> bool:
    """Whether torch.compile can build for the CPU: it calls a C++ compiler."""
    return any(shutil.which(name) for name in ("c++", "g++", "clang++"))


class Looped(Exception):  # noqa: N818
    """Raised with the reason where a contest need go no further: the loop it is."""


class _Contest:
    """One choice in the making. `allowed`: seconds that it may take in all, known once the loop has taken a step."""

    def __init__(self, workload: Workload, question: Question) -> None:
        self.workload, self.question = workload, question
        widest = GPU_WIDTHS if workload.device.type == "cuda" else CPU_WIDTHS
        self.widths = [width for width in widest if width <= (question.width or widest[-1])] or [question.width or 1]
        self.width = self.widths[-1]
        self.bar: Bar | None = None
        self.allowed, self.work = FREE, f"{question.trial_steps} steps in all"
        self.began = now(workload.device)

    def choice(self) -> Choice:
        asked = self.question.requested
        if asked == "loop":
            return self._loop("asked for")
        if asked == "auto" and len(self.question.sample) == 1:
            return self._loop("a single trial" if self.question.trials <= 1 else "a single trial of each seed")
        if asked != "auto":
            said = objection(self.workload, self.question.sample, self.question.layout)
            return self._loop(said) if said else self._as_asked(asked)
        try:
            executor, reason = self._fastest()
        except Looped as looped:
            executor, reason = "loop", str(looped)
        return self._loop(reason) if executor == "loop" else self._choice(executor, self.width, reason)

    def _loop(self, reason: str) -> Choice:
        return self._choice("loop", LOOP_WIDTH, reason)

    def _choice(self, executor: str, width: int, reason: str) -> Choice:
        return Choice(executor, self.question.layout, width, reason)

    @property
    def lanes(self) -> int:
        """How many of the group's trials a cohort of that width would hold."""
        return min(self.width, self.question.size)

    def _as_asked(self, asked: str) -> Choice:
        """An executor asked for by name, or why it is another."""
        hindrance = _hindrance(self.workload, asked)
        executor, reason = ("traced", f"{asked} was asked for, but {hindrance}") if hindrance else (asked, "asked for")
        fitting = self._fitting()
        return self._choice(executor, max((w for w in self.widths if w <= fitting), default=max(1, fitting)), reason)

    def _fitting(self) -> int:
        """Trials that the memory has room for, beside the spare lanes that they need."""
        return lanes_that_fit(self.workload, self.question.sharing) - spare_lanes(self.workload)

    def _fastest(self) -> tuple[str, str]:
        """The fastest executor for the whole group, and why; or raise Looped."""
        if self.workload.habits.alone:
            raise Looped(f"the model {self.workload.habits.alone}")
        self._time_loop()
        self._afford((ALIKE_STEPS if self.workload.foreign else 8) * self.loop.step_seconds + 4 * self.loop.built)
        if said := objection(self.workload, self.question.sample, self.question.layout):
            raise Looped(said)
        traced = self._time_traced()
        faster = self.loop.total / traced.total
        if MARGIN * faster < 1:
            raise Looped(f"{traced.lanes} trials at once have only {faster:.1f}× its speed")
        gain = f"{traced.lanes} trials at once, {faster:.1f}× as fast as one by one"
        executor, reason = self._beyond_traced(traced, gain)
        beside = self.question.steps * self.loop.step_seconds + self.loop.evaluation - traced.evaluation
        self.bar = Bar(max(beside / self.question.steps, 0.0), FREE + SHARE * self._loop_seconds)
        return executor, reason

    @property
    def _loop_seconds(self) -> float:
        """What the loop would take for all of the group's trials, on the clock."""
        return self.question.size * self.loop.total / self.question.shared_by

    def _afford(self, seconds: float) -> None:
        """Raise Looped where so many seconds more would be too much for the work that there is."""
        if now(self.workload.device) - self.began + seconds > self.allowed:
            raise Looped(f"{self.work}: too little to find out whether fusing pays")

    def _time_loop(self) -> None:
        """Take a few steps in the loop, from which it is known how long the work is."""
        if self.question.trial_steps < FEWEST * self.question.shared_by:
            self._afford(math.inf)
        self.loop = _Runner(self.workload, self.question, "loop", 1)
        while self.loop.taken < self.loop.untimed + 2:
            self.loop.step()
            self._allow()
            self._afford(self.loop.step_seconds)
        self.loop.measure(self.allowed / 20)
        self._allow()

    def _allow(self) -> None:
        """Reckon again how long the work is, and what may be spent."""
        self.allowed = FREE + SHARE * self._loop_seconds
        self.work = f"about {self.question.size * self.loop.total:.1f} s of work"

    def _time_traced(self) -> _Runner:
        """`traced` at the fastest width that can be timed, beside the loop; it is the width from now on."""
        fitting = self._fitting()
        widths = [width for width in self.widths if width <= fitting] or [fitting]
        if widths[0] < NARROWEST:
            raise Looped("two trials fused do not fit the memory")
        timed: list[_Runner] = []
        pair = self._pair_seconds()
        for width in widths:
            lanes = min(width, self.question.size)
            try:
                timed.append(self._raced(lanes, pair, timed[-1] if timed else None))
            except Looped:
                if not timed:
                    raise
                break
            slower = len(timed) > 1 and timed[-1].total > ALIKE * timed[-2].total
            if slower or lanes == self.question.size:
                break
        best = min(each.total for each in timed)
        fastest = next(each for each in timed if each.total <= ALIKE * best)
        self.width = widths[timed.index(fastest)]
        return fastest

    def _raced(self, lanes: int, pair: float, before: _Runner | None) -> _Runner:
        """Steps of `traced` and of the loop by turns, so that whatever else goes on slows both."""
        runner_seats = seats(self.workload, "traced", lanes, 0)
        known = (pair, NARROWEST) if before is None else (before.best, before.seats)
        self._afford(TIMED_STEPS * known[0] * runner_seats / known[1])
        runner = _Runner(self.workload, self.question, "traced", lanes)
        began = now(self.workload.device)
        for rounds in range(runner.untimed + ROUNDS):
            runner.step()
            self.loop.step()
            long = now(self.workload.device) - began > self.allowed / 10
            if runner.taken > runner.untimed and long and rounds >= runner.untimed + 1:
                break
        runner.measure(self.allowed / 10)
        return runner

    def _pair_seconds(self) -> float:
        """Seconds of a recorded gradient of two trials."""
        recording, inputs = recorded_pair(self.workload), pair_inputs(self.workload)
        try:
            return min(seconds_of(self.workload.device, lambda: recording(*inputs)) for _ in range(2))
        except RuntimeError:  # an operation that cannot be called again
            return 2 * self.loop.step_seconds

    # beyond traced

    def _beyond_traced(self, traced: _Runner, gain: str) -> tuple[str, str]:
        if self.workload.device.type == "cuda":
            return self._graphed_or_traced(traced, gain)
        return self._compiled_or_traced(traced, gain)

    def _graphed_or_traced(self, traced: _Runner, gain: str) -> tuple[str, str]:
        if _hindrance(self.workload, "graphed"):
            return "traced", gain
        graphed = self._seconds("graphed")
        if graphed >= traced.step_seconds or not self._agrees("graphed"):
            return "traced", gain
        return "graphed", f"{self.lanes} trials at once, {self.loop.step_seconds / graphed:.1f}× as fast as one by one"

    def _compiled_or_traced(self, traced: _Runner, gain: str) -> tuple[str, str]:
        """Compile if what it can save is twice what it costs: each worker compiles, all of them share the saving.

        And if tracing has earned what is lost should it save nothing.
        """
        hindrance = _hindrance(self.workload, "compiled")
        if hindrance:
            return "traced", f"{gain}; not compiled: {hindrance}"
        steps, loop = self.question.trial_steps / self.question.workers, self.loop.step_seconds
        saved = KEPT * traced.step_seconds * steps
        if saved >= 2 * COMPILE_SECONDS:  # else it need not be measured
            saved *= _outside_products(self.workload, self.lanes)
        earned = ((1 + SHARE) * loop - traced.step_seconds) * steps
        lacking = max(2 * COMPILE_SECONDS / max(saved, 1e-9), COMPILE_SECONDS / max(earned, 1e-9))
        if lacking > 1:
            return "traced", gain
        if not self._agrees("compiled"):
            return "traced", f"{gain}; compiled it would not be the same training"
        compiled = self._seconds("compiled")
        if compiled >= traced.step_seconds:
            return "traced", f"{gain}; compiled it has {loop / compiled:.1f}×"
        gain = f"{self.lanes} trials at once, {loop / compiled:.1f}× as fast as one by one"
        return "compiled", f"{gain}, uncompiled {loop / traced.step_seconds:.1f}×"

    def _seconds(self, executor: str) -> float:
        """Seconds a trial-step of an executor at the chosen width."""
        runner = _Runner(self.workload, self.question, executor, self.lanes)
        for _ in range(runner.untimed + 3):
            runner.step()
        return runner.step_seconds

    def _agrees(self, executor: str) -> bool:
        """Whether a step leaves the slots that traced leaves: after the first they hold the gradient."""
        slots = []
        for name in ("traced", executor):
            runner = _Runner(self.workload, self.question, name, self.lanes)
            runner.step()
            slots.append(torch.cat([slot[: self.lanes] for slot in runner.state.slots.values()], dim=1))
        return distance(*slots) <= 2 * TOLERANCE[self.workload.precision]


class _Runner:
    """So many trials of the sample in their seats, as an executor trains them: takes steps and measures, and times it.

    The first steps never count: they may import, record, and check what was recorded (0.6 of the loop's speed was said
    of what has 1.4). built: seconds until they sat.
    """

    def __init__(self, workload: Workload, question: Question, executor: str, lanes: int) -> None:
        self.workload, self.question, self.executor, self.lanes = workload, question, executor, lanes
        self.seats = seats(workload, executor, lanes, 0)
        sample = question.sample
        self.lane_of = np.arange(self.seats) % min(lanes, len(sample))
        self.built = seconds_of(workload.device, self._sit)
        self.inputs = Inputs(sample, question.layout, workload)
        records = executor == "traced" or (executor == "loop" and not workload.foreign)
        self.untimed, self.taken, self.best = 2 if records else 1, 0, math.inf
        self.row_seconds = 0.0

    def _sit(self) -> None:
        self.state = self.workload.start([self.question.sample[i] for i in self.lane_of], self.executor)

    def step(self) -> None:
        """Take one, timed."""
        at = self.taken % self.question.steps
        block = self.inputs.block(at, at + 1, self.lane_of)
        run = EXECUTORS[self.executor]
        took = seconds_of(self.workload.device, lambda: run(self.workload, self.state, block))
        self.best = took if self.taken <= self.untimed else min(self.best, took)
        self.taken += 1

    def measure(self, most: float) -> None:
        """Time an evaluation of as many rows as are evaluated at once; of fewer, where that might take too long."""
        val, size = self.workload.splits["val"], self.workload.batch_size
        rows = min(val.rows, rows_at_once(val))
        if 2 * FORWARD * self.best * rows / size > most:
            rows = min(rows, size)
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


def _hindrance(workload: Workload, executor: str) -> str | None:
    """Why an executor cannot run here. Both compile or capture the whole step, seeds of random draws included."""
    if executor == "graphed" and workload.device.type != "cuda":
        return "CUDA graphs need a CUDA device"
    if executor in ("compiled", "graphed") and workload.habits.draws:
        return "the model draws random numbers in its forward pass"
    if executor == "compiled" and workload.device.type == "cpu" and not compiler_found():
        return "there is no C++ compiler"
    return None


def _outside_products(workload: Workload, lanes: int) -> float:
    """The share of a recorded gradient's time that is not matrix products and convolutions."""
    state, feed = example(workload, lanes)
    gradient = vmap_gradient(workload, shared=True)
    recording = Recording(lambda theta: gradient(replace(state, theta=theta), feed), [state.theta])
    recording(state.theta)
    spent = recording.timed(state.theta)
    products = sum(seconds for name, seconds in spent.items() if any(word in name for word in PRODUCTS))
    return 1 - products / max(sum(spent.values()), 1e-9)

"""Which executor, batch layout and width a group of trials gets: measured, not hoped.

Fusing that is slower than a loop, or that changes the gradient, is never chosen; the reason is kept in words. What is
asked for by name is taken, unless it cannot be done here. Nothing fails for a model that cannot be fused.
"""

from __future__ import annotations

import math
import shutil
import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from thalweg.runner.base.errors import first_line
from thalweg.runner.engine.evaluate import evaluate
from thalweg.runner.engine.examine import SHIFT, TOLERANCE
from thalweg.runner.engine.executors import EXECUTORS
from thalweg.runner.engine.gradient import own_gradient, solo_gradient, vmap_gradient
from thalweg.runner.engine.inputs import Block, Inputs
from thalweg.runner.engine.memory import lanes_that_fit
from thalweg.runner.engine.recording import Recording
from thalweg.runner.engine.seating import example, seats
from thalweg.runner.engine.state import State
from thalweg.runner.engine.workload import Workload
from thalweg.runner.facts.choice import LOOP_WIDTH, Choice, Layout
from thalweg.runner.study.trial import Trial

CPU_WIDTHS = (8, 16, 32, 64)
GPU_WIDTHS = (64, 256, 1024, 4096)
"""Widths to try. Convolutional networks fall out of a CPU core's cache after the first, perceptrons after the last."""
SHORT = 5.0
"""Seconds of predicted training below which nothing is timed: no contest could earn its own time back."""
SHARE, LONGEST = 0.03, 3.0
"""What timing may cost: a share of the predicted time, and seconds."""
COMPILE_SECONDS = 15.0
"""What compiling a step takes: 13 s for a first structure, more on a busy machine."""
PRODUCTS = ("mm", "convolution", "matmul")
"""Parts of the names of operations that compiling leaves to the same libraries."""
PROBED_STEPS = 5
KEPT = 0.8
"""Share of the time outside matrix products that compiling was seen to save (perceptrons: 0.7 to 0.9)."""


@dataclass(frozen=True)
class Question:
    """What to choose for: a sample of a group's trials in their batch layout (one seed if it is "shared").

    requested: "auto" measures, an executor is taken at its word. width limits the probes if given: what did not fit
    before. trials: how many the group has in all; workers: how many processes share them;
    sharing: how many of these share this one's device and its memory.
    """

    sample: tuple[Trial, ...]
    layout: Layout
    requested: str
    width: int | None = None
    trials: int = 0
    workers: int = 1
    sharing: int = 1

    @property
    def size(self) -> int:
        """How many trials the group has."""
        return max(self.trials, len(self.sample))

    @property
    def trial_steps(self) -> int:
        """Steps of all the group's trials together."""
        return self.size * self.sample[0].config.budget.steps


def choose(workload: Workload, question: Question) -> Choice:
    """Choose executor, layout and width."""
    if workload.habits.draws and question.layout != "shared":  # one seed a cohort: masks never depend on company
        seed = question.sample[0].config.seed
        own = tuple(trial for trial in question.sample if trial.config.seed == seed)
        question = replace(question, sample=own, layout="shared")
    with workload.numerics(), workload.apart():
        return _Contest(workload, question).choice()


def narrower(device: torch.device, width: int | None) -> int | None:
    """The widest to try after a width did not fit, or after no width was given; None where none is left."""
    widths = GPU_WIDTHS if device.type == "cuda" else CPU_WIDTHS
    below = [each for each in widths if each < (width or widths[-1])]
    return max(below, default=(width or widths[-1]) // 2) or None


def compiler_found() -> bool:
    """Whether torch.compile can build for the CPU: it calls a C++ compiler."""
    return any(shutil.which(name) for name in ("c++", "g++", "clang++"))


class _Contest:
    """One choice in the making. Times are seconds of a step of one trial; probes stop when their budget is spent."""

    def __init__(self, workload: Workload, question: Question) -> None:
        self.workload, self.question = workload, question
        widest = GPU_WIDTHS if workload.device.type == "cuda" else CPU_WIDTHS
        self.widths = [width for width in widest if width <= (question.width or widest[-1])] or [question.width or 1]
        self.width = self.widths[-1]
        self.budget = LONGEST

    def choice(self) -> Choice:
        asked, executor = self.question.requested, "loop"
        if asked == "loop":
            return self._loop("asked for")
        if asked == "auto" and len(self.question.sample) == 1:
            return self._loop("a single trial" if self.question.trials <= 1 else "a single trial of each seed")
        objection = _objection(self.workload, self.question)
        if objection:
            return self._loop(objection)
        if asked == "auto":
            executor, reason = self._fastest()
        else:
            executor, reason = self._as_asked(asked)
        return self._loop(reason) if executor == "loop" else self._fused(executor, reason)

    def _loop(self, reason: str) -> Choice:
        return Choice("loop", self.question.layout, LOOP_WIDTH, reason)

    @property
    def lanes(self) -> int:
        """How many of the group's trials a cohort of that width would hold."""
        return min(self.width, self.question.size)

    def _fused(self, executor: str, reason: str) -> Choice:
        fitting = lanes_that_fit(self.workload, self.question.sharing)
        fits = [width for width in self.widths if width <= min(self.width, fitting)]
        return Choice(executor, self.question.layout, max(fits, default=max(1, fitting)), reason)

    def _traced_at_its_fastest_width(self) -> float:
        """Seconds a trial-step of `traced` at the fastest width that can be timed; it is the width from now on."""
        seconds: dict[int, float] = {}
        for width in self.widths:
            lanes = min(width, self.question.size)
            if seconds and 2 * lanes * min(seconds.values()) > self.budget:
                break
            seconds[width] = self._seconds("traced", lanes)
            if lanes == self.question.size:
                break
        self.width = min(seconds, key=seconds.__getitem__)
        return seconds[self.width]

    def _as_asked(self, asked: str) -> tuple[str, str]:
        """An executor asked for by name, or why it is another."""
        hindrance = _hindrance(self.workload, asked)
        return ("traced", f"{asked} was asked for, but {hindrance}") if hindrance else (asked, "asked for")

    def _fastest(self) -> tuple[str, str]:
        """The fastest executor for the whole group, and why."""
        loop = self._seconds("loop", 1)
        predicted = loop * self.question.trial_steps
        if predicted < SHORT:
            return "traced", f"about {predicted:.1f} s of work: nothing was timed"
        self.budget = min(SHARE * predicted, LONGEST)
        traced = self._traced_at_its_fastest_width()
        if traced >= loop:
            return "loop", f"fused has only {loop / traced:.1f}× its speed at {self.lanes} trials"
        gain = f"{loop / traced:.1f}× the loop's speed at {self.lanes} trials"
        if self.workload.device.type == "cuda":
            return self._graphed_or_traced(loop, traced, gain)
        return self._compiled_or_traced(loop, traced, gain)

    def _graphed_or_traced(self, loop: float, traced: float, gain: str) -> tuple[str, str]:
        if _hindrance(self.workload, "graphed"):
            return "traced", gain
        graphed = self._seconds("graphed", self.lanes)
        if graphed >= traced or not self._agrees("graphed"):
            return "traced", gain
        return "graphed", f"{loop / graphed:.1f}× the loop's speed at {self.lanes} trials"

    def _compiled_or_traced(self, loop: float, traced: float, gain: str) -> tuple[str, str]:
        """Compile if what it can save is twice what it costs: each worker compiles, all of them share the saving."""
        hindrance = _hindrance(self.workload, "compiled")
        if hindrance:
            return "traced", f"{gain}; not compiled: {hindrance}"
        saved = KEPT * traced * _outside_products(self.workload, self.lanes)
        steps = self.question.trial_steps / self.question.workers
        if saved * steps < 2 * COMPILE_SECONDS:
            needed = 2 * COMPILE_SECONDS * self.question.sample[0].config.budget.steps / max(saved * steps, 1e-9)
            return "traced", f"{gain}; compiling would pay back after {needed:,.0f} steps"
        if not self._agrees("compiled"):
            return "traced", f"{gain}; compiled it would not be the same training"
        compiled = self._seconds("compiled", self.lanes)
        if compiled >= traced:
            return "traced", f"{gain}; compiled it has {loop / compiled:.1f}×"
        gain = f"{loop / compiled:.1f}× the loop's speed at {self.lanes} trials"
        return "compiled", f"{gain}, uncompiled {loop / traced:.1f}×"

    def _seconds(self, executor: str, lanes: int) -> float:
        """Seconds a trial-step: the best of a few steps after one to warm up, within the budget or a step beyond it.

        The first never counts: it may import, and was seen to take 100,000 times what the others do. On a CPU it is
        this thread's time, of which other programs take nothing: on a busy machine the clock alone made loops of
        groups that fuse well.
        """
        clock = time.perf_counter if self.workload.device.type == "cuda" else time.thread_time
        state, inputs, lane_of = self._seated(executor, lanes)
        best, began = math.inf, clock()
        for step in range(PROBED_STEPS + 1):
            block = inputs.block(step, step + 1, lane_of)
            _wait(self.workload)
            started = clock()
            EXECUTORS[executor](self.workload, state, block)
            _wait(self.workload)
            ended = clock()
            if step > 0:
                best = min(best, ended - started)
                if ended - began > self.budget:
                    break
        self.budget = max(0.0, self.budget - (ended - began))
        return best / lanes

    def _seated(self, executor: str, lanes: int) -> tuple[State, Inputs, np.ndarray]:
        """A fresh state of so many lanes of the sample (and what the executor adds), its inputs, and who sits where."""
        sample, layout = self.question.sample, self.question.layout
        width = seats(self.workload, executor, lanes, 0)
        lane_of = np.arange(width) % min(lanes, len(sample))
        return (
            self.workload.start([sample[i] for i in lane_of], executor),
            Inputs(sample, layout, self.workload),
            lane_of,
        )

    def _agrees(self, executor: str) -> bool:
        """Whether a step leaves the slots that traced leaves: after the first they hold the gradient."""
        slots = []
        for name in ("traced", executor):
            state, inputs, lane_of = self._seated(name, self.lanes)
            EXECUTORS[name](self.workload, state, inputs.block(0, 1, lane_of))
            slots.append(torch.cat([slot[: self.lanes] for slot in state.slots.values()], dim=1))
        return _distance(*slots) <= 2 * TOLERANCE[self.workload.precision]


def _objection(workload: Workload, question: Question) -> str | None:
    """Why these trials must not be fused, or None: their fused gradient is compared with each one's own.

    A user's model is compared at other weights too than its template was built with, and in evaluation.
    """
    if workload.habits.alone:
        return f"the model {workload.habits.alone}"
    if workload.precision == "bf16":
        objection = _objection(replace(workload, precision="float32"), question)
        if objection:
            return objection
    pair = (question.sample * 2)[:2]
    block = Inputs(pair, question.layout, workload).block(0, 1, np.arange(2))
    feed, tolerance = next(block.feeds(workload)), TOLERANCE[workload.precision]
    for shift in (0.0, SHIFT) if workload.foreign else (0.0,):
        state, alone = (_shifted(workload.start(pair, executor), shift) for executor in ("vmap", "loop"))
        try:
            _, fused_KP, buffers = vmap_gradient(workload, block.shared)(state, feed)
            measured_K = _val_loss(workload, state, "vmap", pair) if workload.foreign else None
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # whatever torch says against fusing this model is the reason
            return f"vmap cannot take this model: {first_line(error)}"
        own_KP, own_buffers = _own_pass(workload, alone, block)
        worst = _distance(own_KP, fused_KP)
        if not worst <= tolerance:
            return f"the fused gradient differs from the loop's by {worst:.1e}"
        if workload.foreign and not _distance(*map(_flat, (own_buffers, buffers))) <= tolerance:
            return "the fused forward pass leaves other buffers than the loop's"
        if measured_K is not None:
            worst = _distance(_val_loss(workload, alone, "loop", pair)[:, None], measured_K[:, None])
            if not worst <= tolerance:
                return f"the fused evaluation differs from the loop's by {worst:.1e}"
    return None


def _shifted(state: State, share: float) -> State:
    """A state whose weights are moved by so much of their size."""
    noise_KP = torch.randn(state.theta.shape, generator=torch.Generator().manual_seed(0)).to(state.theta)
    if share:
        state.theta += share * state.theta.square().mean().sqrt() * noise_KP
    return state


def _own_pass(workload: Workload, state: State, block: Block) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Each trial's own gradient, `[K, P]`, and its buffers after the pass, `[K, …]`."""
    passes = []
    for k in range(state.lanes):
        lane, feed = state.lane(k), next(block.lane(k).feeds(workload))
        if state.modules:
            with state.modules[k].at_home():
                passes.append(own_gradient(workload)(lane, feed))
        else:
            passes.append(solo_gradient(workload)(lane, feed))
    buffers = {name: torch.cat([each[2][name] for each in passes]) for name in passes[0][2]}
    return torch.cat([grad for _, grad, _ in passes]), buffers


def _flat(buffers: dict[str, torch.Tensor]) -> torch.Tensor:
    """Buffers `[K, …]` side by side, in float64."""
    parts = [torch.view_as_real(each) if each.is_complex() else each for _, each in sorted(buffers.items())]
    return torch.cat(
        [torch.zeros(2, 1).double(), *(part.double().cpu().reshape(len(part), -1) for part in parts)], dim=1
    )


def _val_loss(workload: Workload, state: State, executor: str, trials: tuple[Trial, ...]) -> torch.Tensor:
    """What is measured of trials on the validation split, `[K]`."""
    return evaluate(workload, state, "val", executor, seeds=[trial.config.seed for trial in trials])["loss"]


def _distance(expected_KP: torch.Tensor, found_KP: torch.Tensor) -> float:
    """The largest ‖found − expected‖ / ‖expected‖ of a trial; NaN, which is below no tolerance, where one has NaN."""
    lengths_K = expected_KP.norm(dim=1).clamp(min=1e-30)
    return float(((found_KP - expected_KP).norm(dim=1) / lengths_K).max())


def _hindrance(workload: Workload, executor: str) -> str | None:
    """Why an executor cannot train this here, or None."""
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


def _wait(workload: Workload) -> None:
    if workload.device.type == "cuda":
        torch.cuda.synchronize(workload.device)

"""Which executor and batch layout a group of trials gets: measured, not hoped.

Fusing that is slower than a loop, or that changes the gradient, is never chosen; the reason is kept in words.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from runner.choice import Choice, Layout
from runner.engine.executors import EXECUTORS
from runner.engine.gradient import solo_gradient, vmap_gradient
from runner.engine.inputs import Inputs
from runner.engine.workload import Workload
from runner.trial import Trial

CPU_WIDTH = 64
"""Widest cohort on a CPU core: for small models a wider one falls out of the cache (full width costs 28%)."""
GPU_WIDTH = 4096
PROBED_LANES = 32
PROBED_STEPS = 5
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}
"""Largest ‖fused − loop‖ / ‖loop‖ of a trial's gradient that counts as the same gradient."""


@dataclass(frozen=True)
class Question:
    """What to choose for: a sample of a group's trials in their batch layout (one seed if it is "shared").

    requested: "auto" measures, "loop" and "vmap" are taken at their word. width limits the cohorts if given.
    """

    sample: tuple[Trial, ...]
    layout: Layout
    requested: str
    width: int | None


def choose(workload: Workload, question: Question) -> Choice:
    """Choose executor and width; a sample of one trial is trained in a loop."""
    width = question.width or (CPU_WIDTH if workload.device.type == "cpu" else GPU_WIDTH)
    executor, reason = _verdict(workload, question, min(width, PROBED_LANES))
    return Choice(executor=executor, layout=question.layout, width=width, reason=reason)


def _verdict(workload: Workload, question: Question, lanes: int) -> tuple[str, str]:
    if question.requested != "auto":
        return question.requested, "asked for"
    if len(question.sample) == 1:
        return "loop", "a single trial"
    sample, layout = question.sample[:lanes], question.layout
    objection = _objection(workload, sample, layout)
    if objection:
        return "loop", objection
    solo = _seconds("loop", workload, sample[:1], layout)
    gain = solo * len(sample) / _seconds("vmap", workload, sample, layout)
    if gain > 1:
        return "vmap", f"{gain:.1f}× the loop's speed at {len(sample)} trials"
    return "loop", f"vmap has only {gain:.1f}× its speed at {len(sample)} trials"


def _objection(workload: Workload, sample: Sequence[Trial], layout: Layout) -> str | None:
    """Why these trials must not be fused, or None: their fused gradient is compared with each one's own."""
    pair = list(sample[:2])
    block = Inputs(pair, layout, workload).block(0, 1, np.arange(len(pair)))
    state = workload.start(pair)
    try:
        _, fused_KP, _ = vmap_gradient(workload, block.shared)(state, next(block.feeds(workload)))
    except Exception as error:  # whatever torch says against fusing this model is the reason
        return f"vmap cannot take this model: {str(error).splitlines()[0]}"
    worst = 0.0
    for k in range(len(pair)):
        _, solo_1P, _ = solo_gradient(workload)(state.lane(k), next(block.lane(k).feeds(workload)))
        worst = max(worst, float((fused_KP[k] - solo_1P[0]).norm() / solo_1P.norm().clamp(min=1e-30)))
    if not math.isfinite(worst) or worst > TOLERANCE[workload.dtype]:
        return f"the fused gradient differs from the loop's by {worst:.1e}"
    return None


def _seconds(executor: str, workload: Workload, sample: Sequence[Trial], layout: Layout) -> float:
    """Seconds of one step of the sample, the best of a few after a warm-up."""
    state, inputs = workload.start(sample), Inputs(sample, layout, workload)
    best = math.inf
    for step in range(PROBED_STEPS):
        block = inputs.block(step, step + 1, np.arange(len(sample)))
        _wait(workload)
        started = time.perf_counter()
        EXECUTORS[executor](workload, state, block)
        _wait(workload)
        best = min(best, time.perf_counter() - started)
    return best


def _wait(workload: Workload) -> None:
    if workload.device.type == "cuda":
        torch.cuda.synchronize(workload.device)

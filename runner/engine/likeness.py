"""Whether trials that are fused train as each would alone: gradients, buffers and evaluation, compared.

Knows neither what it costs nor which executor is the faster one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from thalweg.data.fields import mapped
from thalweg.runner.engine.accumulate import accumulated
from thalweg.runner.engine.deviation import TOLERANCE, deviation
from thalweg.runner.engine.evaluate import evaluate, rows_at_once
from thalweg.runner.engine.gradient import own_gradient, solo_gradient, vmap_gradient
from thalweg.runner.engine.hindrance import hindrance
from thalweg.runner.engine.inputs import Block, Inputs
from thalweg.runner.engine.passes import SHIFT
from thalweg.runner.engine.state import State
from thalweg.runner.engine.workload import ROUNDED, Workload
from thalweg.runner.facts.choice import Layout
from thalweg.runner.study.trial import Trial

NUDGE, NUDGES = 1e-3, 3
"""By how much of their size weights are moved off a kink, and how often at most. Of the passes of a ShuffleNet of width
.5, in float32, one in six has an activation that rounding alone puts on the other side of 0: 1.9e-2 of its gradient."""


def objection(workload: Workload, sample: Sequence[Trial], layout: Layout) -> str | None:
    """Why these trials must not be fused, or None: two are fused, and their gradient is compared with each one's own.

    A user's model is compared at other weights too than its template was built with, and in evaluation, as is what the
    user measures of all that a model returns. A gradient jumps where an activation is 0 but for rounding: what differs
    there counts no more if it is the same a little beside it, and everywhere in float64.
    """
    if workload.habits.alone:
        return f"the model {workload.habits.alone}"
    if workload.precision in ROUNDED:
        said = objection(replace(workload, precision="float32"), sample, layout)
        if said:
            return said
    pair = tuple((*sample, *sample)[:2])
    block = Inputs(pair, layout, workload).block(0, 1, np.arange(2))
    starts = (workload.start(pair, executor) for executor in ("vmap", "loop"))
    fused, alone = (replace(state, scale=None) for state in starts)  # scaled, a gradient may be infinite at first
    for share in (0.0, SHIFT) if workload.foreign else (0.0,):
        shift(fused, share)
        shift(alone, share)
        if said := _unlike(workload, pair, block, (fused, alone)):
            return said
    return None


def few(workload: Workload, rows: int) -> Workload:
    """The same, with so many rows to validate on."""
    val = workload.splits["val"]
    fewer = replace(val, x=mapped(lambda each: each[:rows], val.x), y=val.y[:rows])
    return replace(workload, splits=workload.splits | {"val": fewer})


def distance(expected_KP: Tensor, found_KP: Tensor) -> float:
    """The largest ‖found − expected‖ / ‖expected‖ of a trial; NaN, which is below no tolerance, where one has NaN."""
    lengths_K = expected_KP.norm(dim=1).clamp(min=1e-30)
    return float(((found_KP - expected_KP).norm(dim=1) / lengths_K).max())


def shift(state: State, share: float) -> None:
    """Move a state's weights by so much of their size."""
    noise_KP = torch.randn(state.theta.shape, generator=torch.Generator().manual_seed(0)).to(state.theta)
    if share:
        state.theta += share * state.theta.square().mean().sqrt() * noise_KP


def _unlike(workload: Workload, pair: tuple[Trial, ...], block: Block, states: tuple[State, State]) -> str | None:
    """What differs between a pass fused and one alone, from such states."""
    (fused, alone), tolerance = states, TOLERANCE[workload.precision]
    try:
        fused_KP, buffers = _fused_pass(workload, fused, block)
        measured_K = _val_loss(workload, fused, "vmap", pair) if workload.foreign or workload.of_all else None
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever torch says against fusing this model is the reason
        return hindrance(error)
    own_KP, own_buffers = _own_pass(workload, alone, block)
    worst = distance(own_KP, fused_KP)
    if not worst <= tolerance and not _jumps(workload, pair, block, states):
        return f"the fused gradient differs from the loop's by {worst:.1e}"
    if workload.foreign and not deviation(buffers, own_buffers) <= tolerance:
        return "the fused forward pass leaves other buffers than the loop's"
    if measured_K is not None:
        worst = distance(_val_loss(workload, alone, "loop", pair)[:, None], measured_K[:, None])
        if not worst <= tolerance:
            return f"the fused evaluation differs from the loop's by {worst:.1e}"
    for state in states:  # what acts on a buffer is compared once the buffer has changed, too
        for name, now in own_buffers.items():
            state.buffers[name].copy_(now)
    return None


def _jumps(workload: Workload, pair: tuple[Trial, ...], block: Block, states: tuple[State, State]) -> bool:
    """Whether a gradient differs by rounding alone: not a little beside these weights, and not in float64."""
    if workload.precision != "float32":
        return False
    fused, alone = states
    here = fused.theta.clone()
    beside = math.inf
    for _ in range(NUDGES):
        shift(fused, NUDGE)
        shift(alone, NUDGE)
        beside = min(beside, distance(_own_pass(workload, alone, block)[0], _fused_pass(workload, fused, block)[0]))
        if beside <= TOLERANCE["float32"]:
            break
    for state in states:
        state.theta.copy_(here)
    layout: Layout = "shared" if block.shared else "per_lane"
    return beside <= TOLERANCE["float32"] and objection(workload.in_float64(), pair, layout) is None


def _fused_pass(workload: Workload, state: State, block: Block) -> tuple[Tensor, dict[str, Tensor]]:
    """All trials' gradients at once, `[K, P]`, and their buffers after the pass, `[K, …]`."""
    gradient = accumulated(vmap_gradient(workload, block.shared), workload.parts, block.shared)
    _, grad_KP, buffers = gradient(state, next(block.feeds(workload)))
    return grad_KP, buffers


def _own_pass(workload: Workload, state: State, block: Block) -> tuple[Tensor, dict[str, Tensor]]:
    """Each trial's own gradient, `[K, P]`, and its buffers after the pass, `[K, …]`."""
    passes = []
    for k in range(state.lanes):
        lane, feed = state.lane(k), next(block.lane(k).feeds(workload))
        if state.modules:
            with state.modules[k].at_home():
                passes.append(own_gradient(workload, workload.parts)(lane, feed))
        else:
            passes.append(accumulated(solo_gradient(workload), workload.parts, shared=True)(lane, feed))
    buffers = {name: torch.cat([each[2][name] for each in passes]) for name in passes[0][2]}
    return torch.cat([grad for _, grad, _ in passes]), buffers


def _val_loss(workload: Workload, state: State, executor: str, trials: tuple[Trial, ...]) -> Tensor:
    """What is measured of trials on some of the validation split, `[K]`."""
    seeds = [trial.config.seed for trial in trials]
    some = few(workload, min(workload.batch_size, rows_at_once(workload.splits["val"])))
    return evaluate(some, state, "val", executor, seeds=seeds)["loss"]

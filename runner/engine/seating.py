"""How many lanes a program has for the trials that still train. Spare lanes repeat the last trial and are not read.

Two reasons for spare lanes. A compiled program is made for one width, at the cost of seconds: it is kept while half
its lanes count, and serves cohorts that are somewhat narrower. And some kernels of torch round the last numbers of
an array otherwise than the others (sigmoid, GELU, SiLU, softplus, powers), sum the last columns in another order
(the gradient of a BatchNorm's bias), or take a batch of one matrix for a matrix: spare lanes at the end take that
upon themselves, so that no trial's bits depend on its place or its company.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from thalweg.runner.engine.examples import Batch
from thalweg.runner.engine.gradient import vmap_gradient
from thalweg.runner.engine.inputs import Feed
from thalweg.runner.engine.recording import Recording
from thalweg.runner.engine.state import State
from thalweg.runner.engine.workload import Workload

NARROWEST = 2
TAIL = 64
"""Numbers at the end of an array that a vectorised kernel may treat apart: four vectors of 16, float32 on AVX-512."""
_UNIFORM = """
_log_softmax _log_softmax_backward_data _softmax _softmax_backward_data _to_copy _unsafe_view abs add addmm arange
avg_pool2d avg_pool2d_backward baddbmm bernoulli bmm cat clamp_min clone convolution convolution_backward copy div
embedding embedding_dense_backward empty empty_like exp expand fill full full_like gather histc index leaky_relu
leaky_relu_backward lift_fresh masked_fill max_pool2d_with_indices max_pool2d_with_indices_backward mean mm mul
native_dropout native_dropout_backward native_group_norm native_group_norm_backward native_layer_norm
native_layer_norm_backward neg new_empty new_zeros ones ones_like permute relu rsqrt scatter scatter_add select
select_backward slice slice_backward split split_with_sizes sqrt squeeze stack sub sum t tanh tanh_backward
threshold_backward transpose unbind unsqueeze view where zeros zeros_like
"""
UNIFORM = frozenset(_UNIFORM.split())
"""Operations, also in place, that were seen to round alike wherever a number lies. Any other calls for spare lanes."""


def seats(workload: Workload, executor: str, living: int, lanes: int) -> int:
    """The width to train `living` trials at; `lanes` is the present one, 0 before the start."""
    if executor == "loop":
        return living
    if executor in ("vmap", "traced"):
        return max(living + spare_lanes(workload), NARROWEST)
    made = [lanes, *(width for kind, width in workload.widths if kind == executor)]
    return min((width for width in made if living <= width < 2 * living), default=max(living, NARROWEST))


def spare_lanes(workload: Workload) -> int:
    """Lanes that must follow the last trial's for its bits to be its own.

    What is made of constants alone, as the angles of rotary places, is as long whatever the number of lanes.
    """
    operations = [
        each for each in recorded_pair(workload).operations() if each.varies and each.name.rstrip("_") not in UNIFORM
    ]
    lanes = [numbers / NARROWEST for each in operations for numbers in each.numbers]
    return math.ceil(TAIL / min(lanes)) if any(numbers % TAIL for numbers in lanes) else 0


def recorded_pair(workload: Workload) -> Recording:
    """The gradient of two lanes, recorded once to learn what it is made of."""
    if "pair" not in workload.programs:
        state, feed = example(workload, NARROWEST)
        gradient = vmap_gradient(workload, shared=True)

        def of(theta: Tensor, fixed: dict[str, Tensor], buffers: dict[str, Tensor], batch: Batch) -> Any:
            return gradient(replace(state, theta=theta, fixed=fixed, buffers=buffers), replace(feed, batch=batch))

        with workload.apart():
            workload.programs["pair"] = Recording(of, pair_inputs(workload))
    recording: Recording = workload.programs["pair"]
    return recording


def pair_inputs(workload: Workload) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor], Batch]:
    """What the recorded gradient of two lanes is called with."""
    state, feed = example(workload, NARROWEST)
    return state.theta, state.fixed, state.buffers, feed.batch


def example(workload: Workload, lanes: int) -> tuple[State, Feed]:
    """So many lanes with the template's weights, and a batch for them to share."""
    train = workload.splits["train"]
    batch = train.take(torch.arange(min(workload.batch_size, train.rows), device=train.home))
    feed = Feed(batch, {}, None, torch.tensor(0), key=0 if workload.habits.draws else None)
    return workload.template_state(lanes), feed

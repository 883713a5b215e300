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

import torch

from runner.engine.gradient import vmap_gradient
from runner.engine.inputs import Feed
from runner.engine.recording import Recording
from runner.engine.workload import Workload

NARROWEST = 2
TAIL = 64
"""Numbers at the end of an array that a vectorised kernel may treat apart: four vectors of 16, float32 on AVX-512."""
_UNIFORM = """
_log_softmax _log_softmax_backward_data _softmax _softmax_backward_data _to_copy _unsafe_view abs add addmm arange
avg_pool2d avg_pool2d_backward baddbmm bmm cat clamp_min clone convolution convolution_backward copy_ div embedding
embedding_dense_backward empty_like eq exp expand fill_ full full_like gather ge gt index leaky_relu
leaky_relu_backward lift_fresh masked_fill max_pool2d_with_indices max_pool2d_with_indices_backward mean mm mul
native_dropout native_dropout_backward native_group_norm native_group_norm_backward native_layer_norm
native_layer_norm_backward ne neg new_empty new_zeros ones_like permute relu rsqrt scatter scatter_add select
select_backward slice slice_backward split split_with_sizes sqrt squeeze stack sub sum t tanh tanh_backward
threshold_backward transpose unbind unsqueeze view where zeros zeros_like
"""
UNIFORM = frozenset(_UNIFORM.split())
"""Operations that were seen to round alike wherever a number lies. For any other, spare lanes are added."""


def seats(workload: Workload, executor: str, living: int, lanes: int) -> int:
    """The width to train `living` trials at; `lanes` is the present one, 0 before the start."""
    if executor == "loop":
        return living
    if executor in ("vmap", "traced"):
        return max(living + spare_lanes(workload), NARROWEST)
    made = [width for kind, width in workload.widths if kind == executor and living <= width < 2 * living]
    if living <= lanes < 2 * living:
        made.append(lanes)
    return min(made, default=living)


def spare_lanes(workload: Workload) -> int:
    """Lanes that must follow the last trial's for its bits to be its own; found by recording a gradient once."""
    if "spare lanes" not in workload.programs:
        workload.programs["spare lanes"] = _spare_lanes(workload)
    spare: int = workload.programs["spare lanes"]
    return spare


def _spare_lanes(workload: Workload) -> int:
    state, train = workload.template_state(NARROWEST), workload.splits["train"]
    batch = train.take(torch.arange(min(workload.batch_size, train.rows), device=train.home))
    feed = Feed(batch, {}, None, torch.tensor(0), key=0 if workload.draws else None)
    gradient = vmap_gradient(workload, shared=True)
    with torch.random.fork_rng(enabled=workload.draws):
        recording = Recording(lambda theta: gradient(replace(state, theta=theta), feed), [state.theta])
    apart = [numbers for name, numbers in recording.operations() if name not in UNIFORM]
    return math.ceil(TAIL * NARROWEST / min(apart)) if apart else 0

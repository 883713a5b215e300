"""How many lanes fit the memory, told by a recorded gradient and evaluation, or on a GPU by some that were run.

And whether it was memory that ran out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch

from thalweg.runner.engine.evaluate import evaluating, forward_all, rows_at_once
from thalweg.runner.engine.gradient import vmap_gradient
from thalweg.runner.engine.recording import Recording
from thalweg.runner.engine.seating import NARROWEST, example, recorded_pair
from thalweg.runner.engine.workload import Workload
from thalweg.runner.machine.device import available_bytes

SHARE = 0.5
"""The part of the free memory that may be planned for."""
LIVE = 3
"""Results of an evaluation that are there at once: an operation's, what it is made of, and what a later one needs."""
RECORDED_ROWS = (2, 4)
APART, WIDEST_TRIED = 4, 1024
"""How many times one lane's memory a program must take to tell what each lane takes, and lanes tried for it at most."""

OUT_OF_MEMORY = (
    "not enough memory", "out of memory", "can't allocate memory", "bad_alloc",
    "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "CUSOLVER_STATUS_ALLOC_FAILED",
)  # fmt: skip


def lanes_that_fit(workload: Workload, sharing: int, enough: float = math.inf) -> int:
    """The widest program that this process should try, one of so many that share the device; at least 1.

    Where `enough` surely fit it is not told how many more would.
    """
    state = _of_state(workload)
    if workload.device.type == "cuda":
        once, each = _on_gpu(workload)
        return max(1, int((SHARE * _free_on_gpu(workload.device) / sharing - once) / (each + state)))
    room, gradient = SHARE * available_bytes() / sharing, _of_gradient(workload)
    surely = room / (max(gradient, _of_evaluation_at_most(workload)) + state)
    if surely >= enough and not workload.habits.mixes:  # what mixes rows may make more than in proportion to them
        return int(surely)
    return max(1, int(room / (max(gradient, _of_evaluation(workload)) + state)))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, in any of the ways in which torch, its libraries and Python say so.

    Also where that was what led to the error: leaving a capture that memory ended raises one of its own.
    """
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        if _says_out_of_memory(error):
            return True
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__) or error
    return False


def _says_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


def _of_state(workload: Workload) -> int:
    """Of a lane: weights, gradient, slots, and a copy of each in the step in which a lane dies; a graph's own, too."""
    written = 1 + len(workload.recipe.slots)
    added = (workload.parts > 1) + ("update_norm" in workload.recipe.scalars)  # a sum of gradients, and weights before
    tensors = 2 * (written + 1) + added + (written if workload.device.type == "cuda" else 0)
    return tensors * workload.layout.size * workload.dtype.itemsize


def _of_gradient(workload: Workload) -> float:
    """Of a lane: what all operations of a recorded gradient make, since autograd keeps it and so does a recording."""
    return sum(each.bytes for each in recorded_pair(workload).operations()) / NARROWEST


def _of_evaluation(workload: Workload) -> float:
    """Of a lane, while as many rows are evaluated as are at once: nothing is kept but what is used.

    From two recordings of few rows, which tell what grows with rows from what does not, such as weights.
    """
    less, more = (_evaluated(workload, rows) for rows in RECORDED_ROWS)
    rows = rows_at_once(workload.splits["train"])
    if len(less) != len(more):  # a model that goes through the rows one by one, as an LSTM of a batch
        return LIVE * max(more) * rows / RECORDED_ROWS[1] / NARROWEST
    steps = (rows - RECORDED_ROWS[0]) / (RECORDED_ROWS[1] - RECORDED_ROWS[0])
    largest = max((one + (two - one) * steps for one, two in zip(less, more, strict=True)), default=0.0)
    return LIVE * largest / NARROWEST


def _of_evaluation_at_most(workload: Workload) -> float:
    """Of a lane, by the recorded gradient, whose forward pass makes about the same of its batch: twice that, as if
    everything grew with the rows. It spares the recordings of an evaluation, which take as long as 40 steps."""
    train = workload.splits["train"]
    largest = max((each.bytes for each in recorded_pair(workload).operations()), default=0) / NARROWEST
    return 2 * LIVE * largest * max(1.0, rows_at_once(train) / min(workload.batch_size, train.rows))


def _evaluated(workload: Workload, rows: int) -> list[int]:
    """The bytes that each operation makes in an evaluation of so many rows."""
    train, (state, _) = workload.splits["train"], example(workload, NARROWEST)
    batch = train.take(torch.arange(rows, device=train.home) % train.rows)
    with workload.apart(), evaluating(workload), torch.no_grad():
        run = lambda theta: forward_all(workload, replace(state, theta=theta), batch, "vmap")  # noqa: E731
        forward = Recording(run, [state.theta])
    return [each.bytes for each in forward.operations()]


def _on_gpu(workload: Workload) -> tuple[float, float]:
    """What a program takes whatever its width, and each lane of it.

    That is a gradient in a graph, which keeps what its kernels work in; and beside it one that is taken eagerly, the
    first, or an evaluation.
    """
    gradient, evaluation = (_peak_of(workload, run) for run in (_run_gradient, _run_evaluation))
    once, each = (one + max(one, other) for one, other in zip(gradient, evaluation, strict=True))
    return once, each


def _peak_of(workload: Workload, run: Callable[[Workload, int], object]) -> tuple[float, float]:
    """The bytes of one lane, and of each of as many as take several times that, or as much as can be tried.

    One lane takes what libraries work in, too, 32 MB of cuBLAS: beside that, four small ones could not be seen.
    """
    lanes, one = 1, _peak(workload, 1, run)
    several, room = one, SHARE * _free_on_gpu(workload.device)
    while several < APART * one and 2 * several < room and lanes < WIDEST_TRIED:
        lanes *= 2
        several = _peak(workload, lanes, run)
    return one, several / lanes


def _run_gradient(workload: Workload, lanes: int) -> object:
    return vmap_gradient(workload, shared=True)(*example(workload, lanes))


def _run_evaluation(workload: Workload, lanes: int) -> object:
    train, (state, _) = workload.splits["train"], example(workload, lanes)
    batch = train.take(torch.arange(min(rows_at_once(train), train.rows), device=train.home))
    with workload.apart(), evaluating(workload), torch.no_grad():
        return forward_all(workload, state, batch, "vmap")


def _peak(workload: Workload, lanes: int, run: Callable[[Workload, int], object]) -> int:
    _let_go(workload.device)
    torch.cuda.reset_peak_memory_stats(workload.device)
    before = torch.cuda.memory_allocated(workload.device)
    run(workload, lanes)
    return torch.cuda.max_memory_allocated(workload.device) - before


def _let_go(device: torch.device) -> None:
    """Have autograd's own thread drop what it holds of its last work, by giving it some more.

    That were 34 MB of cuBLAS's at times: then a lane seemed to take nothing, and the next one 17 MB.
    """
    leaf = torch.zeros((), device=device, requires_grad=True)
    torch.autograd.grad(leaf.abs(), leaf)


def _free_on_gpu(device: torch.device) -> int:
    """What the device has left, and what torch holds of it and does not use."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)

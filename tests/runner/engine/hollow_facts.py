"""Runs under the hollow CUDA runtime of scripts/gpu/hollow, and prints what the engine asks of a GPU, as JSON.

A program of its own, since a runtime cannot be put under a torch that is there already; test_hollow.py reads what it
says. No number that a kernel would have computed means anything here.
"""

from __future__ import annotations

import contextlib
import gc
import json
import sys
import tempfile
import traceback
from pathlib import Path

import torch
from counts import BLOCK, GPU, MLP, Case, by_kernel, counted, peak, trials_for  # type: ignore[import-not-found]

from thalweg.runner.engine import memory
from thalweg.runner.engine.choose import choose
from thalweg.runner.engine.cohort import Cohort, _Course
from thalweg.runner.engine.determinism import prepare
from thalweg.runner.engine.evaluate import evaluate
from thalweg.runner.engine.executors import EXECUTORS
from thalweg.runner.engine.inputs import Inputs
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.probing import Question

ADAMW = f"{MLP} optimizer=adamw"
AUGMENTED = "model=cnn model.norm=group dataset=digits dataset.augment=[crop,flip] optimizer=adamw"
ALL = f"{AUGMENTED} sam=standard clip=norm task.label_smoothing=0.1"
GPT = (
    "model=gpt model.width=64 model.depth=2 dataset=stdlib dataset.train_size=500 optimizer=adamw budget.batch_size=16"
)
VALUES = "model=mlp dataset=noisy_regression optimizer=adamw"


def steps(words: str, lanes: int, executor: str) -> dict[str, float]:
    """Launches a step, the nodes of the graph if there is one, and waits a block."""
    case = Case(words, lanes)
    counts, first = case.of_steps(executor)
    return {
        "launches": counts.launches / BLOCK,
        "nodes": first.nodes,
        "copies": first.copied,
        "waits": counts.waits,
        "pageable": counts.pageable,
    }


def inputs(words: str, lanes: int, layout: str) -> dict[str, int]:
    """What making a block asks, when pinned memory is there already; and whether torch calls any of it a wait."""
    trials = trials_for(words, lanes)
    workload = prepared(trials[0].config, GPU)
    made = Inputs(trials, layout, workload)  # type: ignore[arg-type]
    which = Case(words, lanes).lanes
    made.block(0, BLOCK, which)
    torch.cuda.set_sync_debug_mode("error")
    try:
        counts = counted(lambda: made.block(BLOCK, 2 * BLOCK, which))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return {"waits": counts.waits, "pageable": counts.pageable, "launches": counts.launches}


def block_arrives(words: str) -> bool:
    """Whether the tensors of a block, which one copy brings, are those of a block on the host."""
    trials = trials_for(words, 3)
    blocks = []
    for device in (torch.device("cpu"), GPU):
        made = Inputs(trials, "per_lane", prepared(trials[0].config, device))
        blocks.append(made.block(3, 9, Case(words, 3).lanes))
    host, there = ({"rows": b.rows, "draws": b.draws, "smoothing": b.label_smoothing, **b.coefficients} for b in blocks)
    return all(_memory_of(there[name], like) for name, like in host.items() if like is not None)


def _memory_of(tensor: torch.Tensor, like: torch.Tensor) -> bool:
    """Whether a device's tensor holds what a host's does: the hollow device's memory is the host's."""
    import ctypes

    shape, stride = tensor.shape, tensor.stride()
    count = 1 + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
    raw = (ctypes.c_char * (count * tensor.itemsize)).from_address(tensor.data_ptr())
    flat = torch.frombuffer(bytearray(raw), dtype=tensor.dtype)
    return tensor.device == GPU and torch.equal(flat.as_strided(shape, stride), like)


def evaluation(words: str, lanes: int) -> dict[str, int]:
    """What measuring the training split asks."""
    case = Case(words, lanes)
    case.evaluate()
    counts = counted(case.evaluate)
    return {"waits": counts.waits, "launches": counts.launches}


def hashing(lanes: int) -> int:
    """Waits for the hashes of all lanes."""
    trials = trials_for(ADAMW, lanes)
    workload = prepared(trials[0].config, GPU)
    course = _Course(Cohort(tuple(trials), "vmap", "shared", 1), workload, lambda *_: None, None, None)
    which = Case(ADAMW, lanes).lanes
    return counted(lambda: course._keep_hashes(which)).waits


def peaks(words: str, lanes: int) -> dict[str, float]:
    """The peak of two eager steps, of recording, of a replay, of capturing, and what a graph holds from then on."""
    case = Case(words, lanes)
    found = {"eager": case.least_peak("vmap"), "recording": case.least_peak("traced")}
    block = case.inputs.block(0, 2, case.lanes)
    found["replay"] = min(peak(lambda: case.run("traced", block)) for _ in range(3))
    found["compiled"] = case.least_peak("graphed_compiled")
    found["capturing"] = case.least_peak("graphed")
    gc.collect()
    torch.cuda.empty_cache()
    state = sum(tensor.nbytes for tensor in case.state.tensors().values())
    graph = next(p for key, p in case.workload.programs.items() if key[0] == "graphed")
    before = torch.cuda.memory_allocated(GPU)
    del graph
    case.workload.programs.clear()
    gc.collect()
    return found | {"held": before - torch.cuda.memory_allocated(GPU), "state": state, "theta": case.state.theta.nbytes}


def own_batches() -> dict[str, float]:
    """The peak of a graphed block whose lanes have batches of their own, and what those of all its steps take."""
    words = ADAMW.replace("[64,64]", "[8]")
    trials, lanes = trials_for(words, 64), Case(words, 64).lanes
    workload = prepared(trials[0].config, GPU)
    state, made = workload.start(trials), Inputs(trials, "per_lane", workload)
    block = made.block(BLOCK, 2 * BLOCK, lanes)
    EXECUTORS["graphed"](workload, state, block)
    batch = 64 * 64 * 64 * 4
    again = [peak(lambda: EXECUTORS["graphed"](workload, state, block)) for _ in range(3)]
    return {"peak": min(again), "all": BLOCK * batch}


def free_counts_the_cache() -> dict[str, float]:
    """What memory takes for free before and after torch has held half of the device and let go of it."""
    gc.collect()
    torch.cuda.empty_cache()
    before = memory._free_on_gpu(GPU)
    held = torch.empty(before // 2, dtype=torch.uint8, device=GPU)
    del held
    return {"before": before, "after": memory._free_on_gpu(GPU)}


def planned(words: str, lanes: int) -> dict[str, float]:
    """What is planned for a graphed cohort that measures, and what it makes torch hold."""
    trials = trials_for(words, lanes)
    workload = prepared(trials[0].config, GPU)
    once, each = memory._on_gpu(workload)
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(GPU)
    before = torch.cuda.memory_reserved(GPU)
    state, made = workload.start(trials), Inputs(trials, "shared", workload)
    which = Case(words, lanes).lanes
    for start in (0, BLOCK):
        EXECUTORS["graphed"](workload, state, made.block(start, start + BLOCK, which))
        evaluate(workload, state, "train", "graphed")
    held = torch.cuda.max_memory_reserved(GPU) - before
    return {"planned": once + lanes * (each + memory._of_state(workload)), "held": held}


def planned_again() -> list[float]:
    """What is planned for each lane, in one process again and again, in KB."""
    workload = prepared(trials_for(ADAMW, 1)[0].config, GPU)
    return [memory._on_gpu(workload)[1] / 1e3 for _ in range(8)]


def own_metric() -> str:
    """A user's metric that answers on the host is taken as it is."""
    from thalweg.runner.engine.task import TASKS, Own

    task = Own(TASKS["classes"](), {"own": lambda outputs, y: torch.tensor(0.5)})
    return str(task.sums(torch.zeros(3, 4, 5, device=GPU), torch.zeros(4, dtype=torch.int64, device=GPU)).device)


def host_data() -> dict[str, float]:
    """A graphed block whose examples lie on the host."""
    from thalweg.runner.engine import examples

    examples.RESIDENT_SHARE = 0.0
    try:
        return steps(ADAMW, 5, "graphed")
    finally:
        examples.RESIDENT_SHARE = 0.5


def one_evaluation_at(lanes: int) -> dict[str, int]:
    """The peak of an evaluation beside that of a step."""
    case = Case(GPT, lanes)
    case.evaluate()
    step = case.first_peak("vmap")
    return {"evaluation": peak(lambda: evaluate(case.workload, case.state, "train", "vmap")), "step": step}


def kernels(words: str, lanes: int, executor: str) -> dict[str, int]:
    """How often a step of that executor launches each kernel that Triton made."""
    case = Case(words, lanes)
    case.run(executor, case.block())
    (graph,) = (made for key, made in case.workload.programs.items() if key[0] == executor)
    return {name: times for name, times in by_kernel(graph.steps.take).items() if name.startswith("triton")}


def alone() -> dict[str, object]:
    """How a single trial is trained by `auto`, and what its steps ask in the loop and in a graph."""
    sample = tuple(trials_for(ADAMW, 1))
    workload = prepared(sample[0].config, GPU)
    choice, bar = choose(workload, Question(sample, "shared", "auto", trials=1))
    made = dict(workload.widths)
    asks = {executor: steps(ADAMW, lanes, executor) for executor, lanes in (("loop", 1), ("graphed", 2))}
    return {"executor": choice.executor, "width": choice.width, "bar": bar is not None, "made": made, **asks}


NETS = """
from torch import nn

class Pooled(nn.Module):
    def __init__(self, outputs, pool):
        super().__init__()
        pools = {"adaptive": nn.AdaptiveAvgPool2d(2), "usual": nn.MaxPool2d(3)}
        self.before, self.pool, self.after = nn.Conv2d(1, 4, 3), pools[pool], nn.Linear(16, outputs)

    def forward(self, x):
        return self.after(self.pool(self.before(x.view(-1, 1, 8, 8))).flatten(1))
"""


def undetermined() -> dict[str, str | None]:
    """What torch says of a user's pooling, of which it has a deterministic kernel or not."""
    folder = Path(tempfile.mkdtemp())
    (folder / "nets.py").write_text(NETS)
    (folder / "thalweg.yaml").write_text("code: [nets]")
    with contextlib.chdir(folder):
        words = {
            each: f"model=target model._target_=nets.Pooled +model.pool={each} dataset=digits optimizer=adamw"
            for each in POOLS
        }
        return {each: prepared(trials_for(words[each], 1)[0].config, GPU).habits.undetermined for each in POOLS}


POOLS = ("adaptive", "usual")
FACTS = {
    "undetermined": undetermined,
    "cross-entropy": lambda: steps(ADAMW, 64, "traced"),
    "graph": lambda: steps(ADAMW, 64, "graphed"),
    "graph, compiled update": lambda: steps(ADAMW, 64, "graphed_compiled"),
    "graph, compiled update, odd": lambda: steps(f"{MLP} optimizer=sgd", 5, "graphed_compiled"),
    "graph, compiled update, GPT": lambda: steps(GPT, 4, "graphed_compiled"),
    "kernels": lambda: kernels(ADAMW, 5, "graphed_compiled"),
    "graph of all": lambda: steps(ALL, 5, "graphed"),
    "graph of a GPT": lambda: steps(GPT, 4, "graphed"),
    "graph, data on the host": host_data,
    "inputs, shared": lambda: inputs(ADAMW, 8, "shared"),
    "inputs, all": lambda: inputs(ALL, 5, "per_lane"),
    "inputs arrive": lambda: block_arrives(ALL),
    "evaluation of classes": lambda: evaluation(ADAMW, 8),
    "evaluation of tokens": lambda: evaluation(GPT, 4),
    "evaluation of values": lambda: evaluation(VALUES, 8),
    "evaluation's memory": lambda: one_evaluation_at(4),
    "own metric": own_metric,
    "hashing": lambda: hashing(33),
    "memory of a GPT": lambda: peaks(GPT, 16),
    "memory of an MLP": lambda: peaks(ADAMW, 1024),
    "alone": alone,
    "own batches": own_batches,
    "free": free_counts_the_cache,
    "plan of an MLP": lambda: planned(ADAMW, 256),
    "plan again": planned_again,
    "plan of a GPT": lambda: planned(GPT, 16),
    "plan of a CNN": lambda: planned(AUGMENTED, 64),
}


def fact(name: str) -> object:
    """A fact, or the error that came of it."""
    try:
        return FACTS[name]()
    except Exception:  # a test says so
        return traceback.format_exc()


if __name__ == "__main__":
    prepare()
    sys.stdout.write(json.dumps({name: fact(name) for name in (sys.argv[1:] or FACTS)}) + "\n")

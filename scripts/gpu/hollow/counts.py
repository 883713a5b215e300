"""What a step, a block, an evaluation and a recording ask of a GPU: launches, waits, copies and memory. Not how fast.

    sh scripts/gpu/hollow/build.sh FOLDER
    LD_LIBRARY_PATH=FOLDER LD_PRELOAD=FOLDER/libfake.so TORCH_CUDNN_V8_API_DISABLED=1 PYTHONPATH=src:scripts \\
        python -P scripts/gpu/hollow/counts.py [NAME …]

Runs under the hollow runtime (fake.cpp) and prints a Markdown table. A launch is a kernel, a copy, a memset or a graph.
"""

from __future__ import annotations

import ctypes
import gc
import math
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from benchmarks.workloads import trials_of

from thalweg.runner.engine import compiling
from thalweg.runner.engine.cohort import BLOCK
from thalweg.runner.engine.compiling import kernel_hindrance
from thalweg.runner.engine.determinism import prepare
from thalweg.runner.engine.evaluate import evaluate
from thalweg.runner.engine.executors import EXECUTORS
from thalweg.runner.engine.inputs import Inputs
from thalweg.runner.engine.memory import _let_go
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.study.trial import Trial

compiling.ROUNDINGS = math.inf  # nothing is computed here that a compiled update could be held against
GPU = torch.device("cuda:0")
COPIES = tuple(
    f"memcpyAsync {way}{how}{when}"
    for way in ("H2D", "D2H", "D2D", "H2H")
    for how in ("", " pageable")
    for when in ("", " captured")
)
LAUNCHES = ("kernel", "memset", "graphLaunch", *(each for each in COPIES if "captured" not in each))
WAITS = ("SYNC stream", "SYNC device", "SYNC event", "memcpy sync")
MLP = "model=mlp model.hidden=[64,64] dataset=digits budget.batch_size=64"
CASES = {
    "MLP AdamW K=64": (64, f"{MLP} optimizer=adamw"),
    "MLP SGD K=64": (64, f"{MLP} optimizer=sgd"),
    "MLP Muon K=64": (64, f"{MLP} optimizer=muon"),
    "MLP SAM, clip, smoothing K=64": (64, f"{MLP} optimizer=adamw sam=standard clip=norm task.label_smoothing=0.1"),
    "MLP AdamW K=1,024": (1024, f"{MLP} optimizer=adamw"),
    "CNN, BatchNorm K=5": (5, "model=cnn model.norm=batch dataset=digits optimizer=adamw"),
    "CNN, GroupNorm K=5": (5, "model=cnn model.norm=group dataset=digits optimizer=adamw"),
    "CNN, augmented K=5": (5, "model=cnn model.norm=group dataset=digits dataset.augment=[crop,flip] optimizer=adamw"),
    "GPT 64×2 K=16": (
        16,
        "model=gpt model.width=64 model.depth=2 dataset=stdlib dataset.train_size=500 optimizer=adamw "
        "budget.batch_size=16",
    ),
    "ResNet-18, width 8 K=5": (5, "model=resnet18 model.width=8 dataset=digits optimizer=sgd"),
}
"""Name -> lanes, and the structure in the words of the command line."""


@dataclass(frozen=True)
class Counts:
    """What was asked of the device while something ran."""

    launches: int
    waits: int
    pageable: int  # copies from or to memory that is not pinned: the host waits for those
    nodes: int  # of the graph captured last: kernels and memsets
    copied: int  # and copies


def counted(work: Callable[[], object]) -> Counts:
    """What a piece of work asks of the device."""
    runtime = ctypes.CDLL(None)
    runtime.fake_count.restype = ctypes.c_long
    runtime.fake_reset()
    work()

    def total(names: tuple[str, ...]) -> int:
        return sum(runtime.fake_count(name.encode()) for name in names)

    pageable = tuple(each for each in COPIES if each.endswith("pageable"))
    nodes = total(("kernels in last graph",)), total(tuple(each for each in COPIES if each.endswith("captured")))
    return Counts(total(LAUNCHES), total(WAITS), total(pageable), *nodes)


def by_kernel(work: Callable[[], object]) -> dict[str, int]:
    """How often a piece of work launches each kernel, by its name."""
    runtime = ctypes.CDLL(None)
    runtime.fake_reset()
    work()
    with tempfile.NamedTemporaryFile("r") as file:
        runtime.fake_print(file.name.encode(), 1)
        lines = [line.split("\t") for line in file.read().splitlines()]
    return {name.removeprefix("kernel "): int(times) for name, times in lines if name.startswith("kernel ")}


def peak(work: Callable[[], object]) -> int:
    """Bytes that a piece of work takes beside what was held before."""
    gc.collect()
    _let_go(GPU)
    torch.cuda.reset_peak_memory_stats(GPU)
    before = torch.cuda.memory_allocated(GPU)
    work()
    return torch.cuda.max_memory_allocated(GPU) - before


class Case:
    """A structure at a width, ready to be looked at."""

    def __init__(self, words: str, lanes: int) -> None:
        self.trials, self.lanes = trials_for(words, lanes), np.arange(lanes)
        self.fresh()

    def fresh(self) -> None:
        """A workload that has recorded nothing yet."""
        self.workload = prepared(self.trials[0].config, GPU)
        self.inputs = Inputs(self.trials, "shared", self.workload)
        self.state = self.workload.start(self.trials)

    def block(self, start: int = 0) -> object:
        """A block of inputs."""
        return self.inputs.block(start, start + BLOCK, self.lanes)

    def run(self, executor: str, block: object) -> object:
        """Take its steps."""
        return EXECUTORS[executor](self.workload, self.state, block)  # type: ignore[arg-type]

    def evaluate(self) -> object:
        """Measure the training split."""
        return evaluate(self.workload, self.state, "train", "vmap")

    def of_steps(self, executor: str) -> tuple[Counts, Counts]:
        """The counts of a warm block, and of the first one, which has the nodes of the graph if there was one."""
        self.fresh()
        first = counted(lambda: self.run(executor, self.block()))
        block = self.block(BLOCK)
        return counted(lambda: self.run(executor, block)), first

    def first_peak(self, executor: str) -> int:
        """The peak of the first two steps by an executor, inputs and libraries' workspaces left out."""
        self.fresh()
        block = self.inputs.block(0, 2, self.lanes)
        self.run("vmap", block)  # for the workspaces that libraries take once
        return peak(lambda: self.run(executor, block))

    def least_peak(self, executor: str) -> int:
        """Of three, the least: autograd's own thread may let go of a gradient after the next step has begun."""
        return min(self.first_peak(executor) for _ in range(3))


def trials_for(words: str, lanes: int) -> list[Trial]:
    """Trials of a structure that differ in their learning rate."""
    fixed = ("seed=0", "schedule.warmup=0", "budget.steps=1000", f"optimizer.lr=0.001..0.01:{max(lanes, 2)}log")
    return trials_of((*words.split(), *fixed))[:lanes]


def row(name: str) -> str:
    """A case as a row of the table."""
    lanes, words = CASES[name]
    case = Case(words, lanes)
    eager = case.least_peak("vmap")
    traced, _ = case.of_steps("traced")
    graphed, first = case.of_steps("graphed")
    compiled = "none" if kernel_hindrance(case.workload.recipe, GPU) else of_compiled(case, eager)
    block, evaluation = counted(lambda: case.block(2 * BLOCK)), counted(case.evaluate)
    recording, capturing = (case.least_peak(executor) for executor in ("traced", "graphed"))
    cells = (
        name,
        f"{traced.launches / BLOCK:.1f}",
        f"{first.nodes} + {first.copied}",
        f"{graphed.launches / BLOCK:.2f}",
        f"{block.waits} / {block.pageable}",
        f"{graphed.waits}",
        f"{evaluation.launches} / {evaluation.waits}",
        f"{eager / 1e6:.1f}",
        f"{recording / eager:.2f}",
        f"{capturing / eager:.2f}",
        compiled,
    )
    return f"| {' | '.join(map(str, cells))} |"


def of_compiled(case: Case, eager: int) -> str:
    """A graph whose update is compiled: its kernels and copies, launches a step, and peak beside an eager step's."""
    graphed, first = case.of_steps("graphed_compiled")
    peak_of_it = case.least_peak("graphed_compiled")
    return f"{first.nodes} + {first.copied}, {graphed.launches / BLOCK:.2f}, {peak_of_it / eager:.2f}"


def main(names: list[str]) -> int:
    """Print the table, a row as it comes."""
    prepare()
    head = (
        "structure",
        "traced: launches a step",
        "graph: kernels + copies",
        "graphed: launches a step",
        "a block's inputs: waits / pageable copies",
        "graphed: waits a block",
        "evaluation: launches / waits",
        "eager step, MB",
        "recording, × that",
        "capturing, × that",
        "its update compiled: kernels + copies, launches, capturing",
    )
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for name in CASES:
        if not names or any(each in name for each in names):
            print(row(name), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

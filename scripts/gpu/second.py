"""How fast is training on a GPU? Against one trial in a tuned eager loop, compiled, and as a CUDA graph: a table.

    python -P second.py OUT.json SECONDS [NAME …]

second.sh runs it, with the clone's src/ and scripts/ on PYTHONPATH. NAMEs, or parts of them, choose rows; none begins
once SECONDS are over. `whole` is blocks of 50 steps as a cohort takes them, feeds made, copied and losses read out;
`step` is the block alone. Medians of several rounds. Images are random, since no dataset travels: nothing here says
whether the numbers that are trained are right (first.py), nor how long a whole sweep takes (second.sh).
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from benchmarks.solo import Solo, torch_optimizer
from benchmarks.steps import clocked
from benchmarks.workloads import trials_of
from torch import Tensor

from thalweg.data.load import load_splits
from thalweg.data.splits import Pixels, Split, Splits
from thalweg.runner.base.errors import first_line
from thalweg.runner.base.whole import write_whole
from thalweg.runner.engine import prepare as preparation
from thalweg.runner.engine.cohort import BLOCK, _Readout
from thalweg.runner.engine.determinism import prepare
from thalweg.runner.engine.executors import EXECUTORS
from thalweg.runner.engine.inputs import Inputs
from thalweg.runner.study.trial import Trial

Model = Callable[[Tensor], Tensor]
GPU = torch.device("cuda:0")
STEPS = 1100
"""Of a trial's budget: blocks are taken from the first 1,050."""
IMAGES = {"cifar10": ((3, 32, 32), 10), "fashion_mnist": ((1, 28, 28), 10)}
"""Shape and classes of the datasets whose images are made up."""
TENSOR_BYTES, PRODUCT_SIDE = 1 << 31, 8192
FUSED_OPTIONS = ("lr", "betas", "eps", "weight_decay", "momentum")


@dataclass(frozen=True)
class Case:
    """A structure in the words of the command line, and what it is timed at."""

    name: str
    words: str
    widths: tuple[int, ...]
    executors: tuple[str, ...]
    precisions: tuple[str, ...]


MLP = "model=mlp model.hidden=[64,64] dataset=digits optimizer=adamw budget.batch_size=64"
EVERY = ("loop", "vmap", "traced", "graphed", "graphed_compiled", "compiled")
BOTH = ("traced", "graphed", "graphed_compiled")
CASES = (
    Case("MLP 64-64-64-10 B=64", MLP, (1, 8, 64, 256, 1024, 4096), EVERY, ("float32",)),
    Case("MLP 64-64-64-10 B=64", MLP, (1024,), ("graphed",), ("tf32", "bf16")),
    Case(
        "CNN 28x28 B=64",
        "model=cnn dataset=fashion_mnist optimizer=adamw budget.batch_size=64",
        (8, 64, 256),
        BOTH,
        ("float32", "bf16"),
    ),
    Case(
        "char-GPT 96x3 T=64 B=64",
        "model=gpt dataset=stdlib dataset.train_size=4000 optimizer=adamw budget.batch_size=64",
        (16, 64),
        BOTH,
        ("float32", "bf16"),
    ),
    Case(
        "ViT-tiny 32x32 B=64",
        "model=vit dataset=cifar10 dataset.augment=[] optimizer=adamw budget.batch_size=64",
        (8,),
        BOTH,
        ("tf32", "bf16"),
    ),
    Case(
        "ResNet-18 CIFAR B=128",
        "model=resnet18 dataset=cifar10 dataset.augment=[] optimizer=sgd budget.batch_size=128",
        (8,),
        BOTH,
        ("tf32", "bf16"),
    ),
)


@dataclass(frozen=True)
class Measured:
    """A cohort's figures: seconds a step of all K trials, whole and alone, and peak bytes; `solo` as `solos` has it."""

    name: str
    precision: str
    K: int
    executor: str
    whole: float
    step: float
    peak: int
    solo: dict[str, float]

    @property
    def overhead(self) -> float:
        """How many times a step's time the whole takes: 1.1 is the goal."""
        return self.whole / self.step

    @property
    def row(self) -> str:
        """As a row of the table."""
        eager, graphed = self.solo["eager"], self.solo.get("graph", math.nan)
        return " | ".join(
            (
                f"  K={self.K:<5}{self.executor:17} step {self.step * 1e6:9.1f} whole {self.whole * 1e6:9.1f} µs",
                f"{self.whole / self.K * 1e6:8.2f} µs a trial",
                f"all = {self.whole / eager:6.2f} x one eager, {self.whole / graphed:6.2f} x one graphed",
                f"{self.K * eager / self.whole:7.1f} x faster",
                f"{self.peak / 1e9:.2f} GB",
            )
        )


@dataclass(frozen=True)
class Goal:
    """What the fastest executor of K trials is to take at most: so many times what `against` does, eager or graph."""

    case: str
    K: int
    most: float
    against: str = "eager"

    def verdict(self, rows: Sequence[Measured]) -> str:
        """A line: the goal, and the least that was measured, of any precision and executor; or that nothing was."""
        mine = [row for row in rows if row.name.startswith(self.case) and self.K == row.K and self.against in row.solo]
        what = f"{self.case} K={self.K}: at most {self.most:g} x one {self.against}"
        if not mine:
            return f"{what}: not measured"
        least = min(mine, key=lambda row: row.whole / row.solo[self.against])
        ratio = least.whole / least.solo[self.against]
        reached = "reached" if ratio <= self.most else "MISSED"
        return (
            f"{what}: {reached}, {ratio:.2f} ({least.executor}, {least.precision}; whole / step {least.overhead:.2f})"
        )


GOALS = (
    Goal("MLP", 64, 0.35),
    Goal("MLP", 64, 1.7, "graph"),
    Goal("MLP", 1024, 2),
    Goal("MLP", 4096, 8),
    Goal("CNN", 64, 12),
    Goal("char-GPT", 16, 6),
    Goal("ViT-tiny", 8, 5.5),
    Goal("ResNet-18", 8, 8),
)


class Clock:
    """How much of the time is left."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.began = seconds, time.monotonic()

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.began

    @property
    def left(self) -> float:
        """Seconds until no row begins any more."""
        return self.seconds - self.spent


def splits_here(config: Any) -> Splits:
    """A dataset, of random pixels if it is one of images that would have to be downloaded."""
    if config.name not in IMAGES:
        return load_splits(config)
    shape, classes = IMAGES[config.name]
    random = np.random.default_rng(0)

    def part(rows: int) -> Split:
        return Split(random.integers(0, 256, (rows, *shape), dtype=np.uint8), random.integers(0, classes, rows))

    a_channel = np.ones((shape[0], 1, 1), np.float32)
    pixels = Pixels(120 * a_channel, 60 * a_channel)
    return Splits(part(8000), part(1000), part(1000), kind="classes", outputs=classes, pixels=pixels)


def median_of(work: Callable[[int], object], steps: int, rounds: int = 5) -> float:
    """Median seconds a step, after one round to warm up; fewer rounds, but three, where they would take over 4 s."""
    work(steps)
    first = clocked(work, steps, GPU)
    more = max(2, min(rounds, int(4.0 / max(first * steps, 1e-6))))
    return statistics.median([first, *(clocked(work, steps, GPU) for _ in range(more))])


@contextmanager
def as_a_script_would(precision: str) -> Iterator[None]:
    """torch as a tuned script sets it: cuDNN may search and nothing is deterministic."""
    torch.set_deterministic_debug_mode("default")
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        prepare()


class Script:
    """One trial's loop as a tuned script has it, in its precision."""

    def __init__(self, trial: Trial, precision: str) -> None:
        self.solo = Solo.of(trial, GPU)
        self.optimizer = torch_optimizer(trial.config.optimizer, self.solo.model)
        self.bf16 = precision == "bf16"

    def batch(self, t: int) -> tuple[Tensor, Tensor]:
        """The examples of step t."""
        return self.solo.workload.splits["train"].take(self.solo.rows[t])

    def step(self, model: Model, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor]) -> None:
        """One step, the loss left on the device."""
        x, y = batch
        with torch.autocast("cuda", torch.bfloat16, enabled=self.bf16):
            loss = F.cross_entropy(model(x).flatten(0, -2).float(), y.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def eager(self) -> float:
        """Seconds a step."""
        return self._looped(self.solo.model)

    def compiled(self) -> float:
        """Seconds a step with torch.compile."""
        return self._looped(torch.compile(self.solo.model))

    def _looped(self, model: Model) -> float:
        def steps(count: int) -> None:
            for t in range(count):
                self.step(model, self.optimizer, self.batch(t))

        return median_of(steps, BLOCK)

    def graphed(self) -> float:
        """Seconds a step where the whole step is one CUDA graph: batches are copied into its own memory."""
        optimizer = self._capturable()
        x, y = (part.clone() for part in self.batch(0))
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # outside the graph, for what kernels set up at their first use
            for _ in range(3):
                self.step(self.solo.model, optimizer, (x, y))
        torch.cuda.current_stream().wait_stream(aside)
        optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step(self.solo.model, optimizer, (x, y))

        def replays(count: int) -> None:
            for t in range(count):
                next_x, next_y = self.batch(t)
                x.copy_(next_x)
                y.copy_(next_y)
                graph.replay()

        return median_of(replays, BLOCK)

    def _capturable(self) -> torch.optim.Optimizer:
        """The same optimizer, its step count on the device where it has one."""
        defaults = self.optimizer.defaults
        options = {name: defaults[name] for name in FUSED_OPTIONS if name in defaults}
        if "capturable" in defaults:
            options["capturable"] = True
        return type(self.optimizer)(self.solo.model.parameters(), **options | {"fused": True})


def solos(trial: Trial, precision: str, clock: Clock) -> dict[str, float]:
    """Seconds a step of one trial: eager, as a CUDA graph, and, in the first half of the time, with torch.compile."""
    with as_a_script_would(precision):
        script = Script(trial, precision)
        found = {"eager": script.eager()}
        ways = {"graph": script.graphed, "compile": script.compiled}
        if clock.left <= 0.5 * clock.seconds:
            del ways["compile"]
        for name, way in ways.items():
            try:
                found[name] = way()
            except Exception as error:  # said: the others still count
                print(f"  solo {name}: {type(error).__name__}: {first_line(error)[:150]}")
    return found


def await_copy(readout: _Readout) -> None:
    """Wait until what was read out is in the host's memory."""
    assert readout.arrived is not None, "on a GPU each readout has its event"
    readout.arrived.synchronize()


def cohort(trials: Sequence[Trial], executor: str) -> tuple[float, float, int]:
    """Seconds a step of all trials, whole and the step alone, and peak bytes."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(GPU)
    workload = preparation.prepared(trials[0].config, GPU)
    state, inputs, lanes = workload.start(trials), Inputs(trials, "shared", workload), np.arange(len(trials))
    start = 0

    def whole(count: int) -> None:
        """Blocks as a cohort takes them: each is read out while the next one is under way."""
        nonlocal start
        late = None
        for _ in range(count // BLOCK):
            start = (start + BLOCK) % 1000
            losses_TK = EXECUTORS[executor](workload, state, inputs.block(start, start + BLOCK, lanes))
            readout = _Readout.begin(start, start + BLOCK, lanes, losses_TK, state)
            if late is not None:
                await_copy(late)
            late = readout
        if late is not None:
            await_copy(late)

    with workload.numerics():
        block = inputs.block(0, BLOCK, lanes)
        step = median_of(lambda _: EXECUTORS[executor](workload, state, block), BLOCK)
        return median_of(whole, 3 * BLOCK, rounds=3), step, torch.cuda.max_memory_allocated(GPU)


def worth_timing(executor: str, lanes: int) -> bool:
    """A loop's time does not depend on the number of trials; compiling takes seconds a width, and vmap is a detour."""
    if executor == "loop":
        return lanes == 1
    if executor == "graphed_compiled":
        return lanes in (8, 16, 64, 1024, 4096)
    return executor not in ("vmap", "compiled") or lanes in (64, 1024)


def trials_for(case: Case, precision: str) -> list[Trial]:
    """As many trials as the widest cohort has, and two at least, which differ in their learning rate."""
    rates = f"optimizer.lr=0.0005..0.005:{max(*case.widths, 2)}log"
    fixed = ("seed=0", "schedule.warmup=0", f"budget.steps={STEPS}", f"precision={precision}")
    return trials_of((*case.words.split(), *fixed, rates))


def rows_of(case: Case, precision: str, clock: Clock) -> Iterator[Measured]:
    """Time the solo sides of a structure, then its cohorts."""
    try:
        trials = trials_for(case, precision)
        solo = solos(trials[0], precision, clock)
    except Exception as error:  # said: the other structures still count
        print(case.name, precision, f"{type(error).__name__}: {first_line(error)[:150]}")
        return
    print(f"{case.name} {precision}: solo, µs a step:", {name: round(value * 1e6, 1) for name, value in solo.items()})
    for lanes in case.widths:
        for executor in case.executors:
            if clock.left < 10 or not worth_timing(executor, lanes):
                continue
            try:
                figures = cohort(trials[:lanes], executor)
            except Exception as error:  # said: a narrower cohort may fit
                print(f"  K={lanes} {executor}: {type(error).__name__}: {first_line(error)[:150]}")
                continue
            yield Measured(case.name, precision, lanes, executor, *figures, solo)


def ceilings() -> str:
    """What this GPU copies and multiplies at best, beside which the figures are read."""
    tensor = torch.empty(TENSOR_BYTES // 4, device=GPU)
    square = torch.randn(PRODUCT_SIDE, PRODUCT_SIDE, device=GPU, dtype=torch.bfloat16)
    copied = 2 * TENSOR_BYTES / median_of(lambda _: tensor.clone(), 1)
    multiplied = 2 * PRODUCT_SIDE**3 / median_of(lambda _: square @ square, 1)
    speeds = f"copy {copied / 1e12:.2f} TB/s, bf16 {multiplied / 1e12:.0f} TFLOP/s"
    return f"{torch.cuda.get_device_name(GPU)}: {speeds}, torch {torch.__version__}"


def main(path: str, seconds: str, *names: str) -> int:
    """Print the table, and write its rows as they come."""
    if not torch.cuda.is_available():
        print(f"torch {torch.__version__} finds no CUDA GPU here; run this on a machine that has one", file=sys.stderr)
        return 2
    warnings.simplefilter("ignore")
    prepare()
    preparation.load_splits = splits_here  # type: ignore[assignment, attr-defined]
    clock, rows = Clock(float(seconds)), list[Measured]()
    print(ceilings())
    for case in CASES:
        if names and not any(name in case.name for name in names):
            continue
        for precision in case.precisions:
            if clock.left < 15:
                print("out of time before", case.name, precision)
                continue
            for measured in rows_of(case, precision, clock):
                print(measured.row)
                rows.append(measured)
                write_whole(Path(path), json.dumps([asdict(row) for row in rows]).encode())
    print(*(goal.verdict(rows) for goal in GOALS), f"{clock.spent:.0f} s", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

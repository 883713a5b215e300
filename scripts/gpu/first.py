"""Does training on a GPU work? A line a check, PASS or FAIL, all in one process, and the same as JSON.

    python -P first.py OUT.json [SECONDS]

first.sh runs it, with the clone's src/ and scripts/ on PYTHONPATH. A check that would begin after SECONDS (150) is
skipped aloud. The status is 1 if a check failed, 2 where there is no GPU. Knows neither speed (second.py) nor anything
that needs no GPU: the test suite has that.
"""

from __future__ import annotations

import gc
import json
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.workloads import trials_of

from thalweg.runner.base.errors import first_line
from thalweg.runner.base.whole import write_whole
from thalweg.runner.engine.checkpoint import Checkpoint
from thalweg.runner.engine.cohort import Cohort, Keeping, train
from thalweg.runner.engine.determinism import prepare
from thalweg.runner.engine.executors import EXECUTORS
from thalweg.runner.engine.inputs import Inputs
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.workload import Workload
from thalweg.runner.facts.observation import Observations, Outcome
from thalweg.runner.study.trial import Trial
from thalweg.runner.train.messages import Ask, Chosen, OutOfMemory, Train, Trained
from thalweg.runner.train.worker import Bench

GPU, CPU = torch.device("cuda:0"), torch.device("cpu")
UNCOMPILED = ("vmap", "traced", "graphed")
COMPILED = ("graphed_compiled", "compiled")
PIECES = ((0, 2), (0, 5), (60, 77), (0, 64), (0, 65), (66, 130))
"""Lanes of 130 that are trained again by themselves: at both sides of 64, at odd places, few and many."""
PIECES_COMPILED = ((0, 64),)
"""Fewer: compiling takes seconds a width."""
SPARE_BYTES = 1.0e9
"""What is left free where memory must run out."""
WIDEST = 4096

MLP = "model=mlp model.hidden=[32,32] dataset=digits optimizer=adamw budget.batch_size=32"
OTHERS = {
    "mlp sam clip smoothing": f"{MLP} sam=standard clip=norm task.label_smoothing=0.1",
    "mlp muon": MLP.replace("adamw", "muon"),
    "cnn batch": "model=cnn model.norm=batch dataset=digits optimizer=adamw",
    "cnn group augmented": "model=cnn model.norm=group dataset=digits dataset.augment=[crop,flip] optimizer=adamw",
    "gpt": "model=gpt model.width=64 model.depth=2 dataset=stdlib dataset.train_size=500 optimizer=adamw "
    "budget.batch_size=16",
    "vit": "model=vit model.patch=2 model.width=48 model.depth=2 dataset=digits optimizer=adamw",
    "resnet18": "model=resnet18 model.width=8 dataset=digits optimizer=sgd",
    "regression": "model=mlp dataset=noisy_regression optimizer=adamw",
}
"""Structures that every executor is held against the loop with, in the words of the command line."""


@dataclass(frozen=True)
class Verdict:
    """How a check ended, and what was seen."""

    ok: bool
    said: str


@dataclass(frozen=True)
class Check:
    """A claim, and how it is looked at."""

    name: str
    look: Callable[[], Verdict]


class Verdicts:
    """The verdicts, printed and written as they come: a check that hangs takes none of those before it along."""

    def __init__(self, path: Path, seconds: float) -> None:
        self.path, self.seconds, self.began = path, seconds, time.monotonic()
        self.found: dict[str, Any] = {}

    def add(self, check: Check) -> None:
        """Look at a claim, unless the time is over."""
        started = time.monotonic()
        if started - self.began > self.seconds:
            print(f"SKIP {check.name}: out of time")
            self.found[check.name] = "skipped"
        else:
            verdict = self._verdict(check)
            self.found[check.name] = [verdict.ok, verdict.said]
            word = "PASS" if verdict.ok else "FAIL"
            print(f"{word} {check.name}: {verdict.said} [{time.monotonic() - started:.1f} s]")
        write_whole(self.path, json.dumps(self.found, indent=1).encode())

    def _verdict(self, check: Check) -> Verdict:
        try:
            return check.look()
        except Exception as error:  # recorded: the next check may well pass
            self.found[f"{check.name} trace"] = traceback.format_exc()[-3000:]
            return Verdict(False, f"{type(error).__name__}: {first_line(error)[:160]}")

    def count(self, ok: bool) -> int:
        """How many checks passed, or failed."""
        return sum(isinstance(said, list) and said[0] is ok for said in self.found.values())

    def end(self) -> str:
        """The last line."""
        counts = f"{self.count(True)} passed, {self.count(False)} failed in {time.monotonic() - self.began:.0f} s"
        return f"{counts} on {torch.cuda.get_device_name()}, torch {torch.__version__}"


class Deaf:
    """A pipe to nobody, for a worker's bench without its driver."""

    def send(self, _: object) -> None:
        """Progress and notes go nowhere."""


def trials(
    words: str, count: int, steps: int = 40, precision: str = "float32", rates: tuple[float, float] = (1e-3, 1e-2)
) -> list[Trial]:
    """As many trials of a structure, which differ in their learning rate; a single one has the lowest."""
    low, high = rates
    grid = f"optimizer.lr={low}" if count == 1 else f"optimizer.lr={low}..{high}:{count}log"
    fixed = ("seed=0", "schedule.warmup=0", f"budget.steps={steps}", f"precision={precision}")
    return trials_of((*words.split(), *fixed, grid))


def train_on(
    device: torch.device, some: Sequence[Trial], executor: str, workload: Workload | None = None, **more: Any
) -> list[Observations]:
    """Train trials as one cohort, on a workload of their own unless one is given."""
    cohort = Cohort(tuple(some), executor, "shared", 2)
    return train(cohort, workload or prepared(some[0].config, device), **more)


def losses(observations: Sequence[Observations]) -> np.ndarray:
    """All batch losses, `[K, T]`."""
    return np.stack([each.series["train/batch_loss"].values for each in observations])


def hashes(observations: Sequence[Observations]) -> list[str | None]:
    """The weights' hash of each trial."""
    return [each.weight_hash for each in observations]


def apart(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest relative difference."""
    return float(np.max(np.abs(found - expected) / np.abs(expected)))


def as_on_the_cpu(executor: str) -> Verdict:
    """Float64 leaves no excuse: the losses are those of the loop on the CPU."""
    some = trials(MLP, 5, precision="float64")
    worst = apart(losses(train_on(GPU, some, executor)), losses(train_on(CPU, some, "loop")))
    return Verdict(worst < 1e-8, f"{worst:.1e}")


def bits_in_other_company(executor: str) -> Verdict:
    """Trained again, the bits are the same. How many are in other company is reported, not demanded."""
    some = trials(MLP, 130, steps=20)
    workload = prepared(some[0].config, GPU)
    whole = hashes(train_on(GPU, some, executor, workload))
    again = hashes(train_on(GPU, some, executor, workload)) == whole
    same = {}
    for start, stop in PIECES_COMPILED if executor in COMPILED else PIECES:
        piece = hashes(train_on(GPU, some[start:stop], executor, workload))
        same[f"{start}:{stop}"] = sum(a == b for a, b in zip(piece, whole[start:stop], strict=True))
    return Verdict(again, f"run again equal: {again}; equal of each piece: {same}")


def waits() -> Verdict:
    """No step waits for the device, and nobody who makes a block does."""
    some, lanes = trials(MLP, 8, steps=200), np.arange(8)
    workload = prepared(some[0].config, GPU)
    said = {}
    for executor in UNCOMPILED:
        state, inputs = workload.start(some), Inputs(some, "shared", workload)
        EXECUTORS[executor](workload, state, inputs.block(0, 50, lanes))
        block = inputs.block(50, 100, lanes)  # the second, when pinned memory is there already
        said[f"{executor} step"] = waited(partial(EXECUTORS[executor], workload, state, block))
        said[f"{executor} block"] = waited(partial(inputs.block, 100, 150, lanes))
    return Verdict({*said.values()} == {"ok"}, str(said))


def waited(work: Callable[[], object]) -> str:
    """What torch says of a piece of work that waits for the device, else "ok"."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        work()
    except RuntimeError as error:
        return str(error).splitlines()[0][:60]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return "ok"


def checkpoint_goes_on(executor: str) -> Verdict:
    """A cohort resumed from its first checkpoint ends with the same bits; of its lanes only the hopeless one dies."""
    hopeless = trials(MLP, 1, steps=200, rates=(1e9, 1e9))
    some = [*trials(MLP, 5, steps=200), *hopeless]
    taken: list[Checkpoint] = []
    whole = train_on(GPU, some, executor, keeping=Keeping(lambda: True, taken.append))
    resumed = train_on(GPU, some, executor, resume=taken[0])
    outcomes = [each.outcome for each in whole]
    alone = outcomes == [Outcome.FINISHED] * 5 + [Outcome.DIVERGED]
    said = f"{len(taken)} checkpoints; outcomes {[str(outcome) for outcome in outcomes]}"
    return Verdict(hashes(whole) == hashes(resumed) and alone, said)


@contextmanager
def little_memory(spare: float) -> Iterator[None]:
    """As if the GPU had only `spare` bytes beside what torch holds."""
    gc.collect()
    torch.cuda.empty_cache()
    total, held = torch.cuda.get_device_properties(GPU).total_memory, torch.cuda.memory_reserved(GPU)
    torch.cuda.set_per_process_memory_fraction(min(1.0, (held + spare) / total), GPU)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, GPU)


def memory_runs_out() -> Verdict:
    """A probe that does not fit narrows, and does not end in the loop; a cohort that does not fit trains in halves."""
    words = MLP.replace("[32,32]", "[64,64]").replace("batch_size=32", "batch_size=64")
    with little_memory(SPARE_BYTES):
        bench = Bench(Deaf(), GPU, "x")  # type: ignore[arg-type]
        sample = tuple(trials(words, 32, steps=3000))
        answer = bench.do(Ask(group_id="g", sample=sample, layout="shared", requested="auto", trials=9000))
        assert isinstance(answer, Chosen)
        choice = answer.choice
        seen, last = halved(bench, words)
    chosen = f"choice {choice.executor} at {choice.width} ({choice.reason})"
    trained = isinstance(last, Trained) and not last.observations[0].error
    return Verdict(choice.executor != "loop" and len(seen) > 1 and trained, f"{chosen}; cohorts {seen}")


def halved(bench: Bench, words: str) -> tuple[list[tuple[int, str]], object]:
    """Train ever narrower cohorts until one fits: (width, answer) of each, and the last answer itself."""
    seen, width = [], WIDEST
    while True:
        some = tuple(trials(words, width, steps=60))
        said = bench.do(Train(group_id="g", trials=some, executor="graphed", layout="shared", evaluations=2))
        seen.append((width, type(said).__name__))
        if width == 1 or not isinstance(said, OutOfMemory):
            return seen, said
        width //= 2


def rounds_no_worse(precision: str, limit: float) -> Verdict:
    """Losses of a lower precision stay within `limit` of the loop's in float32."""
    truth = losses(train_on(GPU, trials(MLP, 4), "loop"))
    some = trials(MLP, 4, precision=precision)
    worst = {
        executor: apart(losses(train_on(GPU, some, executor)), truth) for executor in ("loop", "traced", "graphed")
    }
    return Verdict(max(worst.values()) < limit, str({name: f"{value:.1e}" for name, value in worst.items()}))


def as_the_loop(words: str) -> Verdict:
    """Every executor's losses are the loop's. Says whether recordings were kept, and what is not deterministic."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        some = trials(words, 5, steps=6)
        workload = prepared(some[0].config, GPU)
        truth = losses(train_on(GPU, some, "loop", workload))
        worst = {executor: beside_the_loop(executor, some, workload, truth) for executor in UNCOMPILED}
    kept = [program.trusted for program in workload.programs.values() if hasattr(program, "trusted")]
    alerts = {str(each.message).splitlines()[0][:100] for each in caught if "determin" in str(each.message)}
    ok = all(isinstance(value, float) and value < 1e-2 for value in worst.values())
    return Verdict(ok, f"{worst}; recordings kept {kept}; {alerts or ''}")


def beside_the_loop(executor: str, some: Sequence[Trial], workload: Workload, truth: np.ndarray) -> float | str:
    """How far an executor's losses are from the loop's, or why it could not train."""
    try:
        return apart(losses(train_on(GPU, some, executor, workload)), truth)
    except Exception as error:  # recorded: the other executors still count
        return f"{type(error).__name__}: {first_line(error)[:90]}"


def checks() -> Iterator[Check]:
    """All claims, those on which the others rest first, and those that compile last: that takes a minute each."""
    yield from map(right, ("loop", *UNCOMPILED))
    yield from map(its_own, UNCOMPILED)
    yield Check("no step waits, no block waits", waits)
    yield right("graphed_compiled")
    for executor in ("traced", "graphed"):
        name = f"a checkpoint of {executor} goes on to the same bits; a diverging lane dies alone"
        yield Check(name, partial(checkpoint_goes_on, executor))
    yield Check("memory that runs out: probes narrow, cohorts halve", memory_runs_out)
    for precision, limit in (("tf32", 2e-2), ("bf16", 2e-1)):
        yield Check(f"precision {precision}", partial(rounds_no_worse, precision, limit))
    for name, words in OTHERS.items():
        yield Check(f"{name}: every executor against the loop", partial(as_the_loop, words))
    yield its_own("graphed_compiled")
    yield right("compiled")
    yield its_own("compiled")


def right(executor: str) -> Check:
    """That an executor's losses are right."""
    name = f"float64 losses of {executor} on the GPU equal those of the loop on the CPU"
    return Check(name, partial(as_on_the_cpu, executor))


def its_own(executor: str) -> Check:
    """That by an executor a trial's bits are its own."""
    return Check(f"a trial's bits of {executor} at other widths and places", partial(bits_in_other_company, executor))


def main(path: str, seconds: str = "150") -> int:
    """Look at every claim; 1 if one does not hold, 2 where there is no GPU."""
    if not torch.cuda.is_available():
        print(f"torch {torch.__version__} finds no CUDA GPU here; run this on a machine that has one", file=sys.stderr)
        return 2
    prepare()
    report = Verdicts(Path(path), float(seconds))
    for check in checks():
        report.add(check)
    print(report.end())
    return 1 if report.count(False) else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

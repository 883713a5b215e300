"""Times this tool against what a careful person would write by hand, side by side in one run.

    scripts/bench [--rounds N] [--sample N] [--write]

One row so far: the `coupling` study (2,592 trainings) through `thalweg sweep`, against the same trials in a tuned
solo loop: data resident, torch's own fused optimizers, one process per core, one thread each. The solo side
trains a sample, evenly spread over the panels, and its time is scaled to all trials; the table says so. A round
counts only if both sides see the same losses over the first 20 steps of every sampled trial (rtol 1e-3; later, high
rates make rounding grow, whoever trains) and the store holds every trial. Sides alternate ABBA. --write puts the
table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import datetime
import math
import multiprocessing
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RTOL, COMPARED_STEPS = 1e-3, 20


@dataclass(frozen=True)
class Timing:
    """Seconds of one side in one round, for the whole study."""

    wall: float
    cpu: float


def tool_round(folder: Path, sample: list, whole: int) -> tuple[Timing, dict[str, list[float]]]:
    """`thalweg sweep coupling` into a fresh store; also the first losses of the sampled trials, read back from it."""
    from runner.store import Store

    path = folder / "thalweg.sqlite"
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-P", "-m", "runner", "sweep", "coupling", "tracker=none", "--store", str(path)],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    with Store.open(path) as store:
        if len(store.export_rows()) != whole:
            sys.exit("the store does not hold every trial; this round does not count")
        series = {trial.id: store.series(trial.id)["train/batch_loss"] for trial in sample}
    return Timing(wall, cpu), {trial: one.values[:COMPARED_STEPS].tolist() for trial, one in series.items()}


def solo_round(trials: list, cores: int, whole: int) -> tuple[Timing, dict[str, list[float]]]:
    """The sample of trials in `cores` processes, each a plain loop; time scaled to `whole` trials."""
    shares = [trials[core::cores] for core in range(cores)]
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        results = pool.map(solo_process, shares, chunksize=1)
    scale = whole / len(trials)
    losses = {trial: loss for _, found in results for trial, loss in found}
    wall = max(seconds.wall for seconds, _ in results) * scale
    return Timing(wall, sum(seconds.cpu for seconds, _ in results) * scale), losses


def solo_process(trials: list) -> tuple[Timing, list[tuple[str, list[float]]]]:
    """Train trials one after another; start-up, imports and data loading are not counted, in this side's favour."""
    import torch

    torch.set_num_threads(1)
    workloads = [prepared(trial) for trial in trials]
    losses = [(trial.id, solo_trial(*prepared(trial), steps=COMPARED_STEPS)) for trial in trials]
    wall, cpu = time.perf_counter(), time.process_time()
    for workload in workloads:
        solo_trial(*workload)
    return Timing(time.perf_counter() - wall, time.process_time() - cpu), losses


def prepared(trial) -> tuple:  # noqa: ANN001
    """A trial's model, data, batches and learning-rate multipliers, made beforehand as a script would."""
    import numpy as np
    import torch

    from optim.build import multipliers
    from runner.engine.streams import batch_indices
    from runner.engine.workload import Workload, initialised

    config = trial.config
    workload = Workload.of(config, torch.device("cpu"))
    steps, train = config.budget.steps, workload.splits["train"]
    rows = torch.as_tensor(batch_indices(config.seed, 0, steps, config.budget.batch_size, train.rows))
    multiplier = multipliers(config.schedule, steps, np.arange(steps))
    return config, initialised(config, workload.extent), train, rows, multiplier


def solo_trial(config, model, train, rows, multiplier, steps: int | None = None) -> list[float]:  # noqa: ANN001
    """One training as a tuned script has it: losses stay tensors until the end. Returns each step's batch loss."""
    import torch
    import torch.nn.functional as F

    optimizer = torch_optimizer(config.optimizer, model)
    group, losses = optimizer.param_groups[0], []
    for t in range(steps or config.budget.steps):
        group["lr"] = config.optimizer.lr * float(multiplier[t])
        x, y = train.take(rows[t])
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses).tolist()


def torch_optimizer(config, model):  # noqa: ANN001, ANN201
    """torch's own optimizer for one of ours; independent decay is torch's with wd divided by the peak rate."""
    import torch

    if config.name == "sgd":
        return torch.optim.SGD(
            model.parameters(), lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=True
        )
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    independent = getattr(config, "decay", "") == "independent"
    decay = config.weight_decay / config.lr if independent else config.weight_decay
    betas = (config.beta1, config.beta2)
    return kind(model.parameters(), lr=config.lr, betas=betas, eps=config.eps, weight_decay=decay, fused=True)


def same_losses(tool: dict[str, list[float]], solo: dict[str, list[float]]) -> bool:
    """Whether both sides saw the same first losses in every sampled trial, as far as the tool's did not diverge."""
    return all(
        math.isclose(ours, theirs, rel_tol=RTOL) or not math.isfinite(ours)
        for trial, losses in tool.items()
        for ours, theirs in zip(losses, solo[trial], strict=False)
    )


def spread(values: list[float], digits: int = 1) -> str:
    """Median, and the smallest and largest, as text."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def table(tool: list[Timing], solo: list[Timing], trials: int, sample: int, cores: int) -> str:
    """The measured table as Markdown, with hardware, versions and how it was measured."""
    import torch

    from runner import __version__

    ratios = [b.wall / a.wall for a, b in zip(tool, solo, strict=True)]
    today = datetime.datetime.now(datetime.UTC).date()
    sides = [
        ["`thalweg sweep coupling`, from typing to answer", tool, f"**{spread(ratios, 2)}× faster**"],
        [f"tuned solo loop, one process a core; {sample} trials measured, scaled to {trials:,}", solo, "1"],
    ]
    rows = "".join(
        f"| {name} | {spread([t.wall for t in timings])} | {spread([t.cpu for t in timings])} | {ratio} |\n"
        for name, timings, ratio in sides
    )
    return f"""# Benchmarks

Made by `scripts/bench --rounds {len(tool)} --sample {sample} --write` on {today}: {platform.machine()}, {cores} cores,
no GPU; Python {platform.python_version()}, torch {torch.__version__}, thalweg {__version__}. Medians of
{len(tool)} rounds (smallest–largest), sides in turn (ABBA). A round counts only if both sides see the same
losses over the first {COMPARED_STEPS} steps of every sampled trial (rtol {RTOL:g}).

`coupling`, {trials:,} trainings:

| side | wall, s | user + sys, s | against the solo loop |
|---|---|---|---|
{rows}
The solo side is the best a plain script does here: data in memory, batches drawn beforehand, torch's fused
optimizers, no logging, no evaluation during training, start-up not counted. The tool's side counts everything,
the Python and torch start-up, probing, eleven evaluations a trial and the store included.

GPU: not measured.
"""


def main() -> None:
    """Run the rounds and print, or write, the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sample", type=int, default=96, help="trials that the solo side trains")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    options = parser.parse_args()
    from runner.config import Request, declare
    from runner.device import usable_cores
    from runner.study import expand

    members = expand(declare(Request(("coupling",))).study)
    trials = list({member.trial.id: member.trial for member in members}.values())
    sample = trials[:: max(1, len(trials) // options.sample)][: options.sample]
    cores, tool, solo = usable_cores(), [], []
    for number in range(options.rounds):
        results = {}
        for side in ("tool", "solo") if number % 2 == 0 else ("solo", "tool"):
            print(f"round {number + 1} of {options.rounds}: {side}", file=sys.stderr)
            with tempfile.TemporaryDirectory() as folder:
                args = (Path(folder), sample) if side == "tool" else (sample, cores)
                results[side] = (tool_round if side == "tool" else solo_round)(*args, len(trials))
        if not same_losses(results["tool"][1], results["solo"][1]):
            sys.exit("the two sides do not agree; this round does not count")
        tool.append(results["tool"][0])
        solo.append(results["solo"][0])
    text = table(tool, solo, len(trials), len(sample), cores)
    print(text)
    if options.write:
        (ROOT / "docs" / "benchmarks.md").write_text(text)


if __name__ == "__main__":
    main()

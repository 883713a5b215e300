"""The comparisons, one function each: they run their sides in turn and return a section of the document."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.files import write_files
from benchmarks.measure import COMPARED_STEPS, Run, ratios, rounds, spread
from benchmarks.sides import (
    child,
    fresh,
    plain,
    ray_lacks,
    solo_loops,
    through_python,
    through_the_command_line,
    under_ray,
)
from benchmarks.table import Figure, Section, lines_of, refused
from benchmarks.workloads import WORKLOADS, Workload, grid, trials_of

MLP = WORKLOADS[0]
SAFETY = "tracker=none"


@dataclass(frozen=True)
class Effort:
    """How much is measured: rounds of everything, and whether only a quick look is wanted."""

    rounds: int
    smoke: bool = False

    def least(self, whole: int, smoke: int) -> int:
        """A size: the whole one, or that of a quick look at whether everything works."""
        return smoke if self.smoke else whole


def coupling(effort: Effort) -> Section:
    """The README's main command against the same trials in tuned solo loops."""
    from thalweg.runner.machine.device import usable_cores

    words = ("smoke", "budget.steps=30", SAFETY) if effort.smoke else ("coupling", SAFETY)
    trials, cores = trials_of(words), usable_cores()
    sample = trials[:: max(1, len(trials) // effort.least(96, 4))][: effort.least(96, 4)]
    training = []

    def tool() -> Run:
        run, trained = through_the_command_line(words, sample)
        training.append(trained / cores)
        return run

    taken = rounds(
        effort.rounds,
        {
            "thalweg": tool,
            "solo": lambda: solo_loops(words, len(sample), len(trials), cores),
        },
    )
    command = f"`thalweg sweep {words[0]}`"
    return Section(
        "coupling",
        f"{command}, {len(trials):,} training runs",
        figures=[
            Figure(f"{command}: training, s", "≤ 45", training, most=45),
            Figure(f"{command}: from typing to answer, s", "≤ 60", [t.wall for t in taken["thalweg"]], most=60),
        ],
        rows=lines_of(
            taken,
            {
                "thalweg": f"{command}, from typing to answer",
                "solo": f"tuned solo loop, a process a core; {len(sample)} measured, scaled to {len(trials):,}",
            },
            against="solo",
        ),
        notes=[
            "The solo side is the best a plain script does here: data in memory, batches drawn beforehand, torch's "
            "fused optimizers, no logging, no evaluation during training, start-up not counted. The tool's side counts "
            "everything: start-up, probing, evaluations, the store. Training is the workers' time a core."
        ],
    )


def under_thalweg(words: Sequence[str]) -> Run:
    """A grid through the command line."""
    return through_the_command_line(words)[0]


def end_to_end(effort: Effort) -> Section:
    """A small and a larger grid from typing to the last result, against a script as written today."""
    figures, rows, notes = [], [], []
    lacking = ray_lacks()
    sizes = [(16, effort.least(300, 25), 3, 15), (64, 1000, 8, None)][: effort.least(2, 1)]
    for count, steps, over_plain, over_processes in sizes:
        words = (*grid(MLP, effort.least(count, 2), steps), SAFETY)
        trials = trials_of(words)
        with fresh() as files:
            write_files(files, trials[0])
            share, few = min(len(trials), 16), min(len(trials), effort.least(4, 1))
            sides: dict[str, Callable[[], Run]] = {
                "thalweg": partial(under_thalweg, words),
                "plain": partial(plain, trials, files, share, one_process=True),
            }
            if over_processes:
                sides["processes"] = partial(plain, trials, files, few, one_process=False)
            if over_processes and not lacking:
                sides["ray"] = partial(under_ray, trials, files)
            taken = rounds(effort.rounds, sides)
        what = f"MLP, {len(trials)} trials × {steps} steps"
        for side, against, goal in (
            ("plain", "Hydra -m", over_plain),
            ("processes", "a process a trial", over_processes),
        ):
            if goal:
                slower = ratios(taken[side], taken["thalweg"])
                figures.append(Figure(f"{what}: against {against}, ×", f"≥ {goal}", slower, goal))
        names = {
            "thalweg": f"{what}: `thalweg sweep`, every loss in the store",
            "plain": f"{what}: plain script, Hydra `-m`, W&B offline"
            + (f"; {share} measured, scaled" if share < len(trials) else ""),
            "processes": f"{what}: plain script, one process a trial; {few} measured, scaled",
            "ray": f"{what}: the same function under Ray Tune, a trial a core, a report a step",
        }
        rows += lines_of(taken, names, against="thalweg")
    if lacking:
        notes.append(f"Ray Tune: not measured ({lacking}); it takes `pip install 'ray[tune]'`.")
    rows += export_row(effort)
    return Section("end-to-end", "From typing to the last result", figures, rows, notes)


def export_row(effort: Effort) -> list[str]:
    """What writing W&B runs adds, timed apart: the same grid with and without the tracker."""
    words = grid(MLP, effort.least(16, 2), effort.least(300, 25))
    with_runs = (*words, "tracker=wandb", "tracker.project=bench")
    taken = rounds(
        effort.rounds,
        {
            "without": lambda: through_the_command_line((*words, SAFETY))[0],
            "with": lambda: through_the_command_line(with_runs)[0],
        },
    )
    return lines_of({"with": taken["with"]}, {"with": "the first of these with `tracker=wandb`"}, against=None)


def workers(effort: Effort) -> Section:
    """Two workers against one, a grid of which half diverges, and one trial alone: training only."""
    grown = (*grid(MLP, effort.least(128, 4), effort.least(1000, 60)), SAFETY)
    one, two = seconds_of(effort, (*grown, "launcher.workers=1"), (*grown, "launcher.workers=2"))
    figures = [Figure("two workers against one, ×", "≥ 1.55", divided(one, two), 1.55)]
    figures.append(diverging(effort))
    single = (*grid(MLP, 1, effort.least(10_000, 60)), SAFETY)
    seconds, loops = [], []
    for number in range(effort.rounds):
        for side in ("tool", "loop") if number % 2 == 0 else ("loop", "tool"):
            if side == "tool":
                seconds.append(through_python(single)["seconds"])
            else:
                loops.append(child("solo", "0", "1", "1", *single)[1]["timing"][0])
    what = "one trial through the tool against the solo loop, start-up apart, ×"
    figures.append(Figure(what, "≤ 1.1", divided(seconds, loops), most=1.1))
    return Section("workers", "Workers, divergence, one trial: training only", figures, [], [])


def diverging(effort: Effort) -> Figure:
    """A grid of which half diverges at about a tenth of its steps, against one of which none does."""
    count, steps = effort.least(64, 4), effort.least(2000, 100)
    ramp = (*MLP.words, "optimizer=sgd", "optimizer.momentum=0.9", f"budget.steps={steps}", f"schedule.warmup={steps}")
    ramp = (*ramp, "launcher.workers=1", "engine=vmap", "seed=0", "divergence.loss_factor=2", SAFETY)
    calm = f"optimizer.lr=0.001..0.01:{count}log"
    half = f"optimizer.lr=0.001..0.01:{count // 2}log,3.6..3.9:{count // 2}lin"
    full: list[float] = []
    some: list[float] = []
    shares: list[float] = []
    for number in range(effort.rounds):
        for rates in (calm, half) if number % 2 == 0 else (half, calm):
            said = through_python((*ramp, rates))
            (full if rates == calm else some).append(said["seconds"])
            if rates == half:
                shares += said["shares"]
                died = said["diverged"]
    at = f"{died} of {count} at {statistics.median(shares):.0%} of the steps" if shares else "none diverged"
    what = f"a grid of which half diverges ({at}) against the full one, ×"
    return Figure(what, "≤ 0.62", divided(some, full), most=0.62)


def steps(effort: Effort) -> Section:
    """Time of a trial's step in every executor against the tuned solo loop."""
    figures, rows, notes = [], [], []
    seconds = 0.01 if effort.smoke else 0.4
    for workload in WORKLOADS[: effort.least(len(WORKLOADS), 1)]:
        said = absent(workload)
        if said:
            notes.append(f"{workload.title}: not measured ({said}).")
            figures += step_figures(workload, {})
            continue
        widths = [str(width) for width in (workload.widths[1:3] if effort.smoke else workload.widths)]
        try:
            _, found = child("steps", str(effort.rounds), str(seconds), "cpu", workload.name, *widths)
        except SystemExit as error:  # its data cannot be had here, say
            notes.append(f"{workload.title}: not measured ({str(error).splitlines()[-1]}).")
            figures += step_figures(workload, {})
            continue
        figures += step_figures(workload, found)
        for width in widths:
            rows += step_rows(workload, width, found[width])
    return Section("steps", "Per trial-step against the tuned solo loop, one thread", figures, rows, notes, STEP_HEAD)


STEP_HEAD = "| workload | K | executor | µs per trial-step | times the solo loop's speed |\n|---|---|---|---|---|"


def absent(workload: Workload) -> str | None:
    """Why a workload cannot be measured here, or None."""
    return refused(lambda: trials_of(grid(workload, 1, COMPARED_STEPS)))


def gains(found: Mapping[str, dict[str, Any]], width: int, executors: Sequence[str]) -> list[float]:
    """How many times the solo loop's speed the best of some executors has, round by round."""
    seconds = found.get(str(width), {}).get("seconds", {})
    there = [seconds[name] for name in executors if name in seconds]
    best: list[float] = min(there, key=statistics.median, default=[])
    return divided(seconds["solo"], best) if best else []


def step_figures(workload: Workload, found: Mapping[str, dict[str, Any]]) -> list[Figure]:
    """The figures to reach that a workload's steps decide."""
    plain_ones, any_one = ("vmap", "traced"), ("loop", "vmap", "traced", "compiled")
    name, width = workload.title, workload.widths[-1]
    match workload.name:
        case "mlp":
            return [
                Figure(f"{name}: a step without compiling, K=32, ×", "≥ 2.3", gains(found, 32, plain_ones), 2.3),
                Figure(f"{name}: a compiled step, K=32, ×", "≥ 4.5", gains(found, 32, ("compiled",)), 4.5),
            ]
        case "cnn_groupnorm" | "cnn_batchnorm":
            measured = [each for each in (gains(found, lanes, any_one) for lanes in workload.widths) if each]
            fastest = max(measured, key=statistics.median, default=[])
            return [Figure(f"{name}: a step at its fastest K, ×", "≥ 1.3", fastest, 1.3)]
        case _:
            return [Figure(f"{name}: a step, K={width}, ×", "≥ 0.97", gains(found, width, any_one), 0.97)]


def step_rows(workload: Workload, width: str, found: Mapping[str, dict[str, Any]]) -> list[str]:
    """A row an executor; one that is absent says why."""
    solo = found["seconds"]["solo"]
    rows = []
    for name, taken in found["seconds"].items():
        gain = "1" if name == "solo" else spread(divided(solo, taken), 2)
        rows.append(f"| {workload.title} | {width} | {name} | {spread([s * 1e6 for s in taken])} | {gain} |")
    return rows + [f"| {workload.title} | {width} | {name} | – | {why} |" for name, why in found["absent"].items()]


def optimizer(effort: Effort) -> Section:
    """The optimizer's step alone against torch's fused AdamW on the same number of scalars."""
    figures, rows, notes = [], [], []
    for parameters, lanes in [(9000, 32), (110_000, 32)][: effort.least(2, 1)]:
        seconds = "0.3" if not effort.smoke else "0.01"
        _, found = child("steps", str(effort.rounds), seconds, "cpu", "optimizer", str(parameters), str(lanes))
        taken = found["seconds"]
        copy = statistics.median(taken["copy"])
        theirs = taken["torch fused"]
        ours = divided([s - copy for s in taken["ours"]], theirs)
        compiled = divided(taken.get("ours, compiled", []), theirs)
        what = f"optimizer step, {lanes} × {parameters:,} scalars"
        small = parameters == 9000
        figures += [
            Figure(f"{what}: against torch fused, ×", "≤ 3.5", ours, most=3.5),
            Figure(f"{what}: compiled, ×", "≤ 0.75" if small else "–", compiled, most=0.75 if small else None),
        ]
        rows += [
            f"| {what}: {name} | {spread([s * 1e6 for s in seconds])} |"
            for name, seconds in taken.items()
            if name != "copy"
        ]
        notes += [f"{what}, {name}: not measured ({why})." for name, why in found["absent"].items()]
    return Section("optimizer", "The optimizer alone", figures, rows, notes, "| side | µs |\n|---|---|")


PARTS: dict[str, Callable[[Effort], Section]] = {
    "coupling": coupling,
    "end-to-end": end_to_end,
    "workers": workers,
    "steps": steps,
    "optimizer": optimizer,
}


def seconds_of(effort: Effort, *sweeps: Sequence[str]) -> list[list[float]]:
    """Seconds of training of some sweeps, in turn."""
    taken: list[list[float]] = [[] for _ in sweeps]
    for number in range(effort.rounds):
        for place in range(len(sweeps)) if number % 2 == 0 else reversed(range(len(sweeps))):
            taken[place].append(through_python(sweeps[place])["seconds"])
    return taken


def divided(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Round by round."""
    return [a / b for a, b in zip(over, under, strict=False)]


def environment() -> str:
    """What it was measured with."""
    import datetime
    import platform

    import torch

    from thalweg.runner.base.version import __version__
    from thalweg.runner.machine.device import usable_cores

    today = datetime.datetime.now(datetime.UTC).date()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    load = os.getloadavg()[0]
    return (
        f"Measured on {today}: {platform.machine()}, {usable_cores()} cores, {gpu}; Python"
        f" {platform.python_version()}, torch {torch.__version__}, thalweg {__version__}; load before: {load:.1f}."
    )

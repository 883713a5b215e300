"""Where the time of a training step goes, operation by operation; `docs/profiling.md` says how to read it.

    scripts/profile model=mlp optimizer.lr=1e-4..1e-1:32log              # as an executor would train these 32 trials
    scripts/profile --executor loop --steps 20 --trace step.json …       # another; and a file for ui.perfetto.dev

The words are those of `thalweg sweep`, of one structure. One thread, as in a worker.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile, record_function

from thalweg.runner import page
from thalweg.runner.base.errors import ThalwegError
from thalweg.runner.engine.determinism import prepare
from thalweg.runner.engine.executors import EXECUTORS
from thalweg.runner.engine.inputs import Inputs
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.facts.choice import layout_for

if TYPE_CHECKING:
    from thalweg.runner.study.trial import Trial

LINES = 25
WARM = 5
"""Steps before the profile: the first is recorded or compiled."""


def main() -> None:
    """Profile the steps of what was typed, and print a table."""
    asked = arguments()
    prepare()
    trials = trials_of(asked.words)
    work, steps = steps_of(trials, asked.executor, asked.steps, torch.device(asked.device))
    cuda = asked.device != "cpu"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities, record_shapes=True) as measured, record_function("steps"):
        work()
    order = "self_device_time_total" if cuda else "self_cpu_time_total"
    print(measured.key_averages().table(sort_by=order, row_limit=LINES, max_name_column_width=48))
    print(f"{steps} steps of {len(trials)} trials, {asked.executor}, on {asked.device}")
    if asked.trace:
        measured.export_chrome_trace(asked.trace)


def arguments() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(prog="scripts/profile", description="Where the time of a training step goes.")
    parser.add_argument("--executor", choices=list(EXECUTORS), default="traced")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--trace", metavar="FILE", help="write a trace for ui.perfetto.dev")
    parser.add_argument("words", nargs="+", metavar="KEY=VALUE", help="as they follow thalweg sweep")
    return parser.parse_args()


def trials_of(words: Sequence[str]) -> Sequence[Trial]:
    """The trials that words declare. Leaves with a sentence if they are not of one structure."""
    try:
        groups = page.plan(page.declare(*words).study).groups
    except ThalwegError as error:
        sys.exit(f"scripts/profile: {error}")
    if len(groups) != 1:
        sys.exit(f"scripts/profile: these are {len(groups)} structures; a step is of one, so give less")
    return groups[0].trials


def steps_of(
    trials: Sequence[Trial], executor: str, steps: int, device: torch.device
) -> tuple[Callable[[], None], int]:
    """Steps after the first few, ready to be done, and how many they are."""
    workload = prepared(trials[0].config, device)
    inputs, lanes = Inputs(list(trials), layout_for(trials), workload), np.arange(len(trials))
    state, run = workload.start(list(trials)), EXECUTORS[executor]
    run(workload, state, inputs.block(0, WARM, lanes))
    last = min(trials[0].config.budget.steps, WARM + steps)
    block = inputs.block(WARM, last, lanes)

    def work() -> None:
        run(workload, state, block)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return work, last - WARM


if __name__ == "__main__":
    main()

"""Time of one trial's step in each executor against the tuned solo loop, and of the optimizer alone. One thread.

`python -m benchmarks.steps ROUNDS SECONDS DEVICE WORKLOAD K …` prints JSON: name -> seconds per trial-step, a round
each, the sides in turn. `python -m benchmarks.steps ROUNDS SECONDS DEVICE optimizer P K` does the same for the update.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.measure import COMPARED_STEPS, RTOL
from benchmarks.solo import Solo
from benchmarks.workloads import WORKLOADS, grid, trials_of
from thalweg.optim.adamw import AdamWRule
from thalweg.runner.engine.determinism import prepare
from thalweg.runner.engine.executors import EXECUTORS
from thalweg.runner.engine.inputs import Inputs
from thalweg.runner.engine.prepare import prepared
from thalweg.runner.engine.workload import Workload

if TYPE_CHECKING:
    from thalweg.runner.study.trial import Trial

Work = Callable[[int], object]
"""Takes so many steps."""
MOST_STEPS = 2000
COMPILED_AT = (1, 8, 32, 64, 256)


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def clocked(work: Work, steps: int, device: torch.device) -> float:
    """Seconds of one of `steps` steps."""
    wait(device)
    started = time.perf_counter()
    work(steps)
    wait(device)
    return (time.perf_counter() - started) / steps


def in_turn(
    sides: dict[str, tuple[Work, int]], rounds: int, seconds: float, device: torch.device
) -> dict[str, list[float]]:
    """Name -> seconds per trial-step, a round each. A side is its work and its number of trials.

    Each is run for about `seconds`, after a warm-up that also says how many steps that is.
    """
    steps = {}
    for name, (work, _) in sides.items():
        clocked(work, 3, device)
        steps[name] = min(MOST_STEPS, max(3, math.ceil(seconds / clocked(work, 5, device))))
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides) if number % 2 == 0 else reversed(list(sides)):
            work, lanes = sides[name]
            taken[name].append(clocked(work, steps[name], device) / lanes)
    return taken


def fused(name: str, workload: Workload, trials: list[Trial]) -> tuple[Work, list[list[float]]]:
    """An executor's work, and its first losses `[steps][K]` from the trials' first weights.

    The work goes on from wherever the state is, by the same batches again: what a step costs does not change.
    """
    lanes = np.arange(len(trials))
    inputs = Inputs(trials, "shared", workload)
    state = workload.start(trials)
    losses_TK = EXECUTORS[name](workload, state, inputs.block(0, COMPARED_STEPS, lanes))
    block = inputs.block(COMPARED_STEPS, COMPARED_STEPS + MOST_STEPS, lanes)

    def work(steps: int) -> None:
        part = replace(
            block, rows=block.rows[:steps], coefficients={n: c[:steps] for n, c in block.coefficients.items()}
        )
        EXECUTORS[name](workload, state, part)

    return work, losses_TK.cpu().tolist()


def compare(name: str, widths: list[int], rounds: int, seconds: float, device: torch.device) -> dict[str, object]:
    """Every executor at every width against the solo loop; an executor that cannot, or disagrees, says so."""
    described = next(each for each in WORKLOADS if each.name == name)
    words = grid(described, max(widths), COMPARED_STEPS + MOST_STEPS)
    trials = trials_of(words)
    workload = prepared(trials[0].config, device)
    solo = Solo.of(trials[0], device)
    expected = solo.train(COMPARED_STEPS)
    found: dict[str, object] = {"parameters": workload.layout.size}
    for lanes in widths:
        sides: dict[str, tuple[Work, int]] = {"solo": (lambda steps: void(solo.train(steps)), 1)}
        said = {}
        for executor in EXECUTORS:
            if executor == "graphed" and device.type != "cuda":
                continue
            if (executor == "loop" and lanes > 8) or (executor == "compiled" and lanes not in COMPILED_AT):
                continue  # a loop's time does not depend on the number of trials; compiling takes seconds a width
            try:
                work, losses = fused(executor, workload, trials[:lanes])
            except Exception as error:  # recorded: an executor may be absent here
                said[executor] = f"{type(error).__name__}: {str(error).splitlines()[0][:90]}"
                continue
            first = [row[0] for row in losses]
            if all(math.isclose(a, b, rel_tol=RTOL) for a, b in zip(first, expected, strict=True)):
                sides[executor] = (work, lanes)
            else:
                said[executor] = f"its losses differ from the solo loop's: {first[-1]:.6g}, {expected[-1]:.6g}"
        found[str(lanes)] = {"seconds": in_turn(sides, rounds, seconds, device), "absent": said}
    return found


def void(_: object) -> None:
    """Nothing, of whatever was computed."""


def optimizer(parameters: int, lanes: int, rounds: int, seconds: float, device: torch.device) -> dict[str, object]:
    """AdamW of K trials in place, plain and compiled, against torch's fused one on the same number of scalars."""
    rule = AdamWRule(decay="coupled", decay_order="before")
    shape = (lanes, parameters)
    theta, grad = torch.randn(shape, device=device), torch.randn(shape, device=device)
    slots = {name: torch.rand(shape, device=device) for name in rule.slots}
    hyper = {"lr": 1e-3, "weight_decay": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    numbers = rule.coefficients({n: np.full(lanes, v) for n, v in hyper.items()}, 1.0, 10)
    c = {n: torch.tensor(np.broadcast_to(v, (lanes,)).copy(), dtype=torch.float32)[:, None] for n, v in numbers.items()}
    c = {name: value.to(device) for name, value in c.items()}
    whole = torch.nn.Parameter(torch.randn(lanes * parameters, device=device))
    whole.grad = grad.flatten().clone()
    theirs = torch.optim.AdamW([whole], lr=1e-3, weight_decay=0.01, fused=True)

    def repeated(once: Callable[[], object]) -> Work:
        return lambda steps: [once() for _ in range(steps)]

    scratch = grad.clone()  # a rule overwrites its gradient: the time of the copy is taken off again
    sides = {
        "copy": (repeated(lambda: scratch.copy_(grad)), 1),
        "torch fused": (repeated(theirs.step), 1),
        "ours": (repeated(lambda: rule.update(theta, scratch.copy_(grad), slots, c)), 1),
    }
    absent = {}
    try:
        program = torch.compile(lambda: rule.update(theta, grad.clone(), slots, c), fullgraph=True)
        program()
        sides["ours, compiled"] = (repeated(program), 1)
    except Exception as error:  # recorded: no compiler here
        absent["ours, compiled"] = f"{type(error).__name__}: {str(error).splitlines()[0][:90]}"
    with torch.no_grad():
        return {"seconds": in_turn(sides, rounds, seconds, device), "absent": absent}


def main(rounds: str, seconds: str, device: str, name: str, *numbers: str) -> None:
    """Measure one workload, or the optimizer."""
    prepare()
    where, many, long = torch.device(device), int(rounds), float(seconds)
    widths = [int(number) for number in numbers]
    if name == "optimizer":
        parameters, lanes = widths
        found = optimizer(parameters, lanes, many, long, where)
    else:
        found = compare(name, widths, many, long, where)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])

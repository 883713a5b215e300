"""Seconds of whole process trees, rounds in turn, medians with smallest and largest. Knows no side."""

from __future__ import annotations

import math
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RTOL, COMPARED_STEPS = 1e-3, 20
"""Losses of the first steps are compared: later, high rates make rounding grow, whoever trains."""

Losses = Mapping[str, Sequence[float]]
"""Trial -> its first batch losses."""


@dataclass(frozen=True)
class Timing:
    """Seconds of one side in one round: wall, and user + sys of its whole process tree."""

    wall: float
    cpu: float

    def times(self, factor: float) -> Timing:
        """The same work, `factor` times as much of it."""
        return Timing(self.wall * factor, self.cpu * factor)


@dataclass(frozen=True)
class Run:
    """One side of one round: what it took, and the losses by which it is held against the others."""

    timing: Timing
    losses: Losses


def timed(command: Sequence[str], folder: Path, *paths: Path) -> tuple[Timing, str]:
    """Run a command in `folder` to its end; raises with its last words if it fails. Returns what it printed, too.

    Modules are looked up in `paths`, in the clone, and then where the user's own PYTHONPATH says.
    """
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("THALWEG_", "WANDB_"))}
    modules = [*map(str, paths), str(ROOT / "src"), *filter(None, [kept.get("PYTHONPATH")])]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**kept, "PYTHONPATH": os.pathsep.join(modules)},
        capture_output=True,
        text=True,
        check=False,
    )
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{' '.join(command[:6])} … ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return Timing(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime), done.stdout


def rounds(count: int, sides: Mapping[str, Callable[[], Run]]) -> dict[str, list[Timing]]:
    """Run all sides `count` times, every other time in reverse; only rounds in which the losses agree count."""
    counted: dict[str, list[Timing]] = {name: [] for name in sides}
    for number in range(count):
        results: dict[str, Run] = {}
        for name in list(sides) if number % 2 == 0 else reversed(list(sides)):
            print(f"  round {number + 1} of {count}: {name}", file=sys.stderr)
            results[name] = sides[name]()
        if same_losses([run.losses for run in results.values()]):
            for name, run in results.items():
                counted[name].append(run.timing)
        else:
            print("  the sides do not agree: this round does not count", file=sys.stderr)
    if count and not any(counted.values()):
        sys.exit("no round counted: the sides do not train the same thing")
    return counted


def same_losses(sides: Sequence[Losses]) -> bool:
    """Whether all sides saw the same first losses of every trial that several of them trained.

    Trials that nobody else trained are not compared; of a diverged one only what is finite is.
    """
    first, *others = sides
    for losses in others:
        for trial in first.keys() & losses.keys():
            pairs = list(zip(first[trial], losses[trial], strict=False))
            if not pairs or not all(math.isclose(a, b, rel_tol=RTOL) or not math.isfinite(a) for a, b in pairs):
                return False
    return all(first.keys() & losses.keys() for losses in others)


def ratios(over: Sequence[Timing], under: Sequence[Timing]) -> list[float]:
    """How many times longer the first took, round by round, by the clock."""
    return [a.wall / b.wall for a, b in zip(over, under, strict=True)]


def spread(values: Sequence[float], digits: int = 1, unit: str = "") -> str:
    """Median, and the smallest and largest, as text."""
    if not values:
        return "not measured"
    return f"{statistics.median(values):.{digits}f}{unit} ({min(values):.{digits}f}–{max(values):.{digits}f})"

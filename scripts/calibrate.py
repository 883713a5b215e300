"""How often the coupling's 95% intervals cover a known slope, and how often an open question is called open.

    scripts/calibrate --tables 500           # prints the tables of docs/analysis.md; minutes
    scripts/calibrate --tables 500 --write   # and puts them there

Every table is drawn from the seed of its case, so that the same call prints the same figures. tests/runner/analysis
runs a few tables of each case.
"""

from __future__ import annotations

import argparse
import os
import re
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thalweg.runner.analysis import Coupling, Results, coupling

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- calibration -->\n", "<!-- /calibration -->"
SLOPES = (-2.0, -1.0, -0.5, 0.0, 1.0)
LOW_LR, BEST_LR, BEST_WD, LEAST = 2.0**-8, 2.0**-3, 0.04, 0.64


@dataclass(frozen=True, kw_only=True)
class Case:
    """A kind of table. noise: standard deviation of one seed's log loss. width: log loss a decade off the ridge.

    grid: "along" the ridge (columns of constant product), "plain" (lr × wd), "oblique" (along lr·wd^½: neither), or
    "random". asymmetry: how much steeper the valley is above the ridge. off: decades that the ridge is moved by.
    diverged: decades above the ridge at which trials diverge. missing: share of trials that are not there.
    """

    name: str
    noise: float = 0.02
    seeds: int = 3
    rows: int = 12
    columns: int = 8
    step: float = 4.0
    rate_step: float = 2.0
    grid: str = "along"
    width: float = 0.12
    asymmetry: float = 0.0
    heavy: bool = False
    shared: float = 0.0
    off: float = 0.0
    diverged: float | None = None
    missing: float = 0.0
    trials: int = 200


KNOWN = (
    Case(name="along the ridge, noise 1%", noise=0.01),
    Case(name="along the ridge, noise 2%"),
    Case(name="along the ridge, noise 5%", noise=0.05),
    Case(name="along the ridge, noise 10%", noise=0.10),
    Case(name="heavy tails (Student's t, 3), 5%", noise=0.05, heavy=True),
    Case(name="noise 3% and 10% shared by a seed's trials", noise=0.03, shared=0.10),
    Case(name="valley steeper above, 3%", noise=0.03, asymmetry=0.6),
    Case(name="two seeds, 3%", noise=0.03, seeds=2),
    Case(name="one seed, 2%", seeds=1),
    Case(name="six rows of ×4, 3%", noise=0.03, rows=6, columns=6, rate_step=4.0),
    Case(name="columns of ×10, 3%", noise=0.03, columns=7, step=10.0),
    Case(name="rectangular lr × wd, 3%", noise=0.03, grid="plain", columns=10),
    Case(name="oblique grid, 3%", noise=0.03, grid="oblique", columns=10),
    Case(name="diverged 1.6 decades above, 3%", noise=0.03, diverged=1.6),
    Case(name="one trial in ten not there, 3%", noise=0.03, missing=0.10),
    Case(name="random search, 200 trials, 3%", noise=0.03, grid="random"),
)
"""Cases whose slope can be known."""

OPEN = (
    Case(name="loss does not depend on wd", width=0.0),
    Case(name="the same, one seed", width=0.0, seeds=1),
    Case(name="best below the grid", off=-3.5),
    Case(name="best above the grid", off=3.5),
    Case(name="diverged right above the ridge", diverged=0.2),
    Case(name="three rows", rows=3),
    Case(name="three columns", columns=3),
    Case(name="random search, no ridge", grid="random", width=0.0),
)
"""Cases that no analysis can answer."""


def table(case: Case, random: np.random.Generator, slope: float) -> Results:
    """One table of a case with a known slope; the ridge lies anywhere between two columns."""
    x, y = _design(case, random, slope)
    z = y - np.log10(BEST_WD) - slope * (x - np.log10(BEST_LR)) - case.off
    z -= random.uniform(-0.5, 0.5) * np.log10(case.step)
    valley = case.width * z**2 * (1 + case.asymmetry * np.tanh(z)) + 0.02 * (x - np.log10(BEST_LR)) ** 2
    shared = random.normal(0, case.shared, case.seeds)
    parts = []
    for seed in range(case.seeds):
        noise = random.standard_t(3, len(x)) / np.sqrt(3) if case.heavy else random.normal(size=len(x))
        parts.append(LEAST * np.exp(np.minimum(valley, 2.5) + case.noise * noise + shared[seed]))
    loss = np.concatenate(parts)
    if case.diverged is not None:
        loss[np.tile(z > case.diverged, case.seeds)] = np.nan
    there = random.random(len(loss)) >= case.missing
    lr, wd = (np.tile(10**axis, case.seeds) for axis in (x, y))
    seeds = np.repeat(np.arange(case.seeds), len(x))
    return Results(lr=lr[there], wd=wd[there], loss=loss[there], seed=seeds[there])


def _design(case: Case, random: np.random.Generator, slope: float) -> tuple[np.ndarray, np.ndarray]:
    """log10 lr and log10 wd of each point."""
    top = np.log10(LOW_LR) + (case.rows - 1) * np.log10(case.rate_step)
    if case.grid == "random":
        lr = random.uniform(np.log10(LOW_LR), top, case.trials)
        wide = 2.0 + abs(slope) * (top - np.log10(LOW_LR)) / 2
        middle = np.log10(BEST_WD) + slope * ((top + np.log10(LOW_LR)) / 2 - np.log10(BEST_LR))
        return lr, random.uniform(middle - wide, middle + wide, case.trials)
    exponent = {"along": slope, "plain": 0.0, "oblique": -0.5}[case.grid]
    lrs = np.log10(LOW_LR) + np.arange(case.rows) * np.log10(case.rate_step)
    columns = (np.arange(case.columns) - case.columns // 2) * np.log10(case.step)
    x, c = (axis.ravel() for axis in np.meshgrid(lrs, columns, indexing="ij"))
    return x, np.log10(BEST_WD) + c + exponent * (x - np.log10(BEST_LR))


def answers(case: Case, tables: int) -> list[tuple[float, Coupling]]:
    """(planted slope, answer) of so many tables."""
    random = np.random.default_rng(zlib.crc32(case.name.encode()))
    slopes = [float(random.choice(SLOPES)) for _ in range(tables)]
    return [(slope, coupling(table(case, random, slope))) for slope in slopes]


def known(case: Case, tables: int) -> str:
    """A line on a case whose slope can be known."""
    found = answers(case, tables)
    named = [(slope, each.slope) for slope, each in found if each.slope.estimate is not None]
    covered = [
        each.low <= slope <= each.high for slope, each in named if each.low is not None and each.high is not None
    ]
    error = [each.estimate - slope for slope, each in named if each.estimate is not None]
    wide = [each.high - each.low for _, each in named if each.low is not None and each.high is not None]
    rows, lost = np.mean([each.n for _, each in named]), 1 - len(named) / tables
    spread = f"{np.mean(error):+.3f} | {np.std(error):.3f} | {np.median(wide):.2f}"
    return f"| {case.name} | {np.mean(covered):.1%} | {spread} | {rows:.1f} | {lost:.1%} |"


def unknown(case: Case, tables: int) -> str:
    """A line on a case that has no answer."""
    found = answers(case, tables)
    right = np.mean([each.undetermined and each.slope.estimate is None for _, each in found])
    labels = [each.label.removeprefix("not identified: ") for _, each in found]
    said = max(set(labels), key=labels.count)
    return f"| {case.name} | {right:.1%} | {said} |"


def page(tables: int) -> str:
    """The two tables as Markdown."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        covered = list(pool.map(known, KNOWN, [tables] * len(KNOWN)))
        called = list(pool.map(unknown, OPEN, [tables] * len(OPEN)))
    return "\n".join(
        [
            f"Made by `scripts/calibrate --tables {tables} --write`; {tables} tables a line, planted slopes"
            f" {', '.join(f'{slope:g}' for slope in SLOPES)}.",
            "",
            "| tables | 95% interval covers | bias | standard deviation | width of interval | rows | not identified |",
            "|---|---|---|---|---|---|---|",
            *covered,
            "",
            "| tables without an answer | called not identified | reason given |",
            "|---|---|---|",
            *called,
            "",
        ]
    )


def main() -> None:
    """Print the tables, and write them into docs/analysis.md if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tables", type=int, default=500, help="synthetic tables of each kind")
    parser.add_argument("--write", action="store_true", help="write docs/analysis.md")
    options = parser.parse_args()
    made = page(options.tables)
    print(made)
    if options.write:
        file = ROOT / "docs" / "analysis.md"
        text = file.read_text(encoding="utf-8")
        replaced: Callable[[re.Match[str]], str] = lambda match: BEGIN + made + END  # noqa: E731
        file.write_text(re.sub(f"{BEGIN}.*?{END}", replaced, text, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()

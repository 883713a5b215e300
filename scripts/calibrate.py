"""How often the coupling's 95% intervals cover a known slope, and how often an open question is called open.

    scripts/calibrate --tables 500                   # prints the tables of docs/analysis.md; 5 minutes on two cores
    scripts/calibrate --tables 2000 --write          # and puts them there, as they stand
    scripts/calibrate --tables 2000 --cases random   # only the kinds whose name has this; with --write the others stay

Every table is drawn from the seed of its case, so that the same call prints the same figures. tests/runner/analysis
runs a few tables of each case.
"""

from __future__ import annotations

import argparse
import itertools
import os
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thalweg.runner.analysis import Coupling, Results, coupling
from thalweg.runner.show.numbers import count

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- calibration -->\n", "<!-- /calibration -->"
LOW_LR, BEST_WD, LEAST = 2.0**-8, 0.04, 0.64
PRINTED = 0.02
"""Width that no interval falls below: its ends are printed with two decimals."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A kind of table. noise: standard deviation of one seed's log loss. width: log loss a decade off the ridge.

    grid: "along" the ridge (columns of constant product), "plain" (lr × wd), "oblique" (along lr·wd^½: neither),
    "random" (in a box as tall as the ridge), or "box" (random in five decades of decay, whatever the slope).
    asymmetry: how much steeper the valley is above the ridge. tilt: log loss a decade of the rate off the best.
    off: decades that the ridge is moved by. best: log10 of the best rate. diverged: decades above the ridge at which
    trials diverge. corner: decades of lr·wd above the best at which they do. missing: share of trials that are not
    there. beside: how far a planted slope may lie beside one of `slopes`, in every other table.
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
    tilt: float = 0.02
    best: float = -0.9
    corner: float | None = None
    slopes: tuple[float, ...] = (-2.0, -1.0, -0.5, 0.0, 1.0)
    beside: float = 0.0


FIVE = (-2.0, -1.0, -0.5, 0.0, 0.5)
SURFACES: dict[str, dict[str, Any]] = {
    "shallow bowl": {},
    "steep bowl": {"width": 0.5, "tilt": 0.6},
    "best rate at the border": {"best": -2.4, "tilt": 0.1},
    "corner diverged": {"corner": 1.2, "tilt": 0.1},
    "separable": {"slopes": (0.0,), "beside": 0.0},
}
NOISES = {"no noise": 0.0, "noise 2%": 0.02, "noise 10%": 0.10}


def _kinds() -> Iterator[Case]:
    """Grids and random searches that know nothing of the slope: each surface with each noise, and other seeds."""
    for design, grid, columns in (("grid", "plain", 10), ("random", "box", 0)):
        for surface, changed in SURFACES.items():
            for said, noise in NOISES.items():
                shape: dict[str, Any] = {"asymmetry": 0.3, "beside": 0.1, "slopes": FIVE, **changed}
                shape |= {"grid": grid, "columns": columns, "noise": noise}
                counts = (1, 3, 5) if surface == "shallow bowl" else (3,)
                for seeds in counts:
                    name = f"{design}, {surface}, {said}, {count(seeds, 'seed')}"
                    yield Case(name=name, seeds=seeds, **shape)


KINDS = tuple(_kinds())
"""Designs that people make: whether their slope can be known depends on where it leads."""

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
    z = y - np.log10(BEST_WD) - slope * (x - case.best) - case.off
    z -= random.uniform(-0.5, 0.5) * np.log10(case.step)
    valley = case.width * z**2 * (1 + case.asymmetry * np.tanh(z)) + case.tilt * (x - case.best) ** 2
    shared = random.normal(0, case.shared, case.seeds)
    parts = []
    for seed in range(case.seeds):
        noise = random.standard_t(3, len(x)) / np.sqrt(3) if case.heavy else random.normal(size=len(x))
        parts.append(LEAST * np.exp(np.minimum(valley, 2.5) + case.noise * noise + shared[seed]))
    loss = np.concatenate(parts)
    if case.diverged is not None:
        loss[np.tile(z > case.diverged, case.seeds)] = np.nan
    if case.corner is not None:
        loss[np.tile(x + y > case.best + np.log10(BEST_WD) + case.corner, case.seeds)] = np.nan
    there = random.random(len(loss)) >= case.missing
    lr, wd = (np.tile(10**axis, case.seeds) for axis in (x, y))
    seeds = np.repeat(np.arange(case.seeds), len(x))
    return Results(lr=lr[there], wd=wd[there], loss=loss[there], seed=seeds[there])


def _design(case: Case, random: np.random.Generator, slope: float) -> tuple[np.ndarray, np.ndarray]:
    """log10 lr and log10 wd of each point."""
    top = np.log10(LOW_LR) + (case.rows - 1) * np.log10(case.rate_step)
    if case.grid in ("random", "box"):
        lr = random.uniform(np.log10(LOW_LR), top, case.trials)
        if case.grid == "box":
            return lr, np.log10(BEST_WD) + random.uniform(-2.5, 2.5, case.trials)
        wide = 2.0 + abs(slope) * (top - np.log10(LOW_LR)) / 2
        middle = np.log10(BEST_WD) + slope * ((top + np.log10(LOW_LR)) / 2 - case.best)
        return lr, random.uniform(middle - wide, middle + wide, case.trials)
    exponent = {"along": slope, "plain": 0.0, "oblique": -0.5}[case.grid]
    lrs = np.log10(LOW_LR) + np.arange(case.rows) * np.log10(case.rate_step)
    columns = (np.arange(case.columns) - case.columns // 2) * np.log10(case.step)
    x, c = (axis.ravel() for axis in np.meshgrid(lrs, columns, indexing="ij"))
    return x, np.log10(BEST_WD) + c + exponent * (x - case.best)


def answers(case: Case, tables: int) -> list[tuple[float, Coupling]]:
    """(planted slope, answer) of so many tables."""
    random = np.random.default_rng(zlib.crc32(case.name.encode()))
    slopes = [float(random.choice(case.slopes)) + at % 2 * random.uniform(-1, 1) * case.beside for at in range(tables)]
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
    if not named:
        return f"| {case.name} | {tables:,} | | | | | | | 100.0% |"
    rows, lost = np.mean([each.n for _, each in named]), 1 - len(named) / tables
    calibrated = max(2 * float(np.quantile(np.abs(error), 0.95)), PRINTED)
    spread = f"{np.mean(error):+.3f} | {np.std(error):.3f} | {np.median(wide):.2f} | {np.median(wide) / calibrated:.2f}"
    return f"| {case.name} | {tables:,} | {np.mean(covered):.1%} | {spread} | {rows:.1f} | {lost:.1%} |"


def unknown(case: Case, tables: int) -> str:
    """A line on a case that has no answer."""
    found = answers(case, tables)
    right = np.mean([each.undetermined and each.slope.estimate is None for _, each in found])
    labels = [each.label.removeprefix("not identified: ") for _, each in found]
    said = max(set(labels), key=labels.count)
    return f"| {case.name} | {tables:,} | {right:.1%} | {said} |"


def lines(tables: int, wanted: str, processes: int) -> dict[str, str]:
    """Name -> line of every kind whose name has `wanted`."""
    some = {case.name: case for case in (*KINDS, *KNOWN, *OPEN) if wanted in case.name}
    with ProcessPoolExecutor(processes) as pool:
        return dict(zip(some, pool.map(line, some.values(), itertools.repeat(tables)), strict=True))


def line(case: Case, tables: int) -> str:
    """A line on a case of either kind."""
    return (unknown if case in OPEN else known)(case, tables)


def page(made: Mapping[str, str]) -> str:
    """The two tables as Markdown, of the kinds that there is a line on."""
    return "\n".join(
        [
            "Made by `scripts/calibrate --write`; *n* tables a line.",
            "",
            "| tables | n | 95% interval covers | bias | standard deviation | median width | width / calibrated |"
            " rows | not identified |",
            "|---|---|---|---|---|---|---|---|---|",
            *(made[case.name] for case in (*KINDS, *KNOWN) if case.name in made),
            "",
            "| tables without an answer | n | called not identified | reason given |",
            "|---|---|---|---|",
            *(made[case.name] for case in OPEN if case.name in made),
            "",
        ]
    )


def main() -> None:
    """Print the tables, and write them into docs/analysis.md if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tables", type=int, default=500, help="synthetic tables of each kind")
    parser.add_argument("--cases", default="", help="only kinds whose name has this")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="that work beside each other")
    parser.add_argument("--write", action="store_true", help="write docs/analysis.md")
    options = parser.parse_args()
    made = lines(options.tables, options.cases, options.processes)
    print(page(made))
    if options.write:
        file = ROOT / "docs" / "analysis.md"
        before, _, rest = file.read_text(encoding="utf-8").partition(BEGIN)
        there, _, after = rest.partition(END)
        kept = {line.split("|")[1].strip(): line for line in there.splitlines() if line.startswith("| ")}
        file.write_text(before + BEGIN + page(kept | made) + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()

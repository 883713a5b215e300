"""Times sweeps with `engine=auto` against `engine=loop`, model by model: what choosing costs, and what it gains.

    scripts/bench --engines                       every row
    scripts/bench --engines LSTM wide             those whose name has one of these
    scripts/bench --engines --models FOLDER       models of your own: a folder with thalweg.yaml and rows.txt, of lines
                                                  name|words|trials|steps
    scripts/bench --engines --rounds 5            each so often; twice if not said

Whole commands, interleaved, the least of a few rounds: CPU seconds of all their processes, which other programs on the
machine hardly move, and seconds on the clock. `auto` should take no more than 1.05 of the loop's and a second.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NETS = ROOT / "scripts" / "benchmarks" / "engines" / "nets.py"
USUAL = "dataset=digits tracker=none launcher.workers=1 launcher.checkpoint_seconds=null optimizer.lr=1e-4..1e-2:{}log"
ENGINES = ("auto", "loop")
LIMIT = 600


@dataclass(frozen=True)
class Row:
    """A sweep: what it is called, its words, trials and steps."""

    name: str
    words: str
    trials: int
    steps: int

    def command(self, engine: str) -> list[str]:
        """What is typed."""
        usual = USUAL.format(self.trials) if self.trials > 1 else USUAL.partition(" optimizer.lr")[0]
        words = f"{self.words} {usual} budget.steps={self.steps} engine={engine}"
        return [str(ROOT / "scripts" / "thalweg"), "sweep", *words.split()]


def own(name: str, arguments: str, *sizes: tuple[int, int]) -> list[Row]:
    """Rows of a model of nets.py, one for each (trials, steps)."""
    words = " ".join([f"model=target model._target_=nets.{name}", *arguments.split()])
    return [Row(f"{' '.join([name, *arguments.split()])}, {n} × {steps:,}", words, n, steps) for n, steps in sizes]


ROWS = [
    *own("Narrow", "", (1, 600), (8, 10), (64, 600)),
    *own("Wide", "", (1, 10), (2, 10), (4, 100), (16, 300)),
    *own("Recurrent", "", (8, 10), (32, 300)),
    *own("Recurrent", "+model.cells=128", (16, 200)),
    *own("Recurrent", "+model.kind=GRU", (32, 300)),
    *own("Encoder", "", (4, 10), (16, 200)),
    *own("Encoder", "+model.width=256", (4, 20)),
    *own("Rotary", "", (4, 10), (16, 200)),
    *own("Gated", "", (4, 50), (16, 300)),
    *own("Gated", "+model.width=1024", (4, 100)),
    *own("Convolutions", "", (4, 10), (16, 100)),
    *own("Experts", "", (16, 200)),
    Row("resnet18, 2 × 4", "model=resnet18 precision=float64 budget.batch_size=8", 2, 4),
    Row("our mlp, 8 × 10", "model=mlp", 8, 10),
    Row("our mlp, 64 × 600", "model=mlp", 64, 600),
]


@dataclass(frozen=True)
class Taken:
    """CPU seconds and seconds of a command, the largest process's memory, and what it said of its choice."""

    cpu: float
    wall: float
    memory: float
    choice: str


def taken(row: Row, engine: str, folder: Path) -> Taken:
    """Run a row once, with a store of its own."""
    with tempfile.TemporaryDirectory() as store:
        started = time.monotonic()
        command = [*row.command(engine), "--store", f"{store}/s.sqlite"]
        with open(f"{store}/said", "w+") as said:
            process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said)
            _, status, used = os.wait4(process.pid, 0)
            wall = time.monotonic() - started
            said.seek(0)
            text = said.read()
    if status:
        return Taken(float("nan"), wall, 0.0, " ".join(text.split())[-160:])
    choices = [line.partition(": ")[2] for line in text.splitlines() if f": {engine}" in line or ": " in line]
    known = ("loop,", "traced,", "compiled,", "graphed,", "vmap,")
    choice = next((each for each in reversed(choices) if each.startswith(known)), "")
    return Taken(used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 2**20, choice)


def main() -> None:
    """Print a line a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--models", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = options.models or Path(made)
        rows = ROWS
        if options.models:
            parts = [line.split("|") for line in (folder / "rows.txt").read_text().splitlines() if line.strip()]
            rows = [Row(name, words, int(trials), int(steps)) for name, words, trials, steps in parts]
        else:
            shutil.copy(NETS, folder)
            (folder / "thalweg.yaml").write_text("code: [nets]\n")
        print("| sweep | auto, CPU s | loop, CPU s | ratio | wall s | GiB | within | choice |")
        print("|---" * 8 + "|")
        for row in rows:
            if options.names and not any(name.lower() in row.name.lower() for name in options.names):
                continue
            print(line_of(row, folder, options.rounds), flush=True)


def line_of(row: Row, folder: Path, rounds: int) -> str:
    """A row of the table."""
    runs: dict[str, list[Taken]] = {engine: [] for engine in ENGINES}
    for _ in range(rounds):
        for engine in ENGINES:
            runs[engine].append(taken(row, engine, folder))
    auto, loop = (min(runs[engine], key=lambda each: each.cpu) for engine in ENGINES)
    within = "yes" if auto.cpu <= 1.05 * loop.cpu + 1 else "NO"
    seconds = f"{auto.cpu:.1f} | {loop.cpu:.1f} | {loop.cpu / auto.cpu:.2f}× | {auto.wall:.1f} / {loop.wall:.1f}"
    return f"| {row.name} | {seconds} | {auto.memory:.1f} / {loop.memory:.1f} | {within} | {auto.choice} |"


if __name__ == "__main__":
    main()

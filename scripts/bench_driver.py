"""What the driver and the store cost where training costs nothing: a thousand slots that answer at once.

    scripts/bench --driver 100000 [--slots 1000] [--width 64] [--shares 1000]

Times are CPU seconds of this process, and by the clock, which waits for the disk too. A slot's answer has a weight
hash, metrics and two series, as a short trial's has. Memory is what this process holds, plan included, and while it
trains that at each tenth of the trials. With --shares, what the first of so many shares costs besides, as a job of
Slurm has it, and its way into the store of the whole.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from thalweg.runner import page
from thalweg.runner.base.signals import Signals
from thalweg.runner.config import Declaration
from thalweg.runner.facts.choice import Choice
from thalweg.runner.facts.observation import Observations, Outcome, Series
from thalweg.runner.planning.shard import Shard
from thalweg.runner.store import Store
from thalweg.runner.train.driver import Silent
from thalweg.runner.train.messages import Ask, Chosen, Event, Hello, Progress, Ready, Trained, Work

ROUND = 64
"""Answers that are heard at once, as from pipes that are read in turn."""


class Idle:
    """A backend whose slots are done with a piece of work when they are given it."""

    signals: Signals | None = None
    sharing = 1
    open = True

    def __init__(self, slots: int, width: int) -> None:
        self.size, self.width = slots, width
        self.said: deque[tuple[Hashable, Event]] = deque()
        steps = np.arange(0, 300, 30)
        self.series = {name: Series(steps, np.linspace(2, 1, 10)) for name in ("train/loss", "val/loss")}

    def ahead(self) -> None:
        """Nothing takes long here."""

    def fill(self, busy: int, say: Callable[[str], None]) -> Hello:
        self.said.extend((slot, Ready()) for slot in range(self.size))
        return Hello("cpu", "none", {"torch": "none"})

    def hear(self) -> Iterator[tuple[Hashable, Event]]:
        for _ in range(min(ROUND, len(self.said))):
            yield self.said.popleft()

    def give(self, slot: Hashable, work: Work) -> None:
        if isinstance(work, Ask):
            self.said.append((slot, Chosen(work.group_id, Choice("vmap", work.layout, self.width, "no training"))))
            return
        self.said.append((slot, Progress(len(work.trials) * 300, 0)))
        self.said.append((slot, Trained(tuple(map(self._observed, (trial.id for trial in work.trials))), 2**30)))

    def _observed(self, trial_id: str) -> Observations:
        return Observations(
            trial_id=trial_id,
            outcome=Outcome.FINISHED,
            metrics={"val/loss": 1.0, "val/accuracy": 0.5, "train/loss": 0.9},
            series=self.series,
            weight_hash=trial_id,
        )

    def replace(self, slot: Hashable) -> None:
        self.said.append((slot, Ready()))

    def close(self) -> None:
        self.said.clear()


class Watched(Silent):
    """Notes how much memory is held at each tenth of the trials."""

    def __init__(self, trials: int) -> None:
        self.trials, self.seen = trials, [memory()]

    def progress(self, done: int, diverged: int, failed: int, fraction: float, best: float | None) -> None:
        if done * 10 >= len(self.seen) * self.trials:
            self.seen.append(memory())


class Clock:
    """Seconds of CPU and by the clock since it was last asked."""

    def __init__(self) -> None:
        self.asked = (time.process_time(), time.perf_counter())

    def took(self) -> tuple[float, float]:
        before, self.asked = self.asked, (time.process_time(), time.perf_counter())
        return self.asked[0] - before[0], self.asked[1] - before[1]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--driver", type=int, metavar="TRIALS", default=100_000)
    asked.add_argument("--slots", type=int, default=1000)
    asked.add_argument("--width", type=int, default=64)
    asked.add_argument("--shares", type=int)
    given = asked.parse_args()
    rates = max(1, given.driver // 100)
    words = (f"optimizer.lr=1e-5..1:{rates}log", "seed=0..99", "study.name=large", "tracker=none")
    before, clock = memory(), Clock()
    declared = page.declare(*words)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.sqlite"
        measure(declared, path, given, before, clock)
        sys.stdout.write(
            f"store {size_of(path) / 2**20:,.0f} MiB, {size_of(path) / declared.study.size:,.0f} bytes a trial\n"
        )


def measure(declared: Declaration, path: Path, given: argparse.Namespace, before: float, clock: Clock) -> None:
    """Plan, record, and train without training; say what each took."""
    with Store.open(path, "write") as store:
        made = page.plan(declared.study, store)
        trials = made.to_train
        tell("plan", clock, f"{memory() - before:7,.0f} MiB  {(memory() - before) * 1024 / trials:.1f} KiB a trial")
        page.record(made, store)
        tell("record", clock, f"{size_of(store.path) / trials:,.0f} bytes a trial")
        if given.shares:
            share(declared, store, Shard(1, given.shares), Idle(1, given.width))
            clock.took()
            made = page.plan(declared.study, store)
            trials = made.to_train
            tell("again", clock, f"{trials:,} trials are left")
        watched = Watched(trials)
        result = page.train(made, store, declared.settings, watched, Idle(given.slots, given.width))
        seconds = tell("train", clock, "MiB " + " ".join(f"{each:,.0f}" for each in watched.seen))
    assert result.finished == trials, result
    sys.stdout.write(f"{trials:,} trials, {given.slots:,} slots, cohorts of {given.width} at most\n")
    sys.stdout.write(f"{trials / seconds[0]:,.0f} trials a second of CPU, {trials / seconds[1]:,.0f} by the clock\n")


def share(declared: Declaration, whole: Store, shard: Shard, slots: Idle) -> None:
    """Train one share into a store of its own, and take it into the whole."""
    clock = Clock()
    with Store.open(shard.store(whole.path), "write") as own:
        made = page.share(declared.study, shard, own, whole)
        tell("share", clock, f"{made.to_train:,} of the trials, planned")
        page.record(made, own)
        tell("", clock, "recorded")
        page.train(made, own, declared.settings, Silent(), slots)
    tell("", clock, f"trained; {size_of(own.path) / 2**20:.1f} MiB")
    with Store.open(own.path) as own:
        merged = whole.merge(own)
    tell("", clock, f"merged {merged.trials:,}")


def tell(what: str, clock: Clock, more: str) -> tuple[float, float]:
    cpu, wall = clock.took()
    sys.stdout.write(f"{what:7} {cpu:6.1f} s CPU {wall:6.1f} s  {more}\n")
    sys.stdout.flush()
    return cpu, wall


def size_of(store: Path) -> int:
    """Bytes of a store, with what is not folded into it yet."""
    return sum(each.stat().st_size for each in store.parent.glob(f"{store.name}*"))


def memory() -> float:
    """What this process holds, in MiB; where that is not to be read, the most that it has held."""
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    main()

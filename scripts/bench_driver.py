"""What the driver and the store cost where training costs nothing: a thousand slots that answer at once.

    scripts/bench --driver 100000 [--slots 1000] [--width 64]

Times are CPU seconds of this process, which waits for nobody. A slot's answer has a weight hash, metrics and two
series, as a short trial's has. Memory is that of this process, plan included.
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
from pathlib import Path

import numpy as np

from thalweg.runner import page
from thalweg.runner.base.signals import Signals
from thalweg.runner.facts.choice import Choice
from thalweg.runner.facts.observation import Observations, Outcome, Series
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


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--driver", type=int, metavar="TRIALS", default=100_000)
    asked.add_argument("--slots", type=int, default=1000)
    asked.add_argument("--width", type=int, default=64)
    given = asked.parse_args()
    rates = max(1, given.driver // 100)
    words = (f"optimizer.lr=1e-5..1:{rates}log", "seed=0..99", "study.name=large", "tracker=none")
    began = time.process_time()
    declared = page.declare(*words)
    with tempfile.TemporaryDirectory() as folder, Store.open(Path(folder) / "s.sqlite", "write") as store:
        made = page.plan(declared.study, store)
        planned, before = time.process_time(), memory()
        page.record(made, store)
        recorded = time.process_time()
        result = page.train(made, store, declared.settings, Silent(), Idle(given.slots, given.width))
        ended = time.process_time()
        size = store.path.stat().st_size
    trials = made.to_train
    assert result.finished == trials, result
    lines = (
        f"{trials:,} trials, {given.slots:,} slots, cohorts of {given.width}",
        f"plan     {planned - began:6.1f} s  {before:7,.0f} MiB",
        f"record   {recorded - planned:6.1f} s",
        f"train    {ended - recorded:6.1f} s  {memory():7,.0f} MiB  {trials / (ended - recorded):,.0f} trials a second",
        f"store    {size / 2**20:6,.0f} MiB  {size / trials:,.0f} bytes a trial",
    )
    sys.stdout.write("\n".join(lines) + "\n")


def memory() -> float:
    """The most that this process has held, in MiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    main()

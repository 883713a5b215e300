"""A sweep through thalweg's own Python, which says when its training began: `python -m benchmarks.through STORE WORDS`.

Prints, as JSON, the seconds from the first word of a worker about its work to the last commit, what the executor was,
how many trials ended how, and at which share of their steps the diverged ones stopped.
"""

from __future__ import annotations

import json
import sys
import time

from thalweg.runner import page
from thalweg.runner.store import Store
from thalweg.runner.train.driver import Listener


class Clock(Listener):
    """Hears a sweep, and remembers when training began."""

    def __init__(self) -> None:
        self.began: float | None = None
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """What a worker chose: training begins."""
        self.began = self.began or time.perf_counter()
        self.notes.append(text)

    def training(self, trial_id: str) -> None:
        """Trials begin to train."""

    def progress(self, done: int, diverged: int, failed: int, fraction: float, best: float | None) -> None:
        """How far it is."""
        self.began = self.began or time.perf_counter()


def main(path: str, words: list[str]) -> None:
    """Sweep what the words declare into a new store."""
    declared, clock = page.declare(*words, "tracker=none"), Clock()
    with Store.open(path, "write") as store:
        result = page.sweep(page.plan(declared.study, store), store, declared.settings, clock)
        ended = time.perf_counter()
        rows = store.export_rows()
    shares = [row.diverged_step / row.config["budget"]["steps"] for row in rows if row.diverged_step is not None]
    said = {
        "seconds": ended - (clock.began or ended),
        "finished": result.finished,
        "diverged": result.diverged,
        "failed": result.failed,
        "shares": sorted(shares),
        "notes": clock.notes,
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])

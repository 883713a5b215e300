"""Training through Ray against local workers, in turn: two of each, which are up before the clock starts.

    scripts/bench --ray [--repeats 4] [STUDY AND WORDS]

Each repeat is a store of its own, trained by the same workers as those before it. The first of each kind is not
counted: it is when they load data and prepare programs. Ray's own processes share the machine with the workers. Ray
gives way to all else on a busy machine (niceness 15), which is switched off here.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import geometric_mean

from thalweg.runner import page
from thalweg.runner.base.signals import Signals
from thalweg.runner.store import Store
from thalweg.runner.train.driver import Backend, Silent, backend_of
from thalweg.runner.train.messages import Event, Hello, Ready, Slot, Work
from thalweg.runner.train.pool import Pool

WORDS = ("coupling", "seed=0", "engine=traced")
"""864 trials of 600 steps, in 16 cohorts; the executor is given, so that nothing is probed."""
WORKERS = 2


class Warm:
    """A backend whose slots stay open from one sweep to the next."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.hello = backend.fill(WORKERS, lambda text: None)
        self.slots: list[Slot] = []
        while len(self.slots) < WORKERS:
            self.slots += [slot for slot, event in backend.hear() if isinstance(event, Ready)]
        self.size, self.sharing = backend.size, backend.sharing
        self.ready: deque[Slot] = deque()
        self.signals: Signals | None = None

    @property
    def open(self) -> bool:
        return self.backend.open

    def ahead(self) -> None:
        """They are up."""

    def fill(self, busy: int, say: Callable[[str], None]) -> Hello:
        self.ready.extend(self.slots)
        return self.hello

    def hear(self) -> Iterator[tuple[Slot, Event]]:
        while self.ready:
            yield self.ready.popleft(), Ready()
        yield from self.backend.hear()

    def give(self, slot: Slot, work: Work) -> None:
        self.backend.give(slot, work)

    def replace(self, slot: Slot) -> None:
        raise RuntimeError(f"{slot} was lost")

    def close(self) -> None:
        """They stay."""


def main() -> None:
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  (so Ray has it)
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--ray", action="store_true")
    asked.add_argument("--repeats", type=int, default=4)
    asked.add_argument("words", nargs="*", default=WORDS)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder, Pool() as pool:
        numbers = count()

        def trained(kind: str, backend: Backend) -> float:
            """Seconds of one sweep, from its first order to its last commit."""
            declared = page.declare(*given.words, *words_of(kind), "tracker=none")
            with Store.open(Path(folder) / f"{next(numbers)}.sqlite", "write") as store:
                made = page.plan(declared.study, store)
                page.record(made, store)
                began = time.perf_counter()
                result = page.train(made, store, declared.settings, Silent(), backend)
                seconds = time.perf_counter() - began
            assert result.finished + result.diverged == made.to_train, result
            return seconds

        real = {kind: backend_of(page.declare(*given.words, *words_of(kind)).settings, pool) for kind in KINDS}
        try:
            warm = {kind: Warm(backend) for kind, backend in real.items()}
            for kind, backend in warm.items():
                trained(kind, backend)
            ratios = []
            for _ in range(given.repeats):
                local, ray = (trained(kind, backend) for kind, backend in warm.items())
                ratios.append(ray / local)
                sys.stdout.write(f"local {local:6.2f} s   ray {ray:6.2f} s   ratio {ray / local:.3f}\n")
                sys.stdout.flush()
        finally:
            for each in real.values():
                each.close()
    spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
    sys.stdout.write(f"ray takes {geometric_mean(ratios):.3f} times as long ({spread}, {len(ratios)} pairs)\n")


KINDS = ("local", "ray")


def words_of(kind: str) -> tuple[str, ...]:
    return f"launcher={kind}", f"launcher.workers={WORKERS}"


if __name__ == "__main__":
    main()

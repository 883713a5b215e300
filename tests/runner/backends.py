"""A backend for tests: slots that do their work in this process, one after another, always in the same order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field

from thalweg.runner.base.signals import Signals
from thalweg.runner.train.messages import Event, Hello, Lost, Ready, Work

CPU = Hello("cpu", "x86_64", {"torch": "2.0"})


class Died(Exception):  # noqa: N818
    """Raised by who does a piece of work, to end the slot with an exit code."""

    def __init__(self, code: int = -11) -> None:
        self.code = code


@dataclass(eq=False)
class Slot:
    """A slot and what it was given."""

    waiting: deque[Work | None] = field(default_factory=lambda: deque([None]))


class InProcess:
    """`do` yields what a slot says of a piece of work, the last of it its end. A round lets each slot do one.

    before_round: called before each, with the number of the round; it may raise KeyboardInterrupt.
    """

    signals: Signals | None = None
    sharing = 1

    def __init__(
        self,
        do: Callable[[Work], Iterator[Event]],
        size: int = 1,
        hello: Hello = CPU,
        before_round: Callable[[int], None] = lambda number: None,
    ) -> None:
        self.do, self.size, self.hello, self.before_round = do, size, hello, before_round
        self.slots: list[Slot] = []
        self.rounds = 0

    def ahead(self) -> None:
        """Nothing takes long here."""

    @property
    def open(self) -> bool:
        return bool(self.slots)

    def fill(self, busy: int, say: Callable[[str], None]) -> Hello:
        self.slots = [Slot() for _ in range(self.size)]
        return self.hello

    def hear(self) -> Iterator[tuple[Slot, Event]]:
        self.rounds += 1
        self.before_round(self.rounds)
        speaking = [slot for slot in self.slots if slot.waiting]
        if not speaking:
            time.sleep(0.01)
        for slot in speaking:
            work = slot.waiting.popleft()
            if work is None:
                yield slot, Ready()
                continue
            try:
                for event in self.do(work):
                    yield slot, event
            except Died as death:
                self.slots.remove(slot)
                yield slot, Lost(death.code)

    def give(self, slot: Hashable, work: Work) -> None:
        assert isinstance(slot, Slot)
        slot.waiting.append(work)

    def replace(self, slot: Hashable) -> None:
        self.slots.append(Slot())

    def close(self) -> None:
        self.slots.clear()

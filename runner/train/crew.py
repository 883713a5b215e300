"""The workers of one sweep: how many, on which devices, and what becomes of a device that cannot be used.

| engine.device            | workers                                | a device that cannot be used               |
|--------------------------|----------------------------------------|--------------------------------------------|
| auto                     | one a GPU, without a GPU one a core    | said aloud; the CPU if it is the first     |
| cpu                      | one a core                             |                                            |
| cuda, mps                | one a GPU                              | first: refused; another: said aloud, fewer |
| cuda:0,cuda:1 or cpu,cpu | one an entry                           | refused                                    |

`launcher.workers` overrules the number; devices are then given in turn. What is refused is refused by `require`, before
anything is written. Knows neither trials nor store.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from typing import Self

from thalweg.runner.base.errors import SetupError
from thalweg.runner.base.signals import Signals
from thalweg.runner.machine.device import nvidia_present, usable_cores
from thalweg.runner.study.settings import Settings
from thalweg.runner.train import silence
from thalweg.runner.train.messages import (
    Event,
    Hello,
    Lost,
    Note,
    Ready,
    Said,
    Slot,
    Work,
)
from thalweg.runner.train.pool import Pool, Worker
from thalweg.runner.train.silence import Silence

DOCTOR = "see: thalweg doctor"


class Crew:
    """Processes of a pool on the devices that the settings name.

    `hello` is that of the first worker, whose device and versions stand for all; `size` the number of workers wanted,
    `sharing` how many of them share a device at most.
    """

    def __init__(self, settings: Settings, pool: Pool) -> None:
        self.devices = settings.engine.device
        self.asked = settings.launcher.workers
        self.pool = pool
        self.signals: Signals | None = None  # held back while a sweep hears the workers
        self.hello: Hello | None = None
        self.size = self.sharing = 1
        self._welcome: list[Worker] = []  # said hello, and are not announced as ready yet
        self._silence = Silence(f"; where each is: kill -USR1 {os.getpid()}")

    def require(self) -> Self:
        """Start, and wait for, the workers on devices that were asked for by name. Raises SetupError without them."""
        named = [device for device in self.devices if device not in ("auto", "cpu")]
        if any(device.startswith("cuda") for device in named) and not nvidia_present():
            raise _refusal(self.devices, "this machine shows no NVIDIA device")
        for worker in [self.pool.start(device) for device in list(dict.fromkeys(named))[: self.asked]]:
            hello = self._wait_for(worker)
            if hello.complaint:
                raise _refusal(self.devices, hello.complaint)
            self.hello = self.hello or hello
        return self

    def ahead(self) -> None:
        """Start the first worker before its device is known."""
        self.pool.ahead()

    @property
    def open(self) -> bool:
        """Whether there is a worker, ready or not."""
        return bool(self.pool.workers)

    def fill(self, busy: int, say: Callable[[str], None]) -> Hello:
        """Start the workers that are still to be started, `busy` at most unless a number was asked for.

        Where a GPU may be, the first worker says so before the others start. Returns the first one's hello.
        """
        if self.hello is None and (self.devices[0] == "cpu" or not nvidia_present()):
            devices = list(self.devices) if len(self.devices) > 1 else ["cpu"] * usable_cores()
            self._start(devices, busy)
            self.hello = self._wait_for(self.pool.workers[0])
            return self.hello
        hello = self.hello or self._wait_for(self.pool.start("auto"))
        if hello.complaint:
            say(f"NOT USING THE GPU: {hello.complaint}")
        self.hello = hello
        self._start(self._others(hello), busy)
        return hello

    def _others(self, hello: Hello) -> list[str]:
        """The devices of all workers, the first one's in front."""
        if len(self.devices) > 1 or ":" in self.devices[0]:
            return list(self.devices)
        if hello.device.startswith("cuda"):
            return [f"cuda:{number}" for number in range(hello.devices)]
        return [hello.device] * (usable_cores() if hello.device == "cpu" else 1)

    def _start(self, devices: list[str], busy: int) -> None:
        """Start workers on the devices in turn until there are as many as asked for, or as find work."""
        self.size = self.asked or max(1, min(len(devices), busy))
        wanted = list(islice(cycle(devices), self.size))
        self.sharing = max(Counter(wanted).values())
        for there in self.pool.workers:  # started by `require`, or the first one
            device = there.hello.device if there.hello and there.wanted in ("auto", "cuda") else there.wanted
            if device in wanted:
                wanted.remove(device)
        for device in wanted:
            self.pool.start(device)

    def hear(self) -> Iterator[tuple[Worker, Event]]:
        """Wait for what workers say, and yield it; a Ctrl-C that was held back is raised after it.

        Raises SetupError when the last one ended before it was ready: another would end the same way.
        """
        if self._welcome:
            while self._welcome:
                yield self._welcome.pop(0), Ready()
            return
        for speaker, said in self._heard():
            heard = self._lost(speaker) if said is None else said
            self._silence.heard(speaker, heard)
            if isinstance(heard, Hello):
                yield from self._greeted(speaker, heard)
            else:
                yield speaker, heard
        if (note := self._silence.note()) and self.pool.workers:
            yield self.pool.workers[0], note

    def _heard(self) -> Iterator[tuple[Worker, Said | None]]:
        yield from self.pool.hear(self.signals.waker if self.signals else None)
        if self.signals:
            self.signals.release()

    def _wait_for(self, worker: Worker) -> Hello:
        began = time.monotonic()
        while worker.hello is None:
            if worker not in self.pool.workers:
                code = worker.process.exitcode
                raise SetupError(f"a worker process ended with code {code} before it was ready", DOCTOR)
            if time.monotonic() - began >= silence.SILENT_SECONDS:
                raise SetupError(f"a worker process was not ready after {silence.SILENT_SECONDS:.0f} s", DOCTOR)
            for speaker, said in self._heard():
                if isinstance(said, Hello):
                    speaker.hello = said
                    self._welcome.append(speaker)
        return worker.hello

    def _lost(self, dead: Worker) -> Lost:
        code = dead.process.exitcode
        if dead.hello is None and not self.pool.workers:
            raise SetupError(f"every worker process ended before it was ready, the last with code {code}", DOCTOR)
        return Lost(code or 0)

    def _greeted(self, speaker: Worker, hello: Hello) -> Iterator[tuple[Worker, Event]]:
        """Take a later worker in; one whose device cannot be used is let go, aloud, and not replaced by a CPU."""
        speaker.hello = hello
        if hello.complaint and speaker.wanted != "auto":
            yield speaker, Note(f"NOT USING {speaker.wanted}: {hello.complaint}")
            self.pool.dismiss(speaker)
            return
        if self.hello and hello.device_name != self.hello.device_name:
            other = f"{speaker.wanted} is {hello.device_name}, not {self.hello.device_name}"
            yield speaker, Note(f"{other}: bits may differ")
        yield speaker, Ready()

    def give(self, slot: Slot, work: Work) -> None:
        """Start a piece of work on a worker that has none. One that died meanwhile is found by the next `hear`."""
        assert isinstance(slot, Worker)
        self._silence.given(slot)
        slot.give(work)

    def replace(self, slot: Slot) -> None:
        """Start another worker on the device of one that died."""
        assert isinstance(slot, Worker)
        self.pool.start(slot.hello.device if slot.hello else slot.wanted)

    def close(self) -> None:
        """End every worker, at once."""
        self.pool.close()


def _refusal(devices: tuple[str, ...], complaint: str) -> SetupError:
    return SetupError(f"engine.device={','.join(devices)}: {complaint}", f"use engine.device=cpu, or {DOCTOR}")

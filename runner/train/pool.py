"""The driver's side of the worker processes: starting them, hearing from them, noticing their death.

Decides nothing about trials.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from socket import socket
from typing import cast

from thalweg.runner.base import log
from thalweg.runner.base.child import spawned
from thalweg.runner.train import messages, worker

STOP_SECONDS = 1.0
BREATH_SECONDS = 1.0


@dataclass(eq=False)
class Worker:
    """One process and its pipe."""

    process: SpawnProcess
    pipe: Connection
    wanted: str = ""  # the device it is to train on, once it has been told
    hello: messages.Hello | None = None

    def __str__(self) -> str:
        return f"{self.process.pid}"

    def give(self, work: messages.Work) -> None:
        """Send it a piece of work. One that died meanwhile is found by the next `hear`."""
        self._send(work)

    def begin(self, device: str) -> None:
        """Tell it which device to train on."""
        self.wanted = device
        self._send(device)

    def _send(self, message: messages.Work | str) -> None:
        try:
            self.pipe.send(message)
        except (BrokenPipeError, ConnectionResetError):
            return


class Pool:
    """Worker processes of this driver. Use as a context: none outlives it."""

    def __init__(self) -> None:
        self.workers: list[Worker] = []
        self._ahead: Worker | None = None

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def ahead(self) -> None:
        """Start the first worker before its device is known: importing torch takes it longer than all else here."""
        if not self.workers and self._ahead is None:
            self._ahead = self._spawned()

    def start(self, device: str) -> Worker:
        """Start a worker that will train on `device` ("auto", "cpu", "mps", "cuda[:n]")."""
        started, self._ahead = self._ahead or self._spawned(), None
        self.workers.append(started)
        started.begin(device)
        return started

    def _spawned(self) -> Worker:
        process, pipe = spawned(worker.main)
        log.write("worker started", worker=process.pid)
        return Worker(process, pipe)

    def hear(self, waker: socket | None = None) -> Iterator[tuple[Worker, messages.Said | None]]:
        """Wait for what workers say and yield it. None in place of it: that worker died and was removed.

        Something to read on `waker` ends the wait as well, and so does a silence of BREATH_SECONDS.
        """
        by_pipe: dict[object, Worker] = {each.pipe: each for each in self.workers}
        for ready in wait([*(each.pipe for each in self.workers), *([waker] if waker else [])], BREATH_SECONDS):
            speaker = by_pipe.get(ready)
            if speaker is not None and speaker in self.workers:
                yield speaker, self._said_by(speaker)

    def _said_by(self, speaker: Worker) -> messages.Said | None:
        """What it says. A message cut short by its death is its death: recv then raises a plain OSError."""
        try:
            return cast("messages.Said", speaker.pipe.recv())
        except (EOFError, OSError, pickle.UnpicklingError):
            self.dismiss(speaker)
            return None

    def dismiss(self, leaving: Worker) -> None:
        """End one worker, dead or alive, and forget it."""
        self.workers.remove(leaving)
        leaving.pipe.close()
        leaving.process.join(STOP_SECONDS)  # one that died already keeps its own exit code
        if leaving.process.is_alive():
            leaving.process.kill()
            leaving.process.join(STOP_SECONDS)

    def close(self) -> None:
        """End every worker, at once: what they have not sent is trained again."""
        if self._ahead:
            self.workers.append(self._ahead)
            self._ahead = None
        for each in self.workers:
            each.process.terminate()
            each.pipe.close()
        for each in self.workers:
            each.process.join(STOP_SECONDS)
            if each.process.is_alive():
                each.process.kill()
                each.process.join(STOP_SECONDS)
        self.workers.clear()

"""Holds back until it is safe to leave what asks to: Ctrl-C, SIGTERM, a closed terminal. Knows nothing of sweeps.

Python raises KeyboardInterrupt between any two instructions. Raised inside an import it leaves half a module behind,
raised inside a callback it is swallowed; either way a sweep goes on, or ends with an error that nobody made.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that ask a process to end. A closed terminal sends the last, and often more than once."""


class Signals:
    """While entered, a signal's own handler runs, but the KeyboardInterrupt that it raises waits for `release`.

    `waker` becomes readable at a signal, so that a wait on pipes ends. Outside the main thread nothing is held.
    """

    def __init__(self) -> None:
        self.waker, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._wakeup: int | None = None
        self.came = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
            for number in ASKING:
                handler = signal.getsignal(number)
                if callable(handler):
                    self._handlers[number] = handler
                    signal.signal(number, self._hold)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._wakeup is not None:  # also where signals are ignored, as by nohup, and none has a handler to hold
            signal.set_wakeup_fd(self._wakeup)
        self.waker.close()
        self._writer.close()

    def _hold(self, number: int, frame: FrameType | None) -> None:
        self.came = True
        try:
            self._handlers[number](number, frame)
        except KeyboardInterrupt:
            return  # raised again by `release`

    def release(self) -> None:
        """Raise KeyboardInterrupt if one came; another signal woke whoever waited, and that is all."""
        if self.came:
            raise KeyboardInterrupt
        with suppress(BlockingIOError):
            self.waker.recv(4096, socket.MSG_DONTWAIT)

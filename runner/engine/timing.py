"""How long work takes: seconds of this thread on a CPU, of which other programs take nothing, else on the clock.

On a busy machine the clock alone made loops of groups that fuse well.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def now(device: torch.device) -> float:
    """The seconds of the device's clock, when all that was given to it is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.thread_time()


def seconds_of(device: torch.device, run: Callable[[], object]) -> float:
    """Run it, and return the seconds it took."""
    began = now(device)
    run()
    return now(device) - began

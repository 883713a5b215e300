"""Makes this process train the same bits every time. Call `prepare` before the first tensor.

One thread on the CPU: with one thread a lane's bits do not depend on the cohort's width (measured), with more
they do. Worker processes, not threads, use the other cores. Nor may they depend on where in memory a lane lies:
MKL's products round by the alignment of their operands unless told not to (seen for 26 of 60 random perceptrons,
whose layers or batches are no multiple of a cache line).
"""

from __future__ import annotations

import contextlib
import ctypes
import os

import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # from glibc's malloc.h


def prepare() -> None:
    """Set threads, deterministic algorithms, matmul precision and the allocator for this process.

    The two environment variables are read once, at the first product on the CPU and on a GPU.
    """
    os.environ["MKL_CBWR"] = "AUTO,STRICT"  # costs nothing (33.4 and 33.5 µs a trial-step)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(1)
    # The same switch as use_deterministic_algorithms(True, warn_only=True), which first imports the compiler: 3.5 s.
    torch.set_deterministic_debug_mode("warn")
    # Nothing here reads memory before writing it; filling it costs 5% of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = False
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Stop glibc from handing large temporaries back to the kernel at each operation: 1.4× for an MLP's step."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)

"""Runs the programs that torch.compile writes in Triton by Triton's interpreter, on the host's memory.

What Triton's own compiler makes of them, and a GPU of that, is not looked at: how a multiply-add rounds, for one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils._pytree import tree_map_only

SAME = "tanh exp exp2 log log1p log2 expm1 sqrt sin cos floor ceil copysign abs"
FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {name: getattr(np, name) for name in SAME.split()} | {
    "mul_rn": np.multiply,
    "add_rn": np.add,
    "sub_rn": np.subtract,
    "div_rn": np.divide,
    "sqrt_rn": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "pow": np.power,
    "fma": lambda x, y, z: x * y + z,
}
"""Functions of CUDA's library, of which the interpreter has none."""


def prepare(twin: Callable[[Tensor], Tensor], put: Callable[[Callable[[], object]], None]) -> None:
    """Interpret whatever is launched from now on. twin: the host's tensor of the same memory; put: does it in time."""
    os.environ["TRITON_INTERPRET"] = "1"  # which Triton and torch's compiler read
    from triton.language.extra import libdevice
    from triton.runtime.interpreter import InterpretedFunction

    interpret = InterpretedFunction.run

    def run(self: Any, *args: Any, grid: Any, warmup: bool, stream: object = None, **kwargs: Any) -> None:
        own, own_kwargs = tree_map_only(Tensor, twin, (args, kwargs))
        if not warmup:
            put(lambda: interpret(self, *own, grid=grid, warmup=False, **own_kwargs))

    InterpretedFunction.run = run
    for name in (name for name in dir(libdevice) if not name.startswith("_")):
        setattr(libdevice, name, _of(FUNCTIONS[name]) if name in FUNCTIONS else _refused(name))


def _of(function: Callable[..., np.ndarray]) -> Callable[..., Any]:
    from triton.language import tensor
    from triton.runtime.interpreter import TensorHandle

    def computed(first: Any, *more: Any, **_: Any) -> Any:
        with np.errstate(all="ignore"):
            found = function(first.handle.data, *(each.handle.data for each in more))
        return tensor(TensorHandle(found.astype(first.handle.data.dtype), first.handle.dtype), first.type)

    return computed


def _refused(name: str) -> Callable[..., Any]:
    def raising(*_: Any, **__: Any) -> Any:
        raise NotImplementedError(f"interpreted.py has no {name}")

    return raising

"""Sees which functions and operations of torch a piece of code calls that say how it must be run, and what it draws."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from thalweg.runner.engine.forms import MAKERS
from thalweg.runner.engine.generators import others_state, seed_all, torch_state
from thalweg.runner.engine.recording import READS
from thalweg.runner.engine.user import place_now

HOOKING = {
    Tensor.register_hook,
    Tensor.register_post_accumulate_grad_hook,
    Tensor.grad_fn.__get__,  # type: ignore[union-attr]
    Tensor.requires_grad_,
}
"""Ways to interfere with a backward pass from within a forward pass."""
SHOWING = {
    *(Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__dlpack__, Tensor.__repr__, Tensor.__format__),
    *(Tensor.apply_, Tensor.map_),
}
"""Ways for Python to see a tensor's numbers without an operation of torch's."""


class Watch:
    """What was seen so far, while `watching`.

    hooks: a gradient may be changed on its way. reads: Python saw numbers of a tensor, and may act on them; place:
    where that was first. draws, draws_elsewhere: torch's random numbers, numpy's or Python's were drawn. writes: what
    has a gradient was written into a tensor that had none.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.hooks = self.reads = self.draws = self.draws_elsewhere = self.writes = False
        self.place = ""

    @contextmanager
    def watching(self, key: int) -> Iterator[None]:
        """Where code is watched that begins with seeding all generators by `key`. What it does is not changed."""
        with _Functions(self), _Operations(self), self._seeing_seeds():
            yield
        drawn, elsewhere = torch_state(self.device), others_state()
        seed_all(key)
        self.draws |= drawn != torch_state(self.device)
        self.draws_elsewhere |= elsewhere != others_state()

    def read(self) -> None:
        """Note that Python saw numbers, and where."""
        if not self.reads:
            self.reads, self.place = True, place_now()

    @contextmanager
    def _seeing_seeds(self) -> Iterator[None]:
        """Where a seed that Python asks for counts as a number that it saw: no recording would ask again."""
        usual = torch.initial_seed

        def initial_seed() -> int:
            self.read()
            return usual()

        torch.initial_seed = initial_seed
        try:
            yield
        finally:
            torch.initial_seed = usual


class _Functions(TorchFunctionMode):
    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch
        self.made: list[Tensor] = []  # which lives as long as what it is compared with

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.watch.hooks |= func in HOOKING
        self.watch.writes |= _writes(func, args, self.made)
        if func in SHOWING:
            self.watch.read()
        result = func(*args, **(kwargs or {}))
        if func in MAKERS and isinstance(result, Tensor):
            self.made.append(result)
        return result


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, watch: Watch) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.watch = watch

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: nothing is compiled here, and to say yes imports the compiler."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if READS & {*func.tags} and not _by_numbers(func, args) and not _by_batch_norm():
            self.watch.read()
        return func(*args, **(kwargs or {}))


def _writes(func: Any, args: Any, made: Sequence[Tensor]) -> bool:
    """Whether a function writes what may differ between trials into a tensor that is the same for all: what has a
    gradient into one that has none; where nothing has one, as in evaluation, fractions into one that the model made."""
    name = getattr(func, "__name__", "")
    in_place = name == "__setitem__" or name.startswith("__i") or (name.endswith("_") and not name.endswith("__"))
    if not in_place or not args or not isinstance(args[0], Tensor) or args[0].requires_grad:
        return False
    written = [each for each in args[1:] if isinstance(each, Tensor)]
    if torch.is_grad_enabled():
        return any(each.requires_grad for each in written)
    return any(each.is_floating_point() for each in written) and any(_is_of(args[0], each) for each in made)


def _is_of(view: Tensor, whole: Tensor) -> bool:
    return view is whole or view._base is whole


def _by_numbers(func: Any, args: Any) -> bool:
    """Whether something is indexed by row numbers: unlike a mask, they say beforehand how many rows there will be."""
    if func is not torch.ops.aten.index.Tensor:
        return False
    return all(index is None or index.dtype not in (torch.bool, torch.uint8) for index in args[1])


def _by_batch_norm() -> bool:
    """Whether it is torch's BatchNorm with `momentum=None` that asks, which has a form over trials."""
    frame, at = sys._getframe(2), nn.modules.batchnorm.__file__
    return any(each is not None and each.f_code.co_filename == at for each in (frame, frame.f_back))

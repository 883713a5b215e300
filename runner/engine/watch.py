"""Sees what a piece of code does that says how it must be run: which functions and operations of torch it calls, what
it draws, whether it works in threads, catches what torch raises, or has torch compile parts. Knows no executor."""

from __future__ import annotations

import _thread
import re
import sys
from collections import ChainMap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import _GeneratorContextManager, contextmanager, suppress
from queue import SimpleQueue
from types import CodeType, FrameType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.catching import Handling, stopped
from thalweg.runner.engine.digest import OTHERS, SEEDED
from thalweg.runner.engine.forms import MAKERS
from thalweg.runner.engine.generators import others_state, seed_all, torch_state
from thalweg.runner.engine.recording import memory_of, reads
from thalweg.runner.engine.user import place_now, place_of

HOOKING = {
    Tensor.register_hook,
    Tensor.register_post_accumulate_grad_hook,
    Tensor.grad_fn.__get__,  # type: ignore[union-attr]
    Tensor.requires_grad_,
}
"""Ways to interfere with a backward pass from within a forward pass."""
GRADIENT = Tensor.grad.__get__  # type: ignore[union-attr]
SHOWING = {
    *(Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__dlpack__, Tensor.__repr__, Tensor.__format__),
    *(Tensor.apply_, Tensor.map_, Tensor.data_ptr, Tensor.untyped_storage, Tensor.storage, Tensor.__reduce_ex__),
}
"""Ways for Python to see a tensor's numbers without an operation of torch's."""
HIGHER = re.compile(r"HigherOrderOperator (\w+)")
"""What torch says where a mode meets an operation that takes functions, as torch.cond does."""
STATES = ("get_state", "clone_state", "graphsafe_get_state", "getstate")
"""What generators are asked for by who draws from a copy of them, or puts them back."""
SUPPRESSING = suppress.__init__.__code__
BEGUN = _GeneratorContextManager.__enter__.__code__
"""What begins a generator that `@contextmanager` makes a context of."""
NOTHING = Handling()
COMPILING = "torch._dynamo.eval_frame"
"""The module of torch's whose functions stand in for what torch.compile was given. They call it by a `callback`."""
BETWEEN = {"contextlib", "random", "torch.random"}
"""Modules by which a generator is asked for its state."""
THREADS = ("start_new_thread", "start_joinable_thread", "put")
"""What is called where work goes to a thread: a new one, or by a queue to one that waits."""


class Watch:
    """What was seen so far, while `watching`.

    hooks: a gradient may be changed on its way. reads: Python saw numbers of a tensor, and may act on them; place:
    where that was first; reads_own: of some that depend on weights, buffers or random numbers, own is their memory.
    draws, draws_elsewhere: torch's random numbers, numpy's or Python's were drawn, or the state of their generators was
    read. writes: what may differ between trials was written into a tensor that is the same for all. threads: work went
    to threads, in which nothing is seen. gradients: those of parameters were asked for.
    compiled: a function was called that torch compiles.
    handling: functions of the user's that do something with errors; catches: torch was called where what it raises
    is caught; catching: where that was first.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.hooks = self.reads = self.reads_own = self.draws = self.draws_elsewhere = self.writes = False
        self.threads = self.gradients = self.catches = self.compiled = False
        self.place = self.catching = ""
        self.handling: dict[CodeType, Handling] = {}
        self.own: set[StorageWeakRef | None] = {None}

    @contextmanager
    def watching(self, key: int, module: nn.Module) -> Iterator[None]:
        """Where code is watched that begins with seeding all generators by `key`. What it does is not changed. Raises
        ConfigError for what no mode of torch's passes through."""
        self.own |= {memory_of(each) for each in (*module.parameters(), *module.buffers())}
        try:
            with _Functions(self), _Operations(self), self._seeing_calls():
                yield
        except NotImplementedError as error:
            if found := HIGHER.search(str(error)):
                said = f"{place_of(error)}the model calls torch.{found[1]}, whose parts torch compiles, unseen by us"
                raise ConfigError(said, "an if on a number (.item()), or torch.where, does the same") from error
            raise
        drawn, elsewhere = torch_state(self.device), others_state()
        seed_all(key)
        self.draws |= drawn != torch_state(self.device)
        self.draws_elsewhere |= elsewhere != others_state()

    def guarded(self) -> None:
        """Note that torch is called, where that is within a function which catches what it raises, or what another
        raises in its place."""
        if self.catches or not self.handling:
            return
        turned = False
        for code in _callers():
            does = self.handling.get(code, NOTHING)
            turned |= does.turns
            if does.stops or (turned and does.others):
                self.catches, self.catching = True, place_now()
                return

    def read(self, *, own: bool = True) -> None:
        """Note that Python saw numbers, and where. own: they may be other numbers for each trial."""
        self.reads_own |= own
        if not self.reads:
            self.reads, self.place = True, place_now()

    @contextmanager
    def _seeing_calls(self) -> Iterator[None]:
        """Where functions of C's are seen of which torch's modes know nothing, by whatever name they are called."""
        usual, known = sys.getprofile(), dict[CodeType, Handling]()

        def called(frame: Any, event: str, function: Any) -> None:
            if event == "c_call":
                self._called(function.__name__, getattr(function, "__self__", None), frame)
            elif event == "call":
                self._entered(frame, known)

        sys.setprofile(called)
        try:
            yield
        finally:
            sys.setprofile(usual)

    def _entered(self, frame: FrameType, known: dict[CodeType, Handling]) -> None:
        """Note what a function of the user's does with errors, itself or by a `with`, and one that torch compiles.
        known: those looked at before."""
        code, by = frame.f_code, frame.f_back
        if code not in known:
            names = ChainMap(frame.f_globals, frame.f_builtins)
            known[code] = Handling.of(code, names) if _is_users(names) else NOTHING
            self._handles(code, known[code])
            if frame.f_globals.get("__name__") == COMPILING and "callback" in code.co_freevars:
                self.compiled = True
                _left_uncompiled()
        if by is None:
            return
        if by.f_code is BEGUN:
            self._handles(_whose(by), known[code])
        elif code is SUPPRESSING:
            self._handles(_whose(by), Handling(stops=stopped(frame.f_locals["exceptions"]), others=True))
        elif code.co_name == "__enter__" and (leave := _leave_of(frame)):
            self._handles(_whose(by), Handling.by(leave))

    def _handles(self, code: CodeType | None, does: Handling) -> None:
        """Note that a function does this with errors, beside what else it does."""
        if code and any(does):
            before = self.handling.get(code, NOTHING)
            self.handling[code] = Handling(*(a or b for a, b in zip(before, does, strict=True)))

    def _called(self, name: str, of: Any, frame: FrameType) -> None:
        """Note what a function does, a method of something or of a module. A seed that Python asks for counts as a
        number that it saw: no recording would ask again."""
        if name in THREADS:
            self.threads |= of is _thread or isinstance(of, SimpleQueue)
        elif name == "initial_seed" and any(of is each for each in SEEDED):
            self.read()
        elif name in STATES and any(of is each for each in SEEDED) and _asked_by_user(frame):
            self.draws |= isinstance(of, torch.Generator)
            self.draws_elsewhere |= not isinstance(of, torch.Generator)


class _Functions(TorchFunctionMode):
    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch
        self.made: list[Tensor] = []  # which lives as long as what it is compared with

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.watch.guarded()
        self.watch.hooks |= func in HOOKING
        self.watch.writes |= _writes(func, args, self.made)
        if func in SHOWING and not _by_us():
            self.watch.read()
        if func == GRADIENT and not _by_us():
            self.watch.gradients = True
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
        if self.watch.compiled:  # no more need be known of tensors, and torch would compile what follows, too
            return func(*args, **(kwargs or {}))
        own = any(memory_of(each) in self.watch.own for each in _tensors_of((args, kwargs)))
        own |= torch.Tag.nondeterministic_seeded in func.tags
        if reads(func, args) and not _by_batch_norm():
            self.watch.read(own=own)
        result = func(*args, **(kwargs or {}))
        if own:
            self.watch.own |= {memory_of(each) for each in _tensors_of(result)}
        return result


def _left_uncompiled() -> None:
    """Let torch compile no function of ours that is called from within what it compiles."""
    from torch._dynamo.decorators import skip

    for ours in (_Functions.__torch_function__, _Operations.__torch_dispatch__):
        skip(ours)


def _tensors_of(tree: Any) -> Iterator[Tensor]:
    return (each for each in tree_leaves(tree) if isinstance(each, Tensor))


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


def _asked_by_user(frame: FrameType | None) -> bool:
    """Whether it is the user's code that asks. (torch's compiler leaves generators as they were.)"""
    while frame and frame.f_globals.get("__name__") in BETWEEN:
        frame = frame.f_back
    return frame is not None and _is_users(frame.f_globals)


def _whose(frame: FrameType | None) -> CodeType | None:
    """The function of the user's that opens a context, maybe by an ExitStack; None where none of theirs does."""
    while frame and frame.f_globals.get("__name__") == "contextlib":
        frame = frame.f_back
    return frame.f_code if frame and _is_users(frame.f_globals) else None


def _leave_of(frame: FrameType) -> FunctionType | None:
    """The `__exit__` of what is entered, if it is the user's."""
    entered = frame.f_locals.get(next(iter(frame.f_code.co_varnames), ""))
    leave = getattr(type(entered), "__exit__", None)
    return leave if isinstance(leave, FunctionType) and _is_users(leave.__globals__) else None


def _is_users(scope: Mapping[str, Any]) -> bool:
    """Whether these are the globals of the user's code."""
    return str(scope.get("__name__")).partition(".")[0] not in {*OTHERS, "thalweg"}


def _callers() -> Iterator[CodeType]:
    frame: FrameType | None = sys._getframe(1)
    while frame:
        yield frame.f_code
        frame = frame.f_back


def _by_us() -> bool:
    """Whether it is our code that asks, which moves weights about in memory and takes their gradients."""
    return str(sys._getframe(2).f_globals.get("__name__")).startswith("thalweg.")


def _by_batch_norm() -> bool:
    """Whether it is torch's BatchNorm with `momentum=None` that asks, which has a form over trials."""
    frame, at = sys._getframe(2), nn.modules.batchnorm.__file__
    return any(each is not None and each.f_code.co_filename == at for each in (frame, frame.f_back))

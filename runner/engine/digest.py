"""Digests of what Python objects hold, to see whether a user's code changed any of it.

Pickle's walk without its result: it knows shared and circular references and how nearly every object keeps its state.
It looks further where pickle does not: into closures, descriptors, what a bound function is bound to, what scripts of
torch's keep in C++, what objects leave out of their pickles. What says nothing of itself stands for its type alone; a
module that holds such a thing has another digest each time.
"""

from __future__ import annotations

import contextvars
import ctypes
import functools
import hashlib
import inspect
import io
import itertools
import pickle
import random
import sys
import threading
import weakref
from _thread import LockType
from collections.abc import Iterator, Mapping
from types import (
    AsyncGeneratorType,
    BuiltinFunctionType,
    CellType,
    CodeType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    MappingProxyType,
    ModuleType,
)
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

TENSORS = ("_parameters", "_buffers", "_modules")
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Hooks that act in a pass, numbered through all modules of the process."""
LEAF_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")
"""Hooks on the gradient of a parameter."""
COMPILED = "_torchdynamo_orig_callable"
"""Where torch.compile keeps what it was given. What it makes of that is no state."""
UNCOMPILED = "__dynamo_disable"
"""Where torch keeps, of a function that it has called first, what its compiler leaves alone."""
OTHERS = {*sys.stdlib_module_names, "torch", "numpy"}
"""Packages whose classes hold no state, wherever these are."""
DISPATCH = "_clear_cache"
"""What functions have that choose by their argument's type."""
PASSED = ("training", *TENSORS, *HOOKS)
SEEDED = (random.random.__self__, np.random.rand.__self__, torch.default_generator)  # type: ignore[attr-defined]
"""The generators that are seeded for each pass: state of nobody's. (`from random import random` binds one.)"""
SWITCHES = (torch.autocast, torch.autograd.profiler.record_function)
"""What functions may be decorated with, and keeps what was before while one is called."""
OPERATIONS = "torch._library"
"""Where torch's classes for operations of the user's are, which note what they were called with first."""
STATELESS = {"_io", "_multiprocessing", "_thread", "builtins", "socket", "threading", "torch", "weakref"}
"""Packages whose objects hold nothing where they say nothing: locks, references, code. (Files are not looked for.)"""
POINTING: type = ctypes._SimpleCData.__mro__[-2]
"""What C keeps, and where it keeps more."""
VIEWS: Any = tuple(type(getattr({}, view)()) for view in ("keys", "values", "items"))
"""Dicts' views, which may be all that is held of a dict."""
DEEP = "objects within objects, too deep to be looked through"
"""What stands for a value that Python cannot walk over. (Nor can it copy that.)"""
TIMES = itertools.count()
"""How often something was digested that shows nothing of what it holds: it may be another each time."""


class _Stand:
    """What an object is reduced to; never made."""


class _Walk(pickle.Pickler):
    """known: texts to take for objects of these ids, instead of looking into them.

    blind: the kinds of objects met that may hold what nobody sees, such as a hash in the making or a database.
    caches: the cached functions met (`functools.lru_cache`), whose contents are not looked into. blank: whether to pass
    over the numbers of tensors and arrays.
    """

    def __init__(self, file: io.BytesIO, known: Mapping[int, str], blank: bool = False) -> None:
        super().__init__(file, protocol=4)
        self.known, self.blank = known, blank
        self.blind: list[str] = []
        self.caches: list[Any] = []

    def persistent_id(self, value: Any) -> Any:
        """Sets of names and numbers in one order: a copy, or another process, may have another."""
        if type(value) in (set, frozenset) and all(type(each) in (str, int) for each in value):
            return sorted(value, key=repr)
        return None

    def reducer_override(self, value: Any) -> Any:
        """Return how an object is reduced, in the words of `object.__reduce__`."""
        if value is _Stand:
            return NotImplemented  # by its name, as pickle does
        if (name := self.known.get(id(value))) is not None:
            return _Stand, (name,), _marks(value)
        if self.blank and isinstance(value, Tensor | np.ndarray):
            return _Stand, (type(value).__qualname__,)
        if any(value is each for each in SEEDED) or type(value).__module__.startswith(OPERATIONS):
            return _Stand, (type(value).__qualname__,)
        if isinstance(value, Tensor):
            return _Stand, (tensor_digest(value),), _beside(value)
        if isinstance(value, SWITCHES):
            set_up = {key: each for key, each in vars(value).items() if not key.startswith(("prev", "record"))}
            return _Stand, (type(value).__qualname__,), set_up
        if isinstance(value, torch.Generator):
            return _Stand, (tensor_digest(value.get_state()),)
        if COMPILED in (own := own_attributes(value)):
            return _Stand, (type(value).__qualname__,), own[COMPILED]
        if isinstance(value, FunctionType):
            if DISPATCH in vars(value):  # by functools.singledispatch, which remembers what it was called with
                return _Stand, (value.__module__, value.__qualname__), [*value.registry.values()]  # type: ignore[attr-defined]
            cells = [
                contents_of(cell)
                for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
                if name != "__class__"  # of who defines it, for super()
            ]
            own = {key: held for key, held in vars(value).items() if key != UNCOMPILED}
            held = (value.__defaults__, value.__kwdefaults__, cells, own, _globals_of(value))
            return _Stand, (value.__module__, value.__qualname__), held
        if isinstance(value, GeneratorType):
            return _Stand, (inspect.getgeneratorstate(value),), (_locals(value.gi_frame), value.gi_yieldfrom)
        if isinstance(value, BuiltinFunctionType):
            bound = None if isinstance(value.__self__, ModuleType) else value.__self__
            return _Stand, (value.__name__,), bound
        if isinstance(value, type | ModuleType):
            return _Stand, (value.__name__,), None if _is_found(value) else _namespace(value)
        if isinstance(value, nn.Module):
            script = isinstance(value, torch.jit.ScriptModule)  # a copy is of another class
            return _Stand, (torch.jit.ScriptModule if script else type(value),), _held(value)
        if isinstance(value, functools._lru_cache_wrapper):
            self.caches.append(value)
        if (hidden := _hidden(value)) is not None:
            return _Stand, (type(value).__qualname__,), hidden
        return self._reduced(value)

    def _reduced(self, value: Any) -> Any:
        """As pickle has it. Objects that say themselves what of them is pickled may leave out what they count by."""
        own, package = own_attributes(value) or None, type(value).__module__.partition(".")[0]
        try:
            reduced = value.__reduce_ex__(4)
        except Exception:  # a lock, a file: whatever it does not say of itself
            memory = _memory(value)
            if not own and (not memory or isinstance(value, POINTING)) and package not in STATELESS:
                self.blind.append(f"{type(value).__module__}.{type(value).__qualname__}")
            return _Stand, (type(value),), (own, memory)
        if isinstance(reduced, str):  # one of a kind, which others know by a name
            return _Stand, (reduced,), own
        if not own or package in sys.stdlib_module_names:
            return reduced
        state = reduced[2] if len(reduced) > 2 else None
        return (*reduced[:2], (state, own), *reduced[3:])


def own_attributes(value: Any) -> dict[str, Any]:
    """What an object's `__dict__` holds. It may raise what it likes when asked, as what stands for a missing import."""
    try:
        held: dict[str, Any] = vars(value)
        return held
    except Exception:  # whatever it raises, it has none
        return {}


def _hidden(value: Any) -> Any:
    """What an object of Python's own kinds holds that pickle would not see; None for all others."""
    if isinstance(value, staticmethod | classmethod):
        return value.__func__
    if isinstance(value, property):
        return value.fget, value.fset, value.fdel
    if isinstance(value, functools._lru_cache_wrapper):
        return value.__wrapped__
    if isinstance(value, weakref.ref):  # a copy's is of what was copied
        return [of] if isinstance(of := value(), nn.Module | Tensor) else []
    if isinstance(value, threading.local):
        return vars(value)
    if isinstance(value, contextvars.ContextVar):
        return [value.get(None)]
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, MappingProxyType):
        return dict(value)
    if isinstance(value, VIEWS):
        return [*value]
    if isinstance(value, CellType):
        return [contents_of(value)]
    if isinstance(value, LockType):
        return value.locked()
    if isinstance(value, torch.futures.Future):
        return [value.value()] if value.done() else []
    if isinstance(value, io.TextIOWrapper | io.BufferedWriter | io.BufferedRandom):
        return [value.buffer if isinstance(value, io.TextIOWrapper) else value.raw]
    if isinstance(value, AsyncGeneratorType):
        return _locals(value.ag_frame), value.ag_await
    if isinstance(value, CoroutineType):
        return _locals(value.cr_frame), value.cr_await
    return None


def _is_found(value: type | ModuleType) -> bool:
    """Whether a class or a module is where its name says. One that is not is known to who holds it alone."""
    if isinstance(value, ModuleType):
        return sys.modules.get(value.__name__) is value or value.__name__.startswith("torch.")
    if value.__module__.partition(".")[0] in OTHERS:
        return True
    found: Any = sys.modules.get(value.__module__)
    for name in value.__qualname__.split("."):
        found = own_attributes(found).get(name)
    return found is value


def _namespace(value: type | ModuleType) -> dict[str, Any]:
    return {name: held for name, held in vars(value).items() if not (name.startswith("__") and name.endswith("__"))}


def _globals_of(function: FunctionType) -> dict[str, Any]:
    """The globals that a function names, where they are no module's."""
    home = function.__globals__.get("__name__")  # a wrapper's __module__ is that of what it wraps
    if function.__globals__ is own_attributes(sys.modules.get(home or "")):
        return {}
    return {name: function.__globals__[name] for name in named_by(function.__code__) if name in function.__globals__}


def named_by(code: CodeType) -> Iterator[str]:
    """The names in a function's code and in that of the functions within it, of which Python 3.11 makes each
    comprehension one."""
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from named_by(inner)


def _locals(frame: FrameType | None) -> dict[str, Any]:
    return dict(frame.f_locals) if frame else {}


def _memory(value: Any) -> bytes:
    """The bytes that an object shows, as a mapped file does; none of one that shows none."""
    try:
        return bytes(memoryview(value))
    except Exception:  # it has none, or not now
        return b""


def digest(value: Any, known: Mapping[int, str] | None = None) -> str:
    """A digest that changes when something changes that a value holds, at any depth; always, where some is not seen."""
    text, blind = _walked(value, known)
    made = hashlib.sha256(text).hexdigest()
    return f"{made} {next(TIMES)}" if blind else made


def unseen_in(value: Any, known: Mapping[int, str] | None = None) -> str | None:
    """The kind of an object within a value that shows nothing of what it holds; None if there is none."""
    return next(iter(_walked(value, known)[1]), None)


def walked(value: Any, known: Mapping[int, str] | None = None) -> bytes:
    """What is digested of a value."""
    return _walked(value, known)[0]


def caches_in(value: Any, known: Mapping[int, str] | None = None) -> list[Any]:
    """The cached functions (`functools.lru_cache`) within a value, each once, in the order in which they are met."""
    return _walk(value, known, blank=True)[0].caches


def _walked(value: Any, known: Mapping[int, str] | None) -> tuple[bytes, list[str]]:
    walk, text = _walk(value, known)
    return text, walk.blind


def _walk(value: Any, known: Mapping[int, str] | None, blank: bool = False) -> tuple[_Walk, bytes]:
    file = io.BytesIO()
    walk = _Walk(file, known or {}, blank)
    try:
        walk.dump(value)
    except RecursionError:  # as of a chain of thousands
        walk.blind.append(DEEP)
    return walk, file.getvalue()


def tensor_digest(tensor: Tensor) -> str:
    """A digest of a tensor of any layout, its kind included."""
    if torch._C._functorch.is_batchedtensor(tensor):
        return "of all trials"  # in a pass that is over
    if tensor.is_nested:
        return f"nested {[tensor_digest(each) for each in tensor.unbind()]}"
    leaf = tensor.requires_grad and tensor.is_leaf  # a copy of what is none has no history
    kind = f"{tensor.dtype} {tuple(tensor.shape)} {tensor.layout} {leaf}"
    if tensor.is_meta:
        return kind
    dense = tensor.detach().cpu()
    if dense.layout is not torch.strided:
        dense = dense.to_dense()
    dense = dense.int_repr() if dense.is_quantized else dense.resolve_conj().resolve_neg()
    raw = dense.contiguous().flatten().view(torch.uint8) if dense.numel() else torch.empty(0, dtype=torch.uint8)
    return f"{kind} {hashlib.sha256(raw.numpy().tobytes()).hexdigest()}"


def _marks(value: Any) -> Any:
    """What a known tensor carries that is not its numbers: attributes, and hooks on its gradient."""
    hooks = [[*(getattr(value, name, None) or {}).values()] for name in LEAF_HOOKS]
    return (vars(value), hooks) if any(hooks) else vars(value)


def _beside(tensor: Tensor) -> Any:
    """What a tensor carries: attributes that somebody gave it, and the gradient that added up in a leaf."""
    return vars(tensor), tensor.grad if tensor.is_leaf and tensor.requires_grad else None


def _held(module: nn.Module) -> list[Any]:
    own = {key: held for key, held in vars(module).items() if key not in PASSED and not _hooks_states(key)}
    if isinstance(module, torch.jit.ScriptModule):
        own = {key: held for key, held in own.items() if not _is_scripts(key, held)}
        own |= {key: getattr(module, key, None) for key in _scripted(module)}
    tensors = [list(getattr(module, key).items()) for key in TENSORS]
    return [own, *tensors, *(list(getattr(module, key).values()) for key in HOOKS)]


def _hooks_states(key: str) -> bool:
    """Whether it is where torch keeps hooks of what is saved and loaded."""
    return key.startswith("_") and "state_dict" in key and key.endswith("hooks")


def _is_scripts(key: str, held: Any) -> bool:
    """Whether it is what torch itself keeps beside a script: methods once they are called, and the script in C++."""
    return key.startswith("_") or isinstance(held, torch._C.ScriptMethod)


def _scripted(module: torch.jit.ScriptModule) -> list[str]:
    """The names of what a script of torch's keeps for itself."""
    kinds = getattr(module, "_concrete_type", None)
    return [key for key in (kinds.get_attributes() if kinds else ()) if key not in PASSED]


def contents_of(cell: Any) -> Any:
    """What a function finds in a cell; None in an empty one."""
    try:
        return cell.cell_contents
    except ValueError:
        return None

"""Digests of what Python objects hold, to see whether a user's code changed any of it.

Pickle's walk without its result: it knows shared and circular references and how nearly every object keeps its state.
It looks further where pickle does not: into closures, descriptors, what a bound function is bound to, what scripts of
torch's keep in C++, what objects leave out of their pickles. What says nothing of itself stands for its type alone.
"""

from __future__ import annotations

import contextvars
import functools
import hashlib
import inspect
import io
import pickle
import sys
import threading
from collections.abc import Mapping
from types import BuiltinFunctionType, FunctionType, GeneratorType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

TENSORS = ("_parameters", "_buffers", "_modules")
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Hooks that act in a pass, numbered through all modules of the process."""
COMPILED = "_torchdynamo_orig_callable"
"""Where torch.compile keeps what it was given. What it makes of that is no state."""
PASSED = ("training", *TENSORS, *HOOKS)


class _Stand:
    """What an object is reduced to; never made."""


class _Walk(pickle.Pickler):
    """known: texts to take for objects of these ids, instead of looking into them."""

    def __init__(self, file: io.BytesIO, known: Mapping[int, str]) -> None:
        super().__init__(file, protocol=4)
        self.known = known

    def reducer_override(self, value: Any) -> Any:
        """Return how an object is reduced, in the words of `object.__reduce__`."""
        if value is _Stand:
            return NotImplemented  # by its name, as pickle does
        if (name := self.known.get(id(value))) is not None:
            return _Stand, (name,), vars(value)
        if isinstance(value, Tensor):
            return _Stand, (tensor_digest(value),), _beside(value)
        if isinstance(value, torch.Generator):
            return _Stand, (tensor_digest(value.get_state()),)
        if COMPILED in getattr(value, "__dict__", ()):
            return _Stand, (type(value).__qualname__,), vars(value)[COMPILED]
        if isinstance(value, FunctionType):
            cells = [_contents(cell) for cell in value.__closure__ or ()]
            held = (value.__defaults__, value.__kwdefaults__, cells, vars(value))
            return _Stand, (value.__module__, value.__qualname__), held
        if isinstance(value, GeneratorType):
            return _Stand, (inspect.getgeneratorstate(value),), inspect.getgeneratorlocals(value)
        if isinstance(value, BuiltinFunctionType):
            bound = None if isinstance(value.__self__, ModuleType) else value.__self__
            return _Stand, (value.__name__,), bound
        if isinstance(value, type | ModuleType):
            return _Stand, (value.__name__,)
        if isinstance(value, nn.Module):
            return _Stand, (type(value).__qualname__,), _held(value)
        if (hidden := _hidden(value)) is not None:
            return _Stand, (type(value).__qualname__,), hidden
        return _reduced(value)


def _reduced(value: Any) -> Any:
    """As pickle has it. Objects that say themselves what of them is pickled may leave out what they count by."""
    own = getattr(value, "__dict__", None)
    try:
        reduced = value.__reduce_ex__(4)
    except Exception:  # a lock, a file: whatever it does not say of itself
        return _Stand, (type(value).__qualname__,), own
    if isinstance(reduced, str):
        return _Stand, (reduced,)
    if not own or type(value).__module__.partition(".")[0] in sys.stdlib_module_names:
        return reduced
    state = reduced[2] if len(reduced) > 2 else None
    return (*reduced[:2], (state, own), *reduced[3:])


def _hidden(value: Any) -> Any:
    """What an object of Python's own kinds holds that pickle would not see; None for all others."""
    if isinstance(value, staticmethod | classmethod):
        return value.__func__
    if isinstance(value, property):
        return value.fget, value.fset, value.fdel
    if isinstance(value, functools._lru_cache_wrapper):
        return value.__wrapped__
    if isinstance(value, threading.local):
        return vars(value)
    if isinstance(value, contextvars.ContextVar):
        return [value.get(None)]
    if isinstance(value, memoryview):
        return bytes(value)
    return None


def digest(value: Any, known: Mapping[int, str] | None = None) -> str:
    """A digest that changes when something changes that a value holds, at any depth."""
    return hashlib.sha256(walked(value, known)).hexdigest()


def walked(value: Any, known: Mapping[int, str] | None = None) -> bytes:
    """What is digested of a value."""
    file = io.BytesIO()
    _Walk(file, known or {}).dump(value)
    return file.getvalue()


def tensor_digest(tensor: Tensor) -> str:
    """A digest of a tensor of any layout, its kind included."""
    kind = f"{tensor.dtype} {tuple(tensor.shape)} {tensor.layout} {tensor.requires_grad}"
    if tensor.is_meta:
        return kind
    dense = tensor.detach().cpu()
    if dense.layout is not torch.strided:
        dense = dense.to_dense()
    raw = dense.contiguous().flatten().view(torch.uint8) if dense.numel() else torch.empty(0, dtype=torch.uint8)
    return f"{kind} {hashlib.sha256(raw.numpy().tobytes()).hexdigest()}"


def _beside(tensor: Tensor) -> Any:
    """What a tensor carries: attributes that somebody gave it, and the gradient that added up in a leaf."""
    return vars(tensor), tensor.grad if tensor.is_leaf and tensor.requires_grad else None


def _held(module: nn.Module) -> list[Any]:
    own = {key: held for key, held in vars(module).items() if key not in PASSED and "state_dict" not in key}
    if isinstance(module, torch.jit.ScriptModule):
        own |= {key: getattr(module, key, None) for key in _scripted(module)}
    tensors = [list(getattr(module, key).items()) for key in TENSORS]
    return [own, *tensors, *(list(getattr(module, key).values()) for key in HOOKS)]


def _scripted(module: torch.jit.ScriptModule) -> list[str]:
    """The names of what a script of torch's keeps for itself."""
    kinds = getattr(module, "_concrete_type", None)
    return [key for key in (kinds.get_attributes() if kinds else ()) if key not in PASSED]


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # an empty one
        return None

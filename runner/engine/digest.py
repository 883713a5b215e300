"""Digests of what Python objects hold, to see whether a user's code changed any of it.

Pickle's walk without its result: it knows shared and circular references and how nearly every object keeps its state.
What it refuses stands for its type alone.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import pickle
from collections.abc import Mapping
from types import BuiltinFunctionType, FunctionType, GeneratorType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

TENSORS = ("_parameters", "_buffers", "_modules")
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Hooks that act in a pass, numbered through all modules of the process."""
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
            return _Stand, (name,)
        if isinstance(value, Tensor):
            return _Stand, (tensor_digest(value),)
        if isinstance(value, torch.Generator):
            return _Stand, (tensor_digest(value.get_state()),)
        if isinstance(value, FunctionType):
            cells = [_contents(cell) for cell in value.__closure__ or ()]
            held = (value.__defaults__, value.__kwdefaults__, cells, vars(value))
            return _Stand, (value.__module__, value.__qualname__), held
        if isinstance(value, GeneratorType):
            return _Stand, (inspect.getgeneratorstate(value),), inspect.getgeneratorlocals(value)
        if isinstance(value, type | ModuleType | BuiltinFunctionType):
            return _Stand, (value.__name__,)
        if isinstance(value, nn.Module):
            return _Stand, (type(value).__qualname__,), _held(value)
        try:
            reduced = value.__reduce_ex__(4)
        except Exception:  # a lock, a file: whatever it does not say of itself
            return _Stand, (type(value).__qualname__,)
        return (_Stand, (reduced,)) if isinstance(reduced, str) else reduced


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
    dense = tensor.detach().cpu()
    if dense.layout is not torch.strided:
        dense = dense.to_dense()
    raw = dense.contiguous().flatten().view(torch.uint8) if dense.numel() else torch.empty(0, dtype=torch.uint8)
    return f"{kind} {hashlib.sha256(raw.numpy().tobytes()).hexdigest()}"


def _held(module: nn.Module) -> list[Any]:
    own = {key: held for key, held in vars(module).items() if key not in PASSED and "state_dict" not in key}
    tensors = [list(getattr(module, key).items()) for key in TENSORS]
    return [own, *tensors, *(list(getattr(module, key).values()) for key in HOOKS)]


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # an empty one
        return None

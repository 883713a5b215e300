"""Copies of modules, and their conversion to a precision. Both go where torch's own refuse or lose something."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from thalweg.runner.base.errors import ConfigError

COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}
"""The complex numbers of a precision."""


def copied(module: nn.Module) -> nn.Module:
    """A deep copy, with what its parameters carry; tensors that are no leaves, which torch does not copy, lose their
    history."""
    with _Copying():
        twin = copy.deepcopy(module)
        for of, to in zip(module.parameters(), twin.parameters(), strict=True):
            if of.__dict__:
                to.__dict__.update(copy.deepcopy(of.__dict__))
        return twin


def converted(module: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The module on a device, its numbers in a precision. (`module.to(dtype)` makes complex numbers real.)

    Raises ConfigError for a part that keeps its weights in another one.
    """

    def to(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(device, COMPLEX[dtype])
        return tensor.to(device, dtype) if tensor.is_floating_point() else tensor.to(device)

    converted: nn.Module = module._apply(to)  # type: ignore[no-untyped-call]
    for name, parameter in converted.named_parameters():
        refuse_other(name, parameter, dtype)
    return converted


def refuse_other(name: str, parameter: Tensor, dtype: torch.dtype) -> None:
    """Raise ConfigError for weights that the model keeps, or puts, in another precision than all others."""
    if parameter.dtype != dtype:
        held, asked = (str(each).removeprefix("torch.") for each in (parameter.dtype, dtype))
        other = f", or write precision={held}" if held in ("float32", "float64") else ""
        hint = f"cast what goes through it, not its weights{other}"
        raise ConfigError(f"the model holds {name} in {held}, and weights are trained in {asked}", hint)


class _Copying(TorchFunctionMode):
    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.__deepcopy__ and not args[0].is_leaf:
            tensor, memo = args
            return memo.setdefault(id(tensor), tensor.detach().clone())
        return func(*args, **(kwargs or {}))

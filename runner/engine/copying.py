"""Copies of modules and of what they hold, and their conversion to a precision, where torch's own refuse or lose
something."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.digest import walked

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


def copied_or_itself(value: Any, memo: dict[int, Any]) -> Any:
    """A deep copy, of a register that takes other things for keys than it has, too; of what cannot be copied, itself.

    memo: what has been copied of things that are held elsewhere too.
    """
    known = len(memo)
    try:
        return _twin(value, memo)
    except Exception:
        for key in [*memo][known:]:
            del memo[key]
        return value


def _twin(value: Any, memo: dict[int, Any]) -> Any:
    twin = copy.deepcopy(value, memo)
    own_keys = isinstance(value, dict) and type(value).__setitem__ is not dict.__setitem__
    if own_keys and not isinstance(value, OrderedDict):
        dict.clear(twin)
        dict.update(twin, copy.deepcopy(dict(dict.items(value)), memo))
    return twin


def shared_parts(one: nn.Module, other: nn.Module) -> list[nn.Module | nn.Parameter]:
    """Parts and parameters that two modules have in common; those that call themselves equal are not one."""
    ours = {id(each) for each in (*one.modules(), *one.parameters())}
    others: list[nn.Module | nn.Parameter] = [*other.modules(), *other.parameters()]
    return [each for each in others if id(each) in ours]


def copies_whole(module: nn.Module) -> bool:
    """Whether a copy holds what the module does: its parts may say otherwise of themselves, or hold it by closures.
    True of what cannot be copied at all."""
    try:
        twin = copied(module)
    except Exception:  # whatever a part says against being copied
        return True
    return bool(shared_parts(twin, module)) or _shown(twin) == _shown(module)


def _shown(module: nn.Module) -> bytes:
    tensors = [*module.named_parameters(), *module.named_buffers()]
    return walked(module, {id(each): f"tensor {name}" for name, each in tensors})


Aside = Callable[[nn.Module], AbstractContextManager[nn.Module]]
"""What makes of a module one that may be changed."""


@contextmanager
def aside(module: nn.Module) -> Iterator[nn.Module]:
    """A copy that may be changed. Of one that cannot be copied, or shares parts with its copy, itself, put back."""
    try:
        twin = copied(module)
    except Exception:  # whatever a part says against being copied
        twin = module
    if not shared_parts(twin, module):
        yield twin
        return
    with put_back(module):
        yield module


@contextmanager
def put_back(module: nn.Module) -> Iterator[nn.Module]:
    """The module itself, which may be changed: it is as it was afterwards."""
    known = {id(each): "kept" for each in (*module.modules(), *module.parameters(), *module.buffers())}
    held = [_Held.of(part) for part in module.modules()]
    try:
        yield module
    finally:
        for each in held:
            each.put_back(known)


class _Held(NamedTuple):
    """A part, its attributes with copies of what they held, and its parameters and buffers with theirs."""

    part: nn.Module
    own: dict[str, tuple[Any, Any]]
    tensors: list[tuple[Tensor, Tensor]]

    @classmethod
    def of(cls, part: nn.Module) -> _Held:
        """What a part holds now. Parts and tensors are not copied with the attributes that hold them."""
        tensors = [each for each in (*part._parameters.values(), *part._buffers.values()) if each is not None]
        memo = {id(each): each for each in (*part.modules(), *part.parameters(), *part.buffers())}
        with _Copying():
            own = {name: (value, copied_or_itself(value, memo)) for name, value in vars(part).items()}
        return cls(part, own, [(each, each.detach().clone()) for each in tensors])

    @torch.no_grad()
    def put_back(self, known: Mapping[int, str]) -> None:
        """Let it all be there again; what did not change stays itself, and so do dicts and lists, which others know."""
        attributes = vars(self.part)
        for name in attributes.keys() - self.own.keys():
            del attributes[name]
        for name, (value, before) in self.own.items():
            if attributes.get(name) is value and walked(value, known) == walked(before, known):
                continue
            if isinstance(value, dict):
                value.clear()
                value.update(before)
            elif isinstance(value, list):
                value[:] = before
            attributes[name] = value if isinstance(value, dict | list) else before
        for tensor, numbers in self.tensors:
            tensor.detach().copy_(numbers)


def converted(module: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The module on a device, its numbers in a precision. (`module.to(dtype)` makes complex numbers real.)

    Raises ConfigError for a part that keeps its weights in another one.
    """

    def to(tensor: Tensor) -> Tensor:
        home = tensor.device if tensor.is_meta else device
        if any(stride == 0 and size > 1 for stride, size in zip(_strides(tensor), tensor.shape, strict=False)):
            tensor = tensor.contiguous()  # expanded, so that nobody could write into it
        if tensor.is_complex():
            return tensor.to(home, COMPLEX[dtype])
        return tensor.to(home, dtype) if tensor.is_floating_point() else tensor.to(home)

    converted: nn.Module = module._apply(to)  # type: ignore[no-untyped-call]
    for name, parameter in converted.named_parameters():
        refuse_other(name, parameter, dtype)
    return converted


def _strides(tensor: Tensor) -> tuple[int, ...]:
    return tensor.stride() if tensor.layout is torch.strided and not tensor.is_nested else ()


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

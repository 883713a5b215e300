"""How vmap holds one tensor a trial, seen from within: taken out of its hands as a stack, and given back."""

from __future__ import annotations

from torch import Tensor
from torch._C import _functorch as functorch
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack as outside

__all__ = ["is_plain", "outside", "stack_of", "stacks_of", "unstacked"]
"""outside: where no transform of torch.func is at work, for what is none of theirs to see."""


def stack_of(tensor: Tensor | None) -> Tensor | None:
    """`[K, …]` of a tensor of which the innermost vmap holds one a trial; None for any other."""
    if tensor is None or not functorch.is_batchedtensor(tensor):
        return None
    inner = functorch.get_unwrapped(tensor)
    if functorch.maybe_get_level(tensor) != functorch.maybe_current_level() or not is_plain(inner):
        return None
    return inner.movedim(functorch.maybe_get_bdim(tensor), 0)


def stacks_of(*tensors: Tensor | None) -> list[Tensor] | None:
    """`[K, …]` of each tensor; None unless vmap holds one a trial of every one of them."""
    stacks = [stack for tensor in tensors if (stack := stack_of(tensor)) is not None]
    return stacks if len(stacks) == len(tensors) else None


def is_plain(tensor: Tensor) -> bool:
    """Whether no transform of torch.func has its hands on a tensor."""
    return not functorch.is_functorch_wrapped_tensor(tensor)


def unstacked(tensor: Tensor, dim: int) -> Tensor:
    """Give a tensor with K trials along `dim` back to vmap."""
    level = functorch.maybe_current_level()
    assert level is not None
    return functorch._add_batch_dim(tensor, dim, level)

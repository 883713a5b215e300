"""Forms of torch's functions over trials, where vmap has none, or draws or writes otherwise than one trial alone would.

Each takes and returns what the function does, from within vmap; NotImplemented leaves a call to torch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional
from torch.utils._pytree import tree_leaves

from thalweg.runner.engine.lanes import is_plain, outside, stack_of, unstacked

INSTALLED = {"site-packages", "dist-packages"}
"""Folders of installed packages, which may lie in a project's own folder."""


def _dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """The mask is drawn in the order in which a trial's numbers lie in memory; vmap takes that of their places."""
    xs = stack_of(x)
    if xs is None or inplace or not training or not 0 < p < 1 or x.device.type != "cpu":
        return NotImplemented
    return x * torch.empty_like(xs[0], requires_grad=False).bernoulli_(1 - p).div_(1 - p)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Attention of K trials of B examples is attention of K·B; torch has no batching rule on a CPU."""
    if dropout_p or enable_gqa or query.device.type != "cpu":
        return NotImplemented
    stacks = [stack_of(each) for each in (query, key, value)]
    lanes = next((len(each) for each in stacks if each is not None), 0)
    if not lanes or query.dim() != 4:
        return NotImplemented
    folded = []
    for given, stack in zip((query, key, value), stacks, strict=True):
        if stack is None and not is_plain(given):
            return NotImplemented
        folded.append((given.expand(lanes, *given.shape) if stack is None else stack).flatten(0, 1))
    mask = attn_mask
    if mask is not None and (mask.dim() > 2 or not is_plain(mask)):
        held = stack_of(mask)
        if held is None and not is_plain(mask):
            return NotImplemented
        whole = (*query.shape[:-1], key.shape[-2])
        own = mask.expand(lanes, *mask.shape) if held is None else held
        own = own.reshape(lanes, *[1] * (len(whole) - mask.dim()), *mask.shape)
        mask = own.expand(lanes, *whole).flatten(0, 1)
    q, k, v = folded
    if mask is not None and mask.requires_grad:  # a bias that is learned, of which the fast kernels have no gradient
        out, _ = torch.ops.aten._scaled_dot_product_attention_math(q, k, v, mask, 0.0, is_causal, scale=scale)
    else:
        out = functional.scaled_dot_product_attention(q, k, v, mask, 0.0, is_causal, scale=scale)
    return unstacked(out.view(lanes, -1, *out.shape[1:]), 0)


def _normalize(x: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None) -> Any:
    """Write into `out`, as spectral_norm has it; vmap writes into no result that is handed to it."""
    if out is None or stack_of(out) is None:
        return NotImplemented
    return out.copy_(functional.normalize(x, p, dim, eps))


def _cumulative(norm: nn.modules.batchnorm._BatchNorm, x: Tensor) -> Tensor:
    """BatchNorm with `momentum=None`: running statistics are means of all batches so far. torch reads their number."""
    mean, var, seen = (norm._buffers[name] for name in ("running_mean", "running_var", "num_batches_tracked"))
    assert mean is not None
    assert var is not None
    assert seen is not None
    of_batch = mean.clone(), var.clone()
    norm._check_input_dim(x)  # type: ignore[no-untyped-call]
    out = functional.batch_norm(x, *of_batch, norm.weight, norm.bias, True, 1.0, norm.eps)
    seen.add_(1)
    for running, new in zip((mean, var), of_batch, strict=True):
        running.add_((new - running) / seen)
    return out


FORMS: dict[Any, Callable[..., Any]] = {
    functional.dropout: _dropout,
    functional.scaled_dot_product_attention: _attention,
    functional.normalize: _normalize,
}

MAKERS = frozenset(
    {
        *(torch.zeros, torch.ones, torch.empty, torch.full),
        *(torch.zeros_like, torch.ones_like, torch.empty_like, torch.full_like),
        *(Tensor.new_zeros, Tensor.new_ones, Tensor.new_empty, Tensor.new_full),
    }
)
"""Functions whose results a trial may write its own numbers into. Each trial then has a tensor of its own."""


def made_for(lanes: int, made: Any) -> Any:
    """Give each of so many trials a tensor of its own in place of one for all."""
    if not isinstance(made, Tensor) or not is_plain(made) or made.layout is not torch.strided:
        return made
    return unstacked(made.expand(lanes, *made.shape).clone(), 0)


@contextmanager
def in_place() -> Iterator[None]:
    """Where forms stand in for what torch calls by itself: attention in its own layers, and autograd's functions;
    and where a layer of torch's reads numbers."""
    attention = functional.scaled_dot_product_attention

    def attend(*args: Any, **kwargs: Any) -> Any:
        result = _attention(*args, **kwargs)
        return attention(*args, **kwargs) if result is NotImplemented else result

    norm, usual = nn.modules.batchnorm._BatchNorm, nn.modules.batchnorm._BatchNorm.forward

    def normed(self: Any, x: Tensor) -> Tensor:
        cumulative = self.momentum is None and self.training and self.track_running_stats
        return _cumulative(self, x) if cumulative else usual(self, x)

    functional.scaled_dot_product_attention, norm.forward = attend, normed  # type: ignore[method-assign, assignment]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # nested tensors, which vmap has no rules for
    try:
        with _one_by_one():
            yield
    finally:
        functional.scaled_dot_product_attention, norm.forward = attention, usual  # type: ignore[method-assign]
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def as_compiled() -> Iterator[None]:
    """Where an installed package that asks is told that torch compiles it, as a reason to read no numbers.

    torch itself is not, and what a project's own files would leave out is held against nothing.
    """
    usual, here = torch.compiler.is_compiling, Path.cwd()

    def is_compiling() -> bool:
        asker = sys._getframe(1)
        file = Path(asker.f_code.co_filename)
        installed = bool(INSTALLED & {*file.parts}) or not file.is_relative_to(here)
        return usual() or (installed and str(asker.f_globals.get("__name__")).partition(".")[0] != "torch")

    torch.compiler.is_compiling = is_compiling
    try:
        yield
    finally:
        torch.compiler.is_compiling = usual


@contextmanager
def _one_by_one() -> Iterator[None]:
    """Where functions of autograd's that have no batching rule are applied to one trial after another."""
    usual = Function.__dict__["apply"]

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        stacks = [stack_of(each) if isinstance(each, Tensor) else None for each in args]
        lanes = next((len(each) for each in stacks if each is not None), 0)
        if not lanes or cls.generate_vmap_rule or cls.vmap is not Function.vmap or not _all_plain(args, stacks):
            return usual.__get__(None, cls)(*args, **kwargs)
        with outside():
            results = [
                usual.__get__(None, cls)(*(a if s is None else s[k] for a, s in zip(args, stacks, strict=True)))
                for k in range(lanes)
            ]
        if isinstance(results[0], Tensor):
            return unstacked(torch.stack(results), 0)
        return tuple(
            unstacked(torch.stack(parts), 0) if isinstance(parts[0], Tensor) else parts[0]
            for parts in zip(*results, strict=True)
        )

    Function.apply = classmethod(apply)
    try:
        yield
    finally:
        Function.apply = usual


def _all_plain(args: Any, stacks: list[Tensor | None]) -> bool:
    """Whether all tensors among the arguments are a stack, or one for all trials."""
    loose = [each for each, stack in zip(args, stacks, strict=True) if stack is None]
    return all(is_plain(each) for each in tree_leaves(loose) if isinstance(each, Tensor))

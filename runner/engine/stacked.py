"""vmap over trials, with a form of their own for layers of which vmap makes more work than there is.

vmap computes a normalisation without its weights and multiplies afterwards, two more passes forth and three back; and
the gradient of a linear layer's weights is a product with a narrow, transposed matrix, for which MKL takes up to 20
times as long as for the same turned round. A convolution is a grouped one either way, and LayerNorm was not found to
gain. Which layers have a form is the table at the end; a call that a form does not cover goes to torch.
Gradients, a trial's, K = 8 to 64: perceptrons .7 to .8 of the time, convolutional networks .75 to .9.

Shapes: K trials, B examples, I inputs, O outputs, C channels; xs: x of K trials, with what places it has. Knows neither
models nor training.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from thalweg.runner.engine import forms, recurrent
from thalweg.runner.engine.lanes import is_plain, outside, stack_of, stacks_of, unstacked


def over_trials(
    function: Callable[..., Any], in_dims: Any = 0, *, writes: bool = False, as_compiled: bool = False
) -> Callable[..., Any]:
    """Return `function` of one trial as one of K trials: vmap. What it draws, it draws once for all of them.

    writes: whether it writes what differs between trials into tensors that it makes, of which each then has its own.
    as_compiled: whether it is told that torch compiles it.
    """

    def stacking(*arguments: Any) -> Any:
        told = forms.as_compiled() if as_compiled else nullcontext()
        with _Forms(_lanes(arguments) if writes else 0) as stacked, forms.in_place(), told:
            result = function(*arguments)
        if stacked.raised is not None:
            said = f"torch raised {stacked.raised} in the pass of all trials, of one maybe, and the model went on"
            raise RuntimeError(f"{said}; engine=loop has a pass for each")
        return result

    return vmap(stacking, in_dims=in_dims, randomness="same")


def _lanes(arguments: Any) -> int:
    stacks = (stack_of(each) for each in tree_leaves(arguments) if isinstance(each, Tensor))
    return next(len(each) for each in stacks if each is not None)


class _Forms(TorchFunctionMode):
    """Puts the stacked form in the place of a function of torch that has one. lanes: of what is made, 0 for one.
    raised: the kind of error that a function ended with, which may be one trial's alone."""

    def __init__(self, lanes: int) -> None:
        super().__init__()
        self.lanes = lanes
        self.raised: str | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        form = FORMS.get(func)
        result = NotImplemented if form is None else form(*args, **kwargs)
        if result is NotImplemented:
            try:
                result = func(*args, **kwargs)
            except RuntimeError as error:
                self.raised = type(error).__name__
                raise
        return forms.made_for(self.lanes, result) if self.lanes and func in forms.MAKERS else result


class _Linear(torch.autograd.Function):
    """Outputs `[K, B, O]` of x `[K, B, I]`, weight `[K, O, I]` and bias `[K, O]`.

    The weights' gradient is the product of outputs by inputs. torch's is that of inputs by outputs, turned round.
    """

    generate_vmap_rule = True  # not that one is called for: vmap has been left here

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if bias is None:
            return x @ weight.transpose(1, 2)
        return torch.baddbmm(bias[:, None], x, weight.transpose(1, 2))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (grad,), (x, weight) = grads, ctx.saved_tensors
        towards_x = grad @ weight if ctx.needs_input_grad[0] else None
        towards_bias = grad.sum(1) if ctx.needs_input_grad[2] else None
        towards_weight = grad.transpose(1, 2) @ x if ctx.needs_input_grad[1] else None
        return towards_x, towards_weight, towards_bias


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    weight_KOI, bias_KO = stack_of(weight), stack_of(bias)
    if weight_KOI is None or (bias_KO is None) != (bias is None):
        return NotImplemented
    xs = stack_of(x)
    if xs is None and is_plain(x):
        xs = x.expand(len(weight_KOI), *x.shape)
    if xs is None or xs.dim() < 3:
        return NotImplemented
    operands: tuple[Tensor | None, ...] = (xs.flatten(1, -2), weight_KOI, bias_KO)
    device = x.device.type
    if torch.is_autocast_enabled(device):  # which does not reach into the backward pass
        operands = tuple(None if each is None else each.to(torch.get_autocast_dtype(device)) for each in operands)
    with outside():  # within, torch makes a batching rule at each call: two thirds of a pass of a liquid network
        out_KBO: Tensor = _Linear.apply(*operands)
    return unstacked(out_KBO.view(*xs.shape[:-1], -1), 0)


def _group_norm(
    x: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Any:
    stacks = stacks_of(x, weight, bias)
    if stacks is None:
        return NotImplemented
    xs, weight_KC, bias_KC = stacks
    groups = len(xs) * num_groups
    out = functional.group_norm(_as_channels(xs), groups, weight_KC.reshape(-1), bias_KC.reshape(-1), eps)
    return _of_channels(out, len(xs))


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """Writes into the running statistics, as torch's."""
    stacks = stacks_of(x, running_mean, running_var, weight, bias)
    if stacks is None:
        return NotImplemented
    xs, mean_KC, var_KC, weight_KC, bias_KC = stacks
    running, affine = (mean_KC.view(-1), var_KC.view(-1)), (weight_KC.reshape(-1), bias_KC.reshape(-1))
    out = functional.batch_norm(_as_channels(xs), *running, *affine, training, momentum, eps)
    return _of_channels(out, len(xs))


def _as_channels(xs: Tensor) -> Tensor:
    """`[K, B, C, …]` as `[B, K·C, …]`: K trials' channels are those of one wide layer."""
    return xs.transpose(0, 1).flatten(1, 2)


def _of_channels(out: Tensor, trials: int) -> Tensor:
    """Give `[B, K·C, …]` back to vmap."""
    return unstacked(out.view(len(out), trials, -1, *out.shape[2:]), 1)


FORMS: dict[Any, Callable[..., Any]] = {
    functional.linear: _linear,
    functional.group_norm: _group_norm,
    functional.batch_norm: _batch_norm,
    **forms.FORMS,
    **recurrent.FORMS,
}

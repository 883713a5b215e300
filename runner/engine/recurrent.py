"""torch's recurrent layers over trials, step by step: torch has no batching rule for them.

A step is one product for all trials; in the backward pass the products for the weights are taken once for all steps.
All sigmoids of a step are one tanh, σ(a) = (1 + tanh(a/2)) / 2, a kernel that rounds alike wherever a number lies.

Shapes: K trials, T steps, B examples, I inputs, H cells, G = 4H, 3H or H numbers of all gates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from thalweg.runner.engine.lanes import is_plain, outside, stack_of, stacks_of, unstacked

States = tuple[Tensor, ...]
"""h, and c of an LSTM, `[K, B, H]`."""


class _Lstm(Function):
    """Outputs `[K, T, B, H]` and the last c of pre `[K, T, B, 4H]`, h0, c0 and w `[K, 4H, H]`; gates i, f, g, o."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, h: Tensor, c: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        cells = h.shape[-1]
        scale = torch.full((4 * cells,), 0.5, dtype=h.dtype, device=h.device)
        scale[2 * cells : 3 * cells] = 1
        shift, halved, across = 1 - scale, pre * scale, (w * scale[:, None]).transpose(1, 2)
        hs, cs, bent, gates, tops = [h], [c], [], [], []
        for t in range(pre.shape[1]):
            bent.append(torch.baddbmm(halved[:, t], hs[-1], across).tanh_())
            gates.append(torch.addcmul(shift, bent[-1], scale))
            i, f, g, o = gates[-1].chunk(4, dim=-1)
            cs.append(torch.addcmul(i * g, f, cs[-1]))
            tops.append(cs[-1].tanh())
            hs.append(o * tops[-1])
        ctx.steps = hs, cs, bent, gates, tops
        ctx.save_for_backward(w, scale)
        return torch.stack(hs[1:], dim=1), cs[-1].clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        (towards_h, dc), (hs, cs, bent, gates, tops) = grads, ctx.steps
        w, scale = ctx.saved_tensors
        dh, slope, das = torch.zeros_like(dc), scale * scale, []
        for t in reversed(range(len(gates))):
            i, f, g, o = gates[t].chunk(4, dim=-1)
            dh = dh + towards_h[:, t]
            dc = dc + dh * (o * (1 - tops[t] * tops[t]))
            towards_gates = torch.cat([dc * g, dc * cs[t], dc * i, dh * tops[t]], dim=-1)
            das.append(towards_gates * ((1 - bent[t] * bent[t]) * slope))
            dh, dc = torch.bmm(das[-1], w), dc * f
        da = torch.stack(das[::-1], dim=1)
        return da, dh, dc, _product(da, hs[:-1])


class _Gru(Function):
    """Outputs `[K, T, B, H]` of pre `[K, T, B, 3H]`, h0, w `[K, 3H, H]` and b `[K, 1, 3H]`; gates r, z, n."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, h: Tensor, w: Tensor, b: Tensor) -> Tensor:
        cells, across = h.shape[-1], w.transpose(1, 2)
        hs, rzs, ns, inner = [h], [], [], []
        for t in range(pre.shape[1]):
            u = torch.baddbmm(b, hs[-1], across)
            rzs.append((((pre[:, t, :, : 2 * cells] + u[..., : 2 * cells]) * 0.5).tanh_() + 1) * 0.5)
            r, z = rzs[-1].chunk(2, dim=-1)
            inner.append(u[..., 2 * cells :])
            ns.append(torch.addcmul(pre[:, t, :, 2 * cells :], r, inner[-1]).tanh())
            hs.append(torch.addcmul(ns[-1], z, hs[-1] - ns[-1]))
        ctx.steps = hs, rzs, ns, inner
        ctx.save_for_backward(w)
        return torch.stack(hs[1:], dim=1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        (towards_h,), (hs, rzs, ns, inner), (w,) = grads, ctx.steps, ctx.saved_tensors
        dh, das, dus = torch.zeros_like(hs[0]), [], []
        for t in reversed(range(len(ns))):
            r, z = rzs[t].chunk(2, dim=-1)
            dh = dh + towards_h[:, t]
            dan = dh * (1 - z) * (1 - ns[t] * ns[t])
            towards_rz = torch.cat([dan * inner[t], dh * (hs[t] - ns[t])], dim=-1) * (rzs[t] * (1 - rzs[t]))
            das.append(torch.cat([towards_rz, dan], dim=-1))
            dus.append(torch.cat([towards_rz, dan * r], dim=-1))
            dh = torch.baddbmm(dh * z, dus[-1], w)
        du = torch.stack(dus[::-1], dim=1)
        return torch.stack(das[::-1], dim=1), dh, _product(du, hs[:-1]), du.sum((1, 2))[:, None]


class _Rnn(Function):
    """Outputs `[K, T, B, H]` of pre `[K, T, B, H]`, h0 and w `[K, H, H]`; of tanh, or of relu."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, h: Tensor, w: Tensor, relu: bool) -> Tensor:
        across, hs = w.transpose(1, 2), [h]
        for t in range(pre.shape[1]):
            a = torch.baddbmm(pre[:, t], hs[-1], across)
            hs.append(a.relu_() if relu else a.tanh_())
        ctx.hs, ctx.relu = hs, relu
        ctx.save_for_backward(w)
        return torch.stack(hs[1:], dim=1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (towards_h,), hs, (w,) = grads, ctx.hs, ctx.saved_tensors
        dh, das = torch.zeros_like(hs[0]), []
        for t in reversed(range(1, len(hs))):
            slope = (hs[t] > 0).to(dh.dtype) if ctx.relu else 1 - hs[t] * hs[t]
            das.append((dh + towards_h[:, t - 1]) * slope)
            dh = torch.bmm(das[-1], w)
        da = torch.stack(das[::-1], dim=1)
        return da, dh, _product(da, hs[:-1]), None


class _Inputs(Function):
    """x `[K, T·B, I]` by w `[K, G, I]`; the weights' gradient as gates by inputs, as for any linear layer."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x @ w.transpose(1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor]:
        (grad,), (x, w) = grads, ctx.saved_tensors
        return (grad @ w if ctx.needs_input_grad[0] else None), grad.transpose(1, 2) @ x


def _product(da: Tensor, hs: Sequence[Tensor]) -> Tensor:
    """The gradient of the weights `[K, G, H]` by all steps' gates and what the cells held before them."""
    return da.flatten(1, 2).transpose(1, 2) @ torch.stack(list(hs), dim=1).flatten(1, 2)


def _applied(function: type[Function], *arguments: Any) -> Any:
    """A function of autograd's on stacks, which no transform has its hands on."""
    with outside():
        return function.apply(*arguments)


def _lstm(x: Tensor, states: States, weights: Sequence[Tensor]) -> tuple[Tensor, States]:
    w_in, w, *biases = weights
    pre = _of_inputs(x, w_in, [sum(biases)] if biases else [])
    hs, c = _applied(_Lstm, pre, *states, w)
    return hs, (hs[:, -1], c)


def _gru(x: Tensor, states: States, weights: Sequence[Tensor]) -> tuple[Tensor, States]:
    w_in, w, *biases = weights
    b = biases[1][:, None] if biases else w.new_zeros(len(w), 1, w.shape[1])
    hs = _applied(_Gru, _of_inputs(x, w_in, biases[:1]), states[0], w, b)
    return hs, (hs[:, -1],)


def _rnn(relu: bool) -> Callable[..., tuple[Tensor, States]]:
    def run(x: Tensor, states: States, weights: Sequence[Tensor]) -> tuple[Tensor, States]:
        w_in, w, *biases = weights
        hs = _applied(_Rnn, _of_inputs(x, w_in, [sum(biases)] if biases else []), states[0], w, relu)
        return hs, (hs[:, -1],)

    return run


def _of_inputs(x: Tensor, w: Tensor, biases: Sequence[Any]) -> Tensor:
    """What the inputs contribute to the gates at all steps at once, `[K, T, B, G]`."""
    pre: Tensor = _applied(_Inputs, x.flatten(1, 2), w)
    pre = pre + biases[0][:, None] if biases else pre
    return pre.view(*x.shape[:3], -1)


def _layers(run: Callable[..., tuple[Tensor, States]]) -> Callable[..., Any]:
    """The form of a whole recurrent layer, as torch.nn calls it."""

    def form(
        x: Tensor,
        hx: Any,
        weights: Any,
        has_biases: Any,
        num_layers: Any = 1,
        dropout: float = 0.0,
        train: bool = False,
        bidirectional: bool = False,
        batch_first: Any = False,
    ) -> Any:
        if not isinstance(has_biases, bool):
            return NotImplemented  # packed sequences
        held, lone = stacks_of(*weights), hx if isinstance(hx, tuple) else (hx,)
        each = 4 if has_biases else 2
        directions = 2 if bidirectional else 1
        if held is None or len(held) != each * directions * num_layers or not all(map(_reachable, (x, *lone))):
            return NotImplemented  # weights that all trials share, or a projection of an LSTM's
        trials = len(held[0])
        at = _spread(x, trials)
        at = at.transpose(1, 2) if batch_first else at
        first, last = [_spread(state, trials) for state in lone], []
        for layer in range(num_layers):
            if layer and dropout and train:
                at = at * torch.empty(at.shape[1:], dtype=at.dtype, device=at.device).bernoulli_(1 - dropout).div_(
                    1 - dropout
                )
            parts = []
            for way in range(directions):
                place = layer * directions + way
                own = held[each * place : each * (place + 1)]
                hs, states = run(at.flip(1) if way else at, tuple(state[:, place] for state in first), own)
                parts.append(hs.flip(1) if way else hs)
                last.append(states)
            at = torch.cat(parts, dim=-1) if bidirectional else parts[0]
        ends = [unstacked(torch.stack(states, dim=1), 0) for states in zip(*last, strict=True)]
        return unstacked(at.transpose(1, 2) if batch_first else at, 0), *ends

    return form


def _cell(run: Callable[..., tuple[Tensor, States]]) -> Callable[..., Any]:
    """The form of a single cell: a layer of one step."""

    def form(x: Tensor, hx: Any, w_ih: Tensor, w_hh: Tensor, b_ih: Any = None, b_hh: Any = None) -> Any:
        lone = tuple(hx) if isinstance(hx, (tuple, list)) else (hx,)
        weights = [each for each in (w_ih, w_hh, b_ih, b_hh) if each is not None]
        held = stacks_of(*weights)
        if held is None or not all(map(_reachable, (x, *lone))):
            return NotImplemented
        trials = len(held[0])
        _, states = run(_spread(x, trials)[:, None], tuple(_spread(state, trials) for state in lone), held)
        ends = tuple(unstacked(state, 0) for state in states)
        return ends if len(ends) > 1 else ends[0]

    return form


def _reachable(tensor: Tensor) -> bool:
    return stack_of(tensor) is not None or is_plain(tensor)


def _spread(tensor: Tensor, trials: int) -> Tensor:
    stack = stack_of(tensor)
    return tensor.expand(trials, *tensor.shape) if stack is None else stack


FORMS: dict[Any, Callable[..., Any]] = {
    torch.lstm: _layers(_lstm),
    torch.gru: _layers(_gru),
    torch.rnn_tanh: _layers(_rnn(False)),
    torch.rnn_relu: _layers(_rnn(True)),
    torch.lstm_cell: _cell(_lstm),
    torch.gru_cell: _cell(_gru),
    torch.rnn_tanh_cell: _cell(_rnn(False)),
    torch.rnn_relu_cell: _cell(_rnn(True)),
}

"""One training step of K trials, whatever executes it.

A lane whose loss or gradient norm is not finite, or whose loss exceeds its limit, has diverged: its update is
refused inside the step, so what remains is the state before the offending one. Its neighbours cannot tell.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from optim.rule import Coefficients, Rule
from runner.engine.state import State

Gradient = Callable[[State, Tensor, Tensor], tuple[Tensor, Tensor, dict[str, Tensor]]]
"""(state, x, y) -> loss `[K]`, gradient `[K, P]`, buffers after the forward pass."""


def train_step(rule: Rule, gradient: Gradient, state: State, batch: tuple[Tensor, Tensor], c: Coefficients) -> Tensor:
    """Advance every living lane by one step, in place. Returns the batch losses before the update, `[K]`."""
    loss_K, grad_KP, buffers = gradient(state, *batch)
    with torch.no_grad():
        sound_K = torch.isfinite(loss_K) & torch.isfinite(torch.linalg.vector_norm(grad_KP, dim=1))
        sound_K &= loss_K <= state.limit
        state.diverged_step.masked_fill_(state.alive & ~sound_K, state.step)
        state.alive &= sound_K
        _update(rule, state, grad_KP, buffers, c)
    state.step += 1
    return loss_K


def _update(rule: Rule, state: State, grad_KP: Tensor, buffers: dict[str, Tensor], c: Coefficients) -> None:
    """Apply the rule to the living lanes only.

    On the CPU the question whether all lanes live costs nothing, and the copies (a third of the optimizer's
    time for small models) are made only when one does not. Elsewhere asking would wait for the device.
    """
    if state.theta.device.type == "cpu" and bool(state.alive.all()):
        rule.update(state.theta, grad_KP, state.slots, c)
        for name, buffer in buffers.items():
            state.buffers[name].copy_(buffer)
        return
    written = {"theta": state.theta, **state.slots}
    before = {name: tensor.clone() for name, tensor in written.items()}
    rule.update(state.theta, grad_KP, state.slots, c)
    for name, tensor in written.items():
        torch.where(state.alive[:, None], tensor, before[name], out=tensor)
    for name, buffer in buffers.items():
        held = state.buffers[name]
        alive = state.alive.view(-1, *[1] * (held.dim() - 1))
        torch.where(alive, buffer, held.clone(), out=held)

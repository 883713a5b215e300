"""One training step of K trials, whatever executes it.

A lane whose loss or gradient norm is not finite, or whose loss exceeds its limit, has diverged: its update is
refused inside the step, so what remains is the state before the offending one. Its neighbours cannot tell. Where
losses are scaled, a lane whose gradient alone is not finite skips the step instead: its weights, slots and average stay
to the bit, the schedule and its buffers go on, and the rule has taken one step less.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from thalweg.runner.engine.inputs import Feed
from thalweg.runner.engine.recipe import Recipe
from thalweg.runner.engine.state import State

Gradient = Callable[[State, Feed], tuple[Tensor, Tensor, dict[str, Tensor]]]
"""(state, feed) -> loss `[K]`, gradient `[K, P]` (the caller's to overwrite), buffers after the forward pass.

Where the model tells L numbers of a step, these stand beside its loss, `[K, 1 + L]`."""
Update = Callable[[Recipe, State, Feed, Tensor], None]
"""(recipe, state, feed, gradient) -> weights and slots of the lanes that live are updated, in place."""


@torch.no_grad()
def train_step(
    recipe: Recipe, gradient: Gradient, state: State, feed: Feed, *, asking: bool, update: Update | None = None
) -> Tensor:
    """Advance every living lane by one step, in place. Returns the batch losses before the update, `[K]`.

    Where the recipe tells S numbers, what is returned is `[K·(1+S)]`: of each lane its loss, and then these.

    update: what stands in for `update_living`, where nobody asks.
    asking: whether the host may look at the tensors. On the CPU that costs nothing, and the copies that keep the
    state of a dying lane (a third of the optimizer's time for small models) are made only when one dies. Elsewhere
    asking would wait for the device, and inside a trace or a graph nobody can be asked.
    """
    before_KP = state.theta.clone() if "update_norm" in recipe.scalars else None
    known = {"loss_scale": _factors(state)} if "loss_scale" in recipe.scalars else {}
    losses, grad_KP, buffers = _unscaled(gradient(state, feed), state)
    loss_K, *logged = losses.unbind(1) if losses.dim() == 2 else (losses,)
    if recipe.sam != "none":
        grad_KP = _uphill(recipe, gradient, state, feed, grad_KP)
    norm_K = recipe.norm(grad_KP)
    recipe.shorten(grad_KP, norm_K, feed.coefficients)
    if state.scale is not None:
        _step_where_finite(recipe, state, feed, loss_K, norm_K, grad_KP)
        _keep_buffers(state, buffers)
    elif asking and state.step > 0 and _nobody_dies(state, loss_K, norm_K):
        _update(recipe, state, feed, grad_KP)
        for name, buffer in buffers.items():
            state.buffers[name].copy_(buffer)
    else:
        _judge(recipe, state, feed, loss_K, norm_K)
        (update or update_living)(recipe, state, feed, grad_KP)
        _keep_buffers(state, buffers)
    state.step += 1
    if not recipe.told:
        return loss_K
    known["gradient_norm"] = torch.where(norm_K.isfinite(), norm_K, math.nan) if recipe.scaling else norm_K
    told = [loss_K, *_scalars(recipe, known, state, before_KP), *logged]
    return torch.stack(told, dim=1).flatten()


def _scalars(recipe: Recipe, known: dict[str, Tensor], state: State, before_KP: Tensor | None) -> list[Tensor]:
    """Each lane's scalars, `[K]`. A lane whose update was refused did not move."""
    told = []
    for name in recipe.scalars:
        if name == "update_norm":
            assert before_KP is not None
            told.append(recipe.norm(state.theta - before_KP))
        else:
            told.append(known[name] if name in known else recipe.norm(state.theta, state.fixed))
    return told


def _factors(state: State) -> Tensor:
    """What each lane's loss is multiplied by, `[K]`; NaN, which is stored as nothing, where losses are as they are."""
    return state.scale.factor.clone() if state.scale else torch.full_like(state.limit, math.nan)


def _unscaled(
    taken: tuple[Tensor, Tensor, dict[str, Tensor]], state: State
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """What a gradient gave, with the gradient of the losses themselves."""
    if state.scale is not None:
        state.scale.divide(taken[1])
    return taken


def _step_where_finite(
    recipe: Recipe, state: State, feed: Feed, loss_K: Tensor, norm_K: Tensor, grad_KP: Tensor
) -> None:
    """Update the lanes whose gradient is finite, and move all scales; `grad_KP` is lost.

    It asks the device, as torch's GradScaler does: what a rule is fed depends on how many steps it took.
    """
    assert state.scale is not None
    of, finite_K = feed.coefficients, norm_K.isfinite()
    own = replace(feed, coefficients=_coefficients(state, feed))
    state.scale.move(finite_K, of["scaling.interval"][:, 0])
    small_K = state.scale.factor < of["scaling.floor"][:, 0]
    _judge(recipe, state, feed, loss_K, torch.where(small_K, math.inf, torch.zeros_like(norm_K)))
    taking_K = state.alive & finite_K
    if taking_K.all():
        _update(recipe, state, own, grad_KP)
    elif taking_K.any():
        update_lanes(recipe, state, own, grad_KP, taking_K)


def _coefficients(state: State, feed: Feed) -> dict[str, Tensor]:
    """The step's coefficients, for as many steps as each lane has taken."""
    assert state.scale is not None
    missed = state.scale.missed.tolist()
    if tuple(missed) == (feed.missed or (0,) * len(missed)):
        return feed.coefficients
    assert feed.late is not None
    return feed.late(state.step - np.array(missed))


def _uphill(recipe: Recipe, gradient: Gradient, state: State, feed: Feed, grad_KP: Tensor) -> Tensor:
    """The gradient at the point that SAM climbs to. That pass's loss and buffers are thrown away.

    It sees the first pass's batch and random numbers: with rho = 0 a step is the base optimizer's to the bit.
    """
    here_KP = state.theta.clone()
    recipe.climb(state.theta, grad_KP, feed.coefficients)
    _, grad_KP, _ = _unscaled(gradient(state, feed), state)
    state.theta.copy_(here_KP)
    return grad_KP


def _nobody_dies(state: State, loss_K: Tensor, norm_K: Tensor) -> bool:
    """Whether each lane lives and `_judge` would let it. In Python: as tensors that took 40 of a lone trial's 520 µs.

    False, and `_judge` is asked, where the sum might overflow in the lanes' own precision only.
    """
    most = torch.finfo(loss_K.dtype).max
    lanes = zip(state.alive.tolist(), loss_K.tolist(), state.limit.tolist(), norm_K.tolist(), strict=True)
    return all(alive and loss <= limit and abs(loss) + norm < most for alive, loss, limit, norm in lanes)


def _judge(recipe: Recipe, state: State, feed: Feed, loss_K: Tensor, norm_K: Tensor) -> None:
    """Note who died at this step; the first step's losses set the limits.

    A state that counts its steps says when that is over; one that does not stays at 0, and the device finds out.
    """
    sound_K = (loss_K <= state.limit) & (loss_K.abs() + norm_K < math.inf)
    torch.where(state.alive > sound_K, feed.step, state.diverged_step, out=state.diverged_step)
    state.alive &= sound_K
    if state.step == 0:
        limit_K = recipe.loss_factor * loss_K.clamp(min=1)
        torch.where(feed.step == 0, limit_K, state.limit, out=state.limit)


def _update(recipe: Recipe, state: State, feed: Feed, grad_KP: Tensor) -> None:
    """Apply the rule, and let the average follow."""
    _apply(recipe, state, feed, grad_KP)
    recipe.follow(state.theta, state.slots, feed.coefficients)


def _apply(recipe: Recipe, state: State, feed: Feed, grad_KP: Tensor) -> None:
    """Apply the rule. As in torch, a parameter without a gradient is passed over, and counts the steps it took."""
    module = state.modules[0] if state.modules else None
    if module is None or (module.taken is None and module.idle == recipe.unused):
        recipe.update(state.theta, grad_KP, state.slots, feed.coefficients)
        return
    if module.taken is None:
        steps = state.step - (int(state.scale.missed) if state.scale else 0)
        module.taken = {name: 0 if name in recipe.unused else steps for name in recipe.layout.shapes}
    assert feed.late is not None
    moving = {name: taken for name, taken in module.taken.items() if name not in module.idle}
    late = {taken: feed.late(taken) for taken in {*moving.values()}}
    recipe.update_some(state.theta, grad_KP, state.slots, {name: late[taken] for name, taken in moving.items()})
    module.taken |= {name: taken + 1 for name, taken in moving.items()}


def update_living(recipe: Recipe, state: State, feed: Feed, grad_KP: Tensor) -> None:
    """Apply the rule to the lanes that live; `grad_KP` is lost."""
    update_lanes(recipe, state, feed, grad_KP, state.alive)


def update_lanes(recipe: Recipe, state: State, feed: Feed, grad_KP: Tensor, lanes_K: Tensor) -> None:
    """Apply the rule to these lanes; `grad_KP` is lost."""
    written = {"theta": state.theta, **state.slots}
    before = {name: tensor.clone() for name, tensor in written.items()}
    _update(recipe, state, feed, grad_KP)
    for name, tensor in written.items():
        torch.where(lanes_K[:, None], tensor, before[name], out=tensor)


def _keep_buffers(state: State, buffers: dict[str, Tensor]) -> None:
    """Take over the buffers of the lanes that live."""
    for name, buffer in buffers.items():
        held = state.buffers[name]
        alive = state.alive.view(-1, *[1] * (held.dim() - 1))
        torch.where(alive, buffer, held, out=held)

"""The gradient of K trials: of one by autograd, of all at once by vmap, and of one by a module of its own.

Where trials have a scale, it is of their scaled losses; the losses themselves are handed out as they are.

Gradients are taken with respect to views of theta, one a parameter, and then joined (with respect to the flat row
itself they take 1.4 to 7 times as long). A pass seeds the generators with the feed's key: it draws the same
numbers whenever that step is taken, by whom, and a second time for SAM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from thalweg.runner.engine.accumulate import parts_of
from thalweg.runner.engine.generators import seed_all, seed_torch
from thalweg.runner.engine.inputs import Feed
from thalweg.runner.engine.parameters import ParameterLayout
from thalweg.runner.engine.stacked import over_trials
from thalweg.runner.engine.state import State
from thalweg.runner.engine.step import Gradient
from thalweg.runner.engine.told import beside

if TYPE_CHECKING:
    from thalweg.runner.engine.workload import Workload


def vmap_gradient(workload: Workload, shared: bool) -> Gradient:
    """The gradient of K trials at once: x, y are `[B, …]` for all lanes if shared, else `[K, B, …]`.

    Only the forward pass is batched by vmap; autograd then differentiates the sum of the lanes' losses, which
    keeps lanes apart as well. Against vmap(grad) a step takes a third less, and the first one not 3 s for
    importing torch's compiler.
    """
    batched = None if shared else 0
    does = {"writes": workload.habits.writes, "as_compiled": workload.habits.as_compiled}
    plain, smoothed = (over_trials(workload.loss, (0, 0, batched, each), **does) for each in (None, 0))
    leaves_of = _Leaves(workload.layout)

    def gradient(state: State, feed: Feed) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        of_trials = plain if feed.label_smoothing is None else smoothed
        seed(feed)
        with torch.enable_grad():
            leaves = leaves_of(state)
            loss_K, buffers, told = of_trials(leaves, state.buffers, feed.batch, feed.label_smoothing)
            grads = _gradients(loss_K, leaves, state.scale.factor if state.scale else None)
        losses = beside(loss_K.detach(), told)
        return losses, workload.layout.flatten(grads), {n: b.detach() for n, b in buffers.items()}

    return gradient


def solo_gradient(workload: Workload) -> Gradient:
    """The gradient of a single trial (K = 1) by ordinary autograd; vmap at K = 1 would be four times slower."""
    leaves_of = _Leaves(workload.layout, lone=True)

    def gradient(state: State, feed: Feed) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        smoothing = None if feed.label_smoothing is None else feed.label_smoothing[0]
        seed(feed)
        with torch.enable_grad():
            leaves = leaves_of(state)
            held = {name: buffer[0] for name, buffer in state.buffers.items()}
            loss, buffers, told = workload.loss(leaves, held, feed.batch, smoothing)
            of = state.scale.factor[0] if state.scale else None
            grads = {name: grad[None] for name, grad in _gradients(loss, leaves, of).items()}
        after = {name: buffer.detach()[None] for name, buffer in buffers.items()}
        return beside(loss.detach(), told)[None], workload.layout.flatten(grads), after

    return gradient


def own_gradient(workload: Workload, parts: int = 1) -> Gradient:
    """The gradient of a single trial by a module of its own, as in a script: whatever the module does, it does.

    parts: in how many a batch is taken. Each one's loss is divided by their number before its backward pass, which adds
    to the gradients of those before: hooks see what they see in a script.

    The next pass writes into the module's buffers again. Where a step takes two of which the first counts, as SAM's
    does, they are handed out as copies.
    """
    copies = workload.recipe.sam != "none"

    def gradient(state: State, feed: Feed) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        (lone,) = state.modules
        smoothing = None if feed.label_smoothing is None else feed.label_smoothing[0]
        lone.sit(workload.layout, state.theta, state.buffers)
        lone.forget_gradients()
        told = []
        for part in parts_of(feed, parts, shared=True):
            if part.key is not None:
                seed_all(part.key)
            with torch.enable_grad(), workload.hearing() as heard:
                loss = workload.loss_of(lone.module, part.batch, smoothing)
                share = loss / parts if parts > 1 else loss
                scaled = share * state.scale.factor[0] if state.scale else share
                scaled.backward()  # type: ignore[no-untyped-call]
            lone.moved()
            told.append(beside(loss.detach(), heard.numbers(loss.detach())))
        now = {name: buffer.detach().to(workload.device) for name, buffer in lone.buffers_now().items()}
        buffers = {name: (buffer.clone() if copies else buffer)[None] for name, buffer in now.items()}
        mean = torch.stack(told).mean(0) if parts > 1 else told[0]
        return mean[None], workload.layout.flatten(lone.gradients()), buffers

    return gradient


class _Leaves:
    """The parameters, those that train as autograd's leaves that share theta's memory, made anew only when theta is
    another tensor.

    Those that are frozen take no gradient, and what leads to them alone is not differentiated. lone: of one lane, as
    it would have them itself.
    """

    def __init__(self, layout: ParameterLayout, *, lone: bool = False) -> None:
        self.layout, self.lone = layout, lone
        self.theta: Tensor | None = None
        self.made: dict[str, Tensor] = {}

    def __call__(self, state: State) -> dict[str, Tensor]:
        if state.theta is not self.theta:
            self.made = {
                name: (each[0] if self.lone else each).detach().requires_grad_(name in self.layout.shapes)
                for name, each in state.parameters(self.layout).items()
            }
            self.theta = state.theta
        return self.made


def _gradients(loss: Tensor, leaves: dict[str, Tensor], times: Tensor | None) -> dict[str, Tensor]:
    """The gradient with respect to each leaf that trains; zero for one that is not used. times: what each loss is
    multiplied by."""
    training = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
    losses = loss if times is None else loss * times
    total = _Total.apply(losses) if losses.dim() else losses
    grads = torch.autograd.grad(total, list(training.values()), materialize_grads=True)
    return dict(zip(training, grads, strict=True))


class _Total(torch.autograd.Function):
    """The sum of the losses, as far as its gradient goes: nobody reads it, and no kernel computes it.

    With `grad_outputs` in its place torch would import sympy, 0.3 s.
    """

    @staticmethod
    def forward(ctx: Any, loss: Tensor) -> Tensor:
        ctx.shape = loss.shape
        return loss.new_empty(())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad.expand(ctx.shape)


def seed(feed: Feed) -> None:
    """Set torch's generators for a forward pass that draws random numbers."""
    if feed.key is not None:
        seed_torch(feed.key)

"""Steps recorded once and run many times: flat lists of operations, compiled programs, CUDA graphs.

A program is made for one width K and kept with its workload. Nothing of a trial is baked in: weights, coefficients,
batches and the step's number are its inputs. Seeding stays outside, so that what is drawn inside is what the eager
step would draw. Recording really runs what it records: whole steps are recorded on a copy of the state.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from thalweg.runner.engine.accumulate import accumulated
from thalweg.runner.engine.compiling import CompiledUpdate, compiled
from thalweg.runner.engine.examples import Batch
from thalweg.runner.engine.gradient import seed, vmap_gradient
from thalweg.runner.engine.inputs import Block, Feed
from thalweg.runner.engine.recording import Recording
from thalweg.runner.engine.state import State
from thalweg.runner.engine.step import Gradient, train_step
from thalweg.runner.engine.tabled import TabledSteps
from thalweg.runner.engine.workload import Workload


class RecordedGradient:
    """A gradient that is recorded when first asked for, checked when asked again, and replayed from then on.

    The check is on another step's weights and batch, to the bit: a recording that does not do exactly what the
    gradient does is thrown away, and the gradient stays what it was.
    """

    def __init__(self, make: Callable[[], Gradient]) -> None:
        self.make, self.gradient = make, make()
        self.recording: Recording | None = None
        self.trusted: bool | None = None

    def __call__(self, state: State, feed: Feed) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        factor = state.scale.factor if state.scale else None
        inputs = (state.theta, state.fixed, state.buffers, feed.batch, feed.label_smoothing, factor)
        if self.trusted and self.recording:
            seed(feed)
            replayed: tuple[Tensor, Tensor, dict[str, Tensor]] = self.recording(*inputs)
            return replayed
        if self.trusted is None and self.recording is None:
            with suppress(RuntimeError):  # an operation that cannot be recorded
                return self._recorded(state, feed, inputs)
            self.trusted = False
        result = self.gradient(state, feed)
        if self.trusted is None:
            self.trusted = self._confirmed(feed, inputs, result)
        return result

    def _recorded(self, state: State, feed: Feed, inputs: Any) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Record a first run, and return what it computed."""
        self.recording = Recording(self._of_tensors(state, feed), inputs)
        if self.recording.reads_values:
            self.trusted = False
        result: tuple[Tensor, Tensor, dict[str, Tensor]] = self.recording.take_result()
        return result

    def _confirmed(self, feed: Feed, inputs: Any, result: Any) -> bool:
        """Whether a replay gives `result`."""
        assert self.recording is not None
        seed(feed)
        try:
            return _same(result, self.recording(*inputs))
        except torch.OutOfMemoryError:  # of the width, which is to be halved
            raise
        except RuntimeError:  # an operation that cannot be called again, as oneDNN's recurrent layers
            return False

    def _of_tensors(self, state: State, feed: Feed) -> Callable[..., Any]:
        gradient = self.make()  # one that has not seen these weights yet, and must come by them inside the recording

        def pure(theta: Tensor, fixed: dict[str, Tensor], buffers: dict[str, Tensor], *given: Any) -> Any:
            batch, smoothing, factor = given
            own = replace(feed, batch=batch, label_smoothing=smoothing)
            scale = replace(state.scale, factor=factor) if state.scale else None
            return gradient(replace(state, theta=theta, fixed=fixed, buffers=buffers, scale=scale), own)

        return pure


def _same(one: Any, other: Any) -> bool:
    """Whether two trees of tensors are equal to the bit, NaN at the same places included (of lanes that diverge)."""
    pairs = zip(tree_leaves(one), tree_leaves(other), strict=True)
    return all(torch.equal(a, b) or torch.allclose(a, b, rtol=0, atol=0, equal_nan=True) for a, b in pairs)


def recorded(workload: Workload, name: str, gradient: Callable[[], Gradient], state: State, feed: Feed) -> Gradient:
    """The recorded form of a gradient for this width and these shapes, or itself where that would not be honest."""
    if not workload.habits.steady:
        return gradient()
    key = (name, state.lanes, _shapes((state.fixed, feed.batch, feed.label_smoothing)))
    if key not in workload.programs:
        workload.programs[key] = RecordedGradient(gradient)
    found: RecordedGradient = workload.programs[key]
    return found


def compiled_step(workload: Workload, shared: bool, state: State, feed: Feed) -> Tensor:
    """Take one step by a program that holds gradient and update, compiled when first used at a width."""
    inputs = _step_inputs(state, feed)
    key = ("compiled", state.lanes, shared, _shapes(inputs))
    if key not in workload.programs:
        workload.programs[key] = compiled(_pure_step(workload, shared, state), inputs)
    loss_K: Tensor = workload.programs[key](*inputs)
    state.step += 1
    return loss_K


class GraphedSteps:
    """The step of K trials on a GPU as one CUDA graph: some sixty kernels, and a block's inputs, for one launch.

    A graph reads and writes fixed memory, that of `steps`: other cohorts' states are copied in and out, once a block.
    compiling: whether update and guard are compiled to one kernel.
    """

    def __init__(self, workload: Workload, state: State, block: Block, *, compiling: bool = False) -> None:
        self.steps = TabledSteps(workload, state, block)
        if compiling:
            self.steps.update = CompiledUpdate(workload.recipe, self.steps.state, self.steps.feed())
        here = torch.cuda.current_stream(workload.device)
        aside = torch.cuda.Stream(workload.device)  # type: ignore[no-untyped-call]
        aside.wait_stream(here)
        with torch.cuda.stream(aside):  # once outside the graph, for what kernels set up at their first use
            self.steps.take()
        here.wait_stream(aside)
        self.steps.forget()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.steps.take()

    def __call__(self, state: State, block: Block) -> Tensor:
        """Advance a state by a block; its losses, `[T, K]`."""
        return self.steps.advance(state, block, self.graph.replay)


def graphed_steps(workload: Workload, state: State, block: Block, executor: str) -> GraphedSteps:
    """The step for this width as "graphed" or "graphed_compiled" has it, captured at its first use."""
    inputs = state.fixed, block.rows[0], None if block.draws is None else block.draws[0], block.label_smoothing
    key = (executor, state.lanes, block.shared, _shapes(inputs))
    if key not in workload.programs:
        workload.programs[key] = GraphedSteps(workload, state, block, compiling=executor == "graphed_compiled")
    graph: GraphedSteps = workload.programs[key]
    return graph


def _step_inputs(state: State, feed: Feed) -> tuple[Any, ...]:
    return state.inputs(), feed.batch, feed.coefficients, feed.label_smoothing, feed.step


def _pure_step(workload: Workload, shared: bool, state: State) -> Callable[..., Tensor]:
    """The step as a function that writes into the tensors it is given."""
    gradient = accumulated(vmap_gradient(workload, shared), workload.parts, shared)

    def pure(
        tensors: dict[str, Tensor],
        batch: Batch,
        coefficients: dict[str, Tensor],
        smoothing: Tensor | None,
        step: Tensor,
    ) -> Tensor:
        feed = Feed(batch, coefficients, smoothing, step, None)
        return train_step(workload.recipe, gradient, state.like(tensors, 0), feed, asking=False)

    return pure


def _shapes(inputs: Any) -> tuple[object, ...]:
    return tuple((each.shape, each.dtype) if isinstance(each, Tensor) else each for each in tree_leaves(inputs))

"""Functions of tensors as programs of torch.compile; among them update and guard of a step, which may be captured.

Eagerly update and guard are some fourteen operations, each of which reads and writes weights or slots: counted, 42
passes over a trial's numbers for AdamW. Compiled, on a GPU, they are one kernel that reads each number once and writes
it once, if the rule is elementwise. Knows nothing of who takes the steps.
"""

from __future__ import annotations

import importlib.util
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from thalweg.runner.engine.inputs import Feed
from thalweg.runner.engine.recipe import Recipe
from thalweg.runner.engine.recording import Recording
from thalweg.runner.engine.state import State
from thalweg.runner.engine.step import update_living

HOST = torch.device("cpu")
FEW, NARROWEST = 7, 2
"""Lanes that are made up, and repeated; lanes that are recorded."""
ROUNDINGS = 8.0
"""How many roundings of the larger of a number before and after an update a compiled one may differ by: a multiply-add
that rounds once, a root or a division of another library."""


def compiled(function: Callable[..., Any], inputs: Any) -> Recording:
    """Compile a function for inputs of these shapes; imports torch's compiler (2 s).

    The compiler turns off, for the whole process, that distributions look at their parameters, which is put back: a
    model that draws from one of NaN would else diverge where it raises now.
    """
    from torch._inductor import config

    looked = torch.distributions.Distribution._validate_args
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it misses CUDA aloud on a CPU
    config.fallback_random = True
    config.compile_threads = 1
    own = tree_map_only(Tensor, torch.clone, inputs)
    recorded = Recording(function, own)
    recorded.program = torch.compile(recorded.program, dynamic=False)
    torch.distributions.Distribution.set_default_validate_args(looked)
    return recorded


class CompiledUpdate:
    """`update_living` for states and feeds of one make; refused where it does not do what the rule does.

    What it is held against is the rule's own update, on the host, of made-up numbers, some of the lanes dead. They are
    multiples of 1/64 with few digits, whose products and sums are exact: in which order they are taken, and whether a
    multiply-add rounds once or twice, does not show, nor does a sign turn on it. It is recorded at two lanes: at all of
    them it took twice the memory that capturing takes.
    """

    def __init__(self, recipe: Recipe, state: State, feed: Feed) -> None:
        def pure(*inputs: Any) -> tuple[()]:
            _update(recipe, state, feed, inputs)
            return ()

        few, places = _made_up(state, feed), torch.arange(state.lanes) % FEW
        self.program = compiled(pure, _lanes_of(few, torch.arange(NARROWEST), state.theta.device))
        found, expected = _lanes_of(few, places, state.theta.device), _lanes_of(few, torch.arange(FEW))
        self.program(*found)
        _update(_on_host(recipe), state, feed, expected)
        found, expected, before = (_written(_lanes_of(*each)) for each in ((found,), (expected, places), (few, places)))
        worst = max(map(_roundings, found, expected, before))
        if not worst <= ROUNDINGS:
            raise RuntimeError(f"the compiled update is {worst:.0f} roundings off the rule's; take engine=graphed")

    def __call__(self, recipe: Recipe, state: State, feed: Feed, grad_KP: Tensor) -> None:
        """Update the lanes that live."""
        self.program(state.theta, state.slots, grad_KP, feed.coefficients, state.alive)


def kernel_hindrance(recipe: Recipe, device: torch.device) -> str | None:
    """Why update and guard cannot be one kernel on a GPU, or None."""
    if recipe.own:
        return "a parameter group has an optimizer of its own"
    if not recipe.rule.elementwise:
        return "its update takes each parameter as a matrix"
    if recipe.unused_U is not None:
        return "the model has parameters without a gradient"
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        return "there is no Triton"
    if device.type == "cuda" and not any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        return "there is no C compiler"
    return None


def _update(recipe: Recipe, state: State, feed: Feed, inputs: tuple[Any, ...]) -> None:
    theta, slots, grad, coefficients, alive = inputs
    own = replace(state, theta=theta, slots=slots, alive=alive)
    update_living(recipe, own, replace(feed, coefficients=coefficients), grad)


def _made_up(state: State, feed: Feed) -> tuple[Any, ...]:
    """Inputs of an update of FEW lanes: weights, slots and gradient in 1/64, slots above 0; coefficients in 1/8."""
    generator = torch.Generator().manual_seed(0)

    def like(tensor: Tensor, low: int, high: int, parts: int) -> Tensor:
        return torch.randint(low, high, (FEW, *tensor.shape[1:]), generator=generator).to(tensor.dtype) / parts

    theta, grad = (like(state.theta, -64, 65, 64) for _ in range(2))
    slots = {name: like(slot, 1, 65, 64) for name, slot in state.slots.items()}
    coefficients = {name: like(value, 1, 8, 8) for name, value in feed.coefficients.items()}
    return theta, slots, grad, coefficients, torch.arange(FEW) % 2 == 0


def _lanes_of(inputs: Any, places: Tensor | None = None, device: torch.device = HOST) -> Any:
    """A copy of these lanes, or of all, on a device."""
    return tree_map_only(
        Tensor, lambda each: (each.clone() if places is None else each.index_select(0, places)).to(device), inputs
    )


def _on_host(recipe: Recipe) -> Recipe:
    decays_P, group_P = (each if each is None else each.to(HOST) for each in (recipe.decays_P, recipe.group_P))
    return replace(recipe, decays_P=decays_P, group_P=group_P)


def _written(inputs: tuple[Any, ...]) -> list[Tensor]:
    return tree_leaves(inputs[:2])


def _roundings(found: Tensor, expected: Tensor, before: Tensor) -> float:
    """The largest difference in roundings of the larger of a number before and after; infinite for NaN."""
    one = torch.finfo(found.dtype).eps * torch.maximum(before.abs(), expected.abs())
    return float(((found - expected).abs() / one.clamp(min=1e-30)).nan_to_num(torch.inf).max())

"""The inputs of examples: one array, or several side by side, a dict of them by name or a tuple. Of numpy or of torch.

Several are a batch like one: all have a row an example.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias, TypeVar

A = TypeVar("A")
B = TypeVar("B")
Inputs: TypeAlias = A | dict[str, A] | tuple[A, ...]


def fields(inputs: Inputs[A]) -> dict[str | int, A]:
    """The arrays by their names, or by their places; one alone has the place 0."""
    if isinstance(inputs, dict):
        return {**inputs}
    return dict(enumerate(inputs if isinstance(inputs, tuple) else (inputs,)))


def mapped(function: Callable[[A], B], inputs: Inputs[A]) -> Inputs[B]:
    """What a function makes of each array, in the same make."""
    if isinstance(inputs, dict):
        return {name: function(each) for name, each in inputs.items()}
    return tuple(function(each) for each in inputs) if isinstance(inputs, tuple) else function(inputs)


def remade(like: Inputs[B], arrays: Mapping[str | int, A]) -> Inputs[A]:
    """Arrays by name or place, in the make of others."""
    if isinstance(like, dict):
        return {str(name): each for name, each in arrays.items()}
    return tuple(arrays.values()) if isinstance(like, tuple) else arrays[0]

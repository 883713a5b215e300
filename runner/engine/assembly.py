"""A model from its target: the parts among its arguments are made first, then it, and it is shown examples.

What it is given from the data is decided in `fitting`.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from thalweg.models.extent import Extent, Size
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.outputs import Pick
from thalweg.runner.engine.user import called, resolved, takes, users_error
from thalweg.runner.project.outline import refuse_call
from thalweg.runner.project.project import Role
from thalweg.runner.study.target import KEY, PARTIAL, ModelTarget, Section

Fills = Mapping[str, Mapping[str, Size]]
"""The key of a call, `model` or `model.config` -> the arguments it is given from the data."""


def assembled(target: ModelTarget, fills: Fills) -> nn.Module:
    """Return the module that a target gives. Raises ConfigError, naming key and fix."""
    arguments = dict(target.arguments)
    picks = (
        target.output is not None and "output" not in takes(resolved(f"model.{KEY}", "model", target._target_)).names
    )
    if target.output is not None and not picks:
        arguments["output"] = target.output
    module = _made("model", "model", target._target_, arguments, fills)
    if not isinstance(module, nn.Module):
        raise ConfigError(f"{target.name} returns {type(module).__name__}; expected a torch.nn.Module")
    if target.output is not None and picks:
        module.register_forward_hook(Pick(target.output))
    return module


def _made(key: str, role: Role, path: str, arguments: Mapping[str, Any], fills: Fills) -> Any:
    build, own = resolved(f"{key}.{KEY}", role, path), {KEY, PARTIAL}
    values = {name: thawed(value, f"{key}.{name}", fills) for name, value in arguments.items() if name not in own}
    if arguments.get(PARTIAL):
        signature = takes(build)
        refuse_call(key, path, signature, values, signature.required)
        return partial(build, **values)
    return called(f"{key}.{KEY}", build, {**fills.get(key, {}), **values})


def thawed(value: Any, key: str = "", fills: Fills | None = None) -> Any:
    """An argument as its target is given it: a section becomes a dict, or what its own target gives."""
    if isinstance(value, tuple):
        return [thawed(item, f"{key}[{place}]", fills) for place, item in enumerate(value)]
    if not isinstance(value, Section):
        return value
    arguments = dict(value.arguments)
    if KEY in arguments:
        return _made(key, "part", arguments[KEY], arguments, fills or {})
    return {name: thawed(inner, f"{key}.{name}", fills) for name, inner in arguments.items()}


def refuse_more_inputs(name: str, forward: Callable[..., Any]) -> None:
    """Raise ConfigError for a forward that must be given more than the examples, such as the edges of a graph."""
    try:
        parameters = inspect.signature(forward).parameters.values()
    except ValueError:  # written in C: whoever calls it finds out
        return
    places = [each for each in parameters if each.kind not in (each.KEYWORD_ONLY, each.VAR_KEYWORD)]
    if not places:
        raise ConfigError(f"{name} takes no examples", "give it a forward(x)")
    anything = (places[0].VAR_POSITIONAL, places[0].VAR_KEYWORD)
    needed = [each.name for each in parameters if each.default is each.empty and each.kind not in anything]
    if more := [each for each in needed if each != places[0].name]:
        raise ConfigError(
            f"{name} is called with {', '.join(needed)}, but an example of a dataset is one tensor, {places[0].name}",
            f"give {', '.join(more)} a default in its forward, or keep it in a buffer, as edges of a graph",
        )


def tried(module: nn.Module, extent: Extent, training: bool = False) -> Any:
    """What a module returns for two examples of such data, all zeros. Raises ConfigError for what it raises."""
    dtype = torch.int64 if extent.integers else torch.get_default_dtype()
    with torch.no_grad(), users_error(f"the model fails on examples of shape {list(extent.inputs)}"):
        return module.train(training)(torch.zeros(2, *extent.inputs, dtype=dtype))


def expected_shape(examples: int, extent: Extent) -> tuple[int, ...]:
    """The shape of a model's outputs for so many examples."""
    return (examples, *extent.inputs, extent.outputs) if extent.tokens else (examples, extent.outputs)


@contextmanager
def other_generators(seed: int) -> Iterator[None]:
    """Seed numpy's and Python's global generators for a moment."""
    kept = np.random.get_state(), random.getstate()
    np.random.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(kept[0])
        random.setstate(kept[1])

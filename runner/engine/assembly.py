"""A model from its target: the parts among its arguments are made first, then it, and it is shown examples.

What it is given from the data is decided in `fitting`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.data.fields import Inputs
from thalweg.models.extent import Extent, Size
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.calling import called_with
from thalweg.runner.engine.outputs import Pick
from thalweg.runner.engine.user import called, resolved, takes, users_error
from thalweg.runner.project.outline import refuse_call
from thalweg.runner.project.project import Role
from thalweg.runner.study.target import KEY, PARTIAL, ModelTarget, Section

Fills = Mapping[str, Mapping[str, Size]]
"""The key of a call, `model` or `model.config` -> the arguments it is given from the data."""
Listed = type[list[Any]] | type[tuple[Any, ...]]
"""What a list of YAML becomes."""
TUPLES: set[ModelTarget] = set()
"""Targets that were found to want tuples."""
WANTS_INTEGERS = "scalar types: Long, Int"
"""What torch says of fractions where an embedding takes numbers of words."""


def assembled(target: ModelTarget, fills: Fills) -> nn.Module:
    """Return the module that a target gives. Raises ConfigError, naming key and fix.

    YAML has lists alone: a target that raises with these is given tuples, from the same random numbers.
    """
    if target in TUPLES:
        return _assembled(target, fills, tuple)
    before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        return _assembled(target, fills, list)
    except ConfigError:
        if not any(_has_lists(value) for _, value in target.arguments):
            raise
        torch.set_rng_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])
        with suppress(ConfigError):
            module = _assembled(target, fills, tuple)
            TUPLES.add(target)
            return module
        raise


def _has_lists(value: Any) -> bool:
    return isinstance(value, tuple) or (
        isinstance(value, Section) and any(_has_lists(inner) for _, inner in value.arguments)
    )


def _assembled(target: ModelTarget, fills: Fills, sequence: Listed) -> nn.Module:
    arguments = dict(target.arguments)
    picks = (
        target.output is not None and "output" not in takes(resolved(f"model.{KEY}", "model", target._target_)).names
    )
    if target.output is not None and not picks:
        arguments["output"] = target.output
    module = _made("model", "model", target._target_, arguments, fills, sequence)
    if not isinstance(module, nn.Module):
        raise ConfigError(f"{target.name} returns {type(module).__name__}; expected a torch.nn.Module")
    if target.output is not None and picks:
        module.register_forward_hook(Pick(target.output))
    return module


def _made(key: str, role: Role, path: str, arguments: Mapping[str, Any], fills: Fills, sequence: Listed) -> Any:
    build, own = resolved(f"{key}.{KEY}", role, path), {KEY, PARTIAL}
    given = {name: value for name, value in arguments.items() if name not in own}
    values = {name: thawed(value, f"{key}.{name}", fills, sequence) for name, value in given.items()}
    if arguments.get(PARTIAL):
        signature = takes(build)
        refuse_call(key, path, signature, values, signature.required)
        return partial(build, **values)
    return called(f"{key}.{KEY}", build, {**fills.get(key, {}), **values})


def thawed(value: Any, key: str = "", fills: Fills | None = None, sequence: Listed = list) -> Any:
    """An argument as its target is given it: a section becomes a dict, or what its own target gives."""
    if isinstance(value, tuple):
        return sequence(thawed(item, f"{key}[{place}]", fills, sequence) for place, item in enumerate(value))
    if not isinstance(value, Section):
        return value
    arguments = dict(value.arguments)
    if KEY in arguments:
        return _made(key, "part", arguments[KEY], arguments, fills or {}, sequence)
    return {name: thawed(inner, f"{key}.{name}", fills, sequence) for name, inner in arguments.items()}


@contextmanager
def fails_on(name: str, module: nn.Module, extent: Extent) -> Iterator[None]:
    """Turn what a model says against examples into a ConfigError, with what to do if they lack colours."""
    try:
        with users_error(f"{name} fails on examples of {extent.shown}"):
            yield
    except ConfigError as error:
        if not extent.integers and not extent.fields and WANTS_INTEGERS in str(error.__cause__):
            error.hint = 'one array becomes fractions; what a dict holds stays whole: return {"input_ids": x}, y'
        elif _reads_colours(module, extent):
            error.hint = "dataset.channels=3 repeats the grey one of digits and MNIST; let other data have three"
        raise


def _reads_colours(module: nn.Module, extent: Extent) -> bool:
    """Whether a model takes grey pictures once these have three channels."""
    like = next(module.parameters(), None)
    if like is None or not extent.is_image or extent.inputs[0] != 1:
        return False
    try:
        module(torch.zeros(2, 3, *extent.inputs[1:], dtype=like.dtype, device=like.device))
    except Exception:  # whatever it says, these are not what it lacks
        return False
    return True


def tried(module: nn.Module, extent: Extent, training: bool = False) -> Any:
    """What a module returns for two examples of such data, all zeros. Raises ConfigError for what it raises."""
    with torch.no_grad(), fails_on("the model", module, extent):
        module.train(training)
        return called_with(module, _blank(extent))


def _blank(extent: Extent) -> Inputs[Tensor]:
    """Two examples of zeros, and of what is true or false: true, as masks have what counts."""
    dtypes = {"fractions": torch.get_default_dtype(), "integers": torch.int64, "booleans": torch.bool}
    if not extent.fields:
        return torch.zeros(2, *extent.inputs, dtype=dtypes["integers" if extent.integers else "fractions"])
    made = {
        field.name: torch.full((2, *field.shape), field.holds == "booleans", dtype=dtypes[field.holds])
        for field in extent.fields
    }
    return (
        {str(name): each for name, each in made.items()}
        if isinstance(extent.fields[0].name, str)
        else (*made.values(),)
    )


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

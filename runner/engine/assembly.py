"""A model from its target: the parts among its arguments are made first, sizes are filled in from the data.

Which sizes a constructor means by its arguments, `thalweg.models.extent.MEANINGS` says. Names that surely mean one, and
usual ones without a default, are always filled in. Usual names that have a default, and names for a constructor that
takes any, are filled in only where the model does not fit the data without: what a default is good enough for stays.
"""

from __future__ import annotations

import inspect
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.models.extent import FILLED, MEANINGS, Extent, Meaning, Size
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.outputs import Pick
from thalweg.runner.engine.user import REFUSED, called, named, resolved, takes, users_error
from thalweg.runner.project.outline import refuse_call
from thalweg.runner.project.project import Role
from thalweg.runner.study.target import KEY, ModelTarget, Section

Fills = Mapping[str, Mapping[str, Size]]
"""The key of a call, `model` or `model.config` -> the arguments it is given from the data."""

_LACKING = re.compile(r"missing \d+ required (?:positional|keyword-only) arguments?: (.*)")


def fills_of(target: ModelTarget, extent: Extent) -> Fills:
    """What the calls of a target are given from the data. Moves no generator. Raises ConfigError with key and fix."""
    return _fills(target, extent, str(torch.get_default_device()))


@dataclass(frozen=True)
class _Call:
    """One of the calls that make a model. sized: whether its arguments may mean sizes of the data.

    A model's do, and those of a configuration object; a module or function within says nothing of the data.
    """

    key: str
    build: Callable[..., Any]
    given: frozenset[str]
    sized: bool


@lru_cache(maxsize=256)
def _fills(target: ModelTarget, extent: Extent, device: str) -> Fills:
    """What is filled in. device: where modules are built now, on which it depends what can be."""
    calls = list(_calls(target))
    sure = {call.key: _sizes(call, extent, usual=False) for call in calls if call.sized}
    wide = {call.key: _sizes(call, extent, usual=True) for call in calls if call.sized}
    if wide == sure:
        return sure
    with torch.random.fork_rng(devices=[]), other_generators(0):
        return sure if _fits(target, extent, sure) else _agreed(target, extent, calls, wide) or sure


def _calls(target: ModelTarget) -> Iterator[_Call]:
    """The calls that make a model, the outermost first. Raises ConfigError for what may not be called."""
    return (_resolved(*each) for each in _named(target))


def _named(target: ModelTarget) -> Iterator[tuple[str, str, frozenset[str]]]:
    """Their keys, paths, and the names of the arguments that are written."""
    yield "model", target._target_, frozenset(dict(target.arguments))
    for name, value in target.arguments:
        yield from _named_within(f"model.{name}", value)


def _named_within(key: str, value: Any) -> Iterator[tuple[str, str, frozenset[str]]]:
    if isinstance(value, tuple):
        for place, item in enumerate(value):
            yield from _named_within(f"{key}[{place}]", item)
    if isinstance(value, Section):
        arguments = dict(value.arguments)
        if path := arguments.pop(KEY, None):
            yield key, path, frozenset(arguments)
        for name, inner in arguments.items():
            yield from _named_within(f"{key}.{name}", inner)


def _resolved(key: str, path: str, given: frozenset[str]) -> _Call:
    role: Role = "model" if key == "model" else "part"
    build = resolved(f"{key}.{KEY}", role, path)
    is_object = isinstance(build, type) and not issubclass(build, nn.Module)
    return _Call(key, build, given, sized=role == "model" or is_object)


def misnamed(target: ModelTarget, extent: Extent) -> list[ConfigError]:
    """Return what is wrong with the names in all the calls of a target: paths, and arguments too many or too few."""
    errors = []
    for key, path, given in _named(target):
        try:
            call = _resolved(key, path, given)
            filled = _sizes(call, extent, usual=False) if call.sized else {}
            refuse_call(key, path, takes(call.build), given, filled)
        except ConfigError as error:
            errors.append(error)
    try:
        build = resolved(f"model.{KEY}", "model", target._target_)
        if isinstance(build, type) and issubclass(build, nn.Module):
            refuse_more_inputs(target.name, partial(build.forward, None))
    except ConfigError as error:
        errors += [] if any(error.message == each.message for each in errors) else [error]
    return errors


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


def _sizes(call: _Call, extent: Extent, usual: bool) -> dict[str, Size]:
    """The arguments of a call that are filled in; with usual names that have a default, or none at all, if so asked."""
    signature, found = takes(call.build), dict[str, Size]()
    for meaning in MEANINGS:
        size = meaning.of(extent)
        if size is not None:
            found |= dict.fromkeys(_names(call, meaning, usual), size)
    if signature.open and call.build.__module__.startswith("torchvision."):
        found["num_classes"] = extent.outputs
    return {name: size for name, size in found.items() if name not in call.given}


def _names(call: _Call, meaning: Meaning, usual: bool) -> list[str]:
    signature = takes(call.build)
    there = [name for name in meaning.names if name in signature.names]
    there += [name for name in meaning.rare if name in signature.names and name not in signature.required]
    if not there:
        return [name for name in meaning.through if signature.open and usual and not call.given & {*meaning.names}]
    named = [name for name in meaning.sure if name in there]
    if not named and (usual or there[0] in signature.required):
        named = there[:1]
    return named


def _fits(target: ModelTarget, extent: Extent, fills: Fills) -> bool:
    """Whether the model that these make returns for examples of such data what is expected of it."""
    try:
        outputs = tried(assembled(target, fills), extent)
    except ConfigError:  # said when it is built to be trained
        return False
    return isinstance(outputs, Tensor) and tuple(outputs.shape) == expected_shape(2, extent)


def _agreed(target: ModelTarget, extent: Extent, calls: Sequence[_Call], fills: Fills) -> Fills | None:
    """Fills that a model can be built with: less the names that it refuses, more those that it turns out to need.

    Only a constructor that hands any arguments on tells so late. None where it cannot be built for another reason.
    """
    now = {key: dict(names) for key, names in fills.items()}
    for _ in FILLED:
        try:
            assembled(target, now)
            return now
        except ConfigError as error:
            failed = next((call for call in calls if error.message.startswith(f"{named(call.build)} failed")), None)
            said = str(error.__cause__)
        if failed is None or failed.key not in now or not _changed(now[failed.key], said, extent):
            return None
    return None


def _changed(names: dict[str, Size], said: str, extent: Extent) -> bool:
    """Take from, or put to, what a call is given what its error asks for; False if it asks for nothing of the kind."""
    refused, lacking = REFUSED.search(said), _LACKING.search(said)
    if refused:
        return names.pop(refused[1], None) is not None
    needed = re.findall(r"'(\w+)'", lacking[1]) if lacking else []
    sizes = {name: size for each in MEANINGS for name in each.names if name in needed and (size := each.of(extent))}
    names |= sizes
    return bool(needed) and sizes.keys() >= set(needed)


def tried(module: nn.Module, extent: Extent, training: bool = False) -> Any:
    """What a module returns for two examples of such data, all zeros. Raises ConfigError for what it raises."""
    dtype = torch.int64 if extent.integers else torch.get_default_dtype()
    with torch.no_grad(), users_error(f"the model fails on examples of shape {list(extent.inputs)}"):
        return module.train(training)(torch.zeros(2, *extent.inputs, dtype=dtype))


def expected_shape(examples: int, extent: Extent) -> tuple[int, ...]:
    """The shape of a model's outputs for so many examples."""
    return (examples, *extent.inputs, extent.outputs) if extent.tokens else (examples, extent.outputs)


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
    values = {name: thawed(value, f"{key}.{name}", fills) for name, value in arguments.items() if name != KEY}
    return called(f"{key}.{KEY}", resolved(f"{key}.{KEY}", role, path), {**fills.get(key, {}), **values})


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

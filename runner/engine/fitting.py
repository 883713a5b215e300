"""Which arguments of a model's constructors are filled in from the data, and what is wrong with their names.

Which sizes a constructor means by its arguments, `thalweg.models.extent.MEANINGS` says. Names that surely mean one, and
usual ones without a default, are always filled in. Usual names that have a default, and names for a constructor that
takes any, are filled in only where the model does not fit the data without: what a default is good enough for stays.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.models.extent import FILLED, MEANINGS, Extent, Meaning, Size
from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.assembly import (
    Fills,
    assembled,
    expected_shape,
    other_generators,
    tried,
)
from thalweg.runner.engine.calling import refuse_inputs
from thalweg.runner.engine.outputs import in_rows
from thalweg.runner.engine.user import REFUSED, named, resolved, takes
from thalweg.runner.project.outline import refuse_call
from thalweg.runner.project.project import Role
from thalweg.runner.study.target import KEY, PARTIAL, ModelTarget, Section

_LACKING = re.compile(r"missing \d+ required (?:positional|keyword-only) arguments?: (.*)")


def fills_of(target: ModelTarget, extent: Extent) -> Fills:
    """What the calls of a target are given from the data. Moves no generator. Raises ConfigError with key and fix."""
    return _fills(target, extent, str(torch.get_default_device()))


@dataclass(frozen=True)
class _Call:
    """One of the calls that make a model. sized: whether its arguments may mean sizes of the data.

    A model's do, and those of a configuration object; a module or function within says nothing of the data. whole:
    whether it is called here, or left to the model.
    """

    key: str
    build: Callable[..., Any]
    given: frozenset[str]
    sized: bool
    whole: bool


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


def _named(target: ModelTarget) -> Iterator[tuple[str, dict[str, Any]]]:
    """Their keys, and what is written there."""
    yield "model", {KEY: target._target_, **dict(target.arguments)}
    for name, value in target.arguments:
        yield from _named_within(f"model.{name}", value)


def _named_within(key: str, value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, tuple):
        for place, item in enumerate(value):
            yield from _named_within(f"{key}[{place}]", item)
    if isinstance(value, Section):
        if KEY in dict(value.arguments):
            yield key, dict(value.arguments)
        for name, inner in value.arguments:
            yield from _named_within(f"{key}.{name}", inner)


def _resolved(key: str, written: Mapping[str, Any]) -> _Call:
    role: Role = "model" if key == "model" else "part"
    build, whole = resolved(f"{key}.{KEY}", role, written[KEY]), not written.get(PARTIAL)
    is_object = isinstance(build, type) and not issubclass(build, nn.Module)
    sized = whole and (role == "model" or is_object)
    return _Call(key, build, frozenset(written) - {KEY, PARTIAL}, sized, whole)


def misnamed(target: ModelTarget, extent: Extent) -> list[ConfigError]:
    """Return what is wrong with the names in all the calls of a target: paths, and arguments too many or too few."""
    errors = []
    for key, written in _named(target):
        try:
            call = _resolved(key, written)
        except ConfigError as error:
            errors.append(error)
            continue
        errors += [said for check in (_refuse_names, _refuse_forward) if (said := _raised(check, call, extent))]
    return errors


def lookalikes(target: ModelTarget) -> Iterator[str]:
    """Yield a sentence for each argument that a constructor takes under any name, and has under nearly this one."""
    for call in _calls(target):
        signature = takes(call.build)
        for name in sorted(call.given - {*signature.names}) if signature.open else ():
            if close := difflib.get_close_matches(name, signature.names, n=1, cutoff=0.85):
                yield f"{named(call.build)} takes {call.key}.{name}, as any name; did you mean {call.key}.{close[0]}?"


def _raised(check: Callable[[_Call, Extent], None], call: _Call, extent: Extent) -> ConfigError | None:
    try:
        check(call, extent)
    except ConfigError as error:
        return error
    return None


def _refuse_names(call: _Call, extent: Extent) -> None:
    signature = takes(call.build)
    filled = signature.required if not call.whole else _sizes(call, extent, usual=False) if call.sized else ()
    refuse_call(call.key, named(call.build), signature, call.given, filled)


def _refuse_forward(call: _Call, extent: Extent) -> None:
    forward = inspect.getattr_static(call.build, "forward", None) if call.key == "model" else None
    if isinstance(forward, FunctionType):
        refuse_inputs(named(call.build), partial(forward, None), extent)


def _sizes(call: _Call, extent: Extent, usual: bool) -> dict[str, Size]:
    """The arguments of a call that are filled in; with usual names that have a default, or none at all, if so asked."""
    signature, found = takes(call.build), dict[str, Size]()
    for meaning in MEANINGS:
        for name in _names(call, meaning, usual):
            if (size := meaning.size(name, extent)) is not None:
                found[name] = size
    if signature.open and call.build.__module__.startswith("torchvision."):
        found["num_classes"] = extent.outputs
    return {name: size for name, size in found.items() if name not in call.given}


def _names(call: _Call, meaning: Meaning, usual: bool) -> list[str]:
    signature = takes(call.build)
    there = [name for name in meaning.names if name in signature.names]
    there += [name for name in meaning.rare if name in signature.names and name not in signature.required]
    if not there:
        return [name for name in meaning.through if signature.open and usual and not call.given & {*meaning.names}]
    chosen = [name for name in meaning.sure if name in there]
    if not chosen and not call.given & {*there} and (usual or there[0] in signature.required):
        chosen = there[:1]
    return chosen


def _fits(target: ModelTarget, extent: Extent, fills: Fills) -> bool:
    """Whether the model that these make returns for examples of such data what is expected of it."""
    try:
        outputs = tried(assembled(target, fills), extent)
    except ConfigError:  # said when it is built to be trained
        return False
    return isinstance(outputs, Tensor) and tuple(in_rows(outputs, extent.axes).shape) == expected_shape(2, extent)


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
    sizes = {
        name: size for each in MEANINGS for name in each.names if name in needed and (size := each.size(name, extent))
    }
    names |= sizes
    return bool(needed) and sizes.keys() >= set(needed)

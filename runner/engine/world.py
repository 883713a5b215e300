"""State that all models of a process share: attributes of classes, globals of modules, and what cached functions keep,
in the user's packages.

Of what those packages use of others (torch's classes and functions, `math`, torch's own hooks for all modules) it is
seen when a name is bound anew; what others' objects hold is not looked at. A trial's model may change all of this and
act on it. Each trial then has its own, put in place while its model is built, trained or measured. Knows neither models
nor training.
"""

from __future__ import annotations

import builtins
import functools
import gc
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import _lru_cache_wrapper
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.copying import copied_or_itself
from thalweg.runner.engine.digest import caches_in, contents_of, named_by, walked

LARGEST = 2**24
"""Bytes of a value above which it is taken for data, which nobody changes."""
UNSEEN = frozenset({"builtins", "sys"})
"""Modules of which Python itself binds names anew: only others than it has there can be the user's."""
COMPILERS = ("torch._dynamo", "torch._inductor", "torch._functorch", "torch._higher_order_ops", "torch._subclasses")
"""What torch compiles with, which keeps much of its own and nothing of the user's."""
PYTHONS = frozenset({*vars(builtins), *vars(sys), "last_type", "last_value", "last_traceback", "last_exc", "_"})
HOOKS_COUNTED = (RemovableHandle, "next_id")
"""By what torch names the next hook, ours too that picks an output: nobody acts on it."""
TENSORS = (Tensor, nn.Parameter)
"""Classes of torch's that are no layers, to which a user may give a name."""
HINT = "keep it in the model, as an attribute or a buffer"


class MISSING:
    """Stands for nothing at a place."""


Holder = type | ModuleType | FunctionType
"""What has names of its own for all of a process."""


class Place(NamedTuple):
    """A name in a class, a module or a function."""

    holder: Holder
    name: str

    @property
    def value(self) -> Any:
        """What is there now, MISSING for nothing."""
        return vars(self.holder).get(self.name, MISSING)

    def put(self, value: Any) -> None:
        """Let that be there."""
        if value is not MISSING:
            setattr(self.holder, self.name, value)
        elif self.value is not MISSING:
            delattr(self.holder, self.name)

    def __str__(self) -> str:
        module = isinstance(self.holder, ModuleType)
        inside = None if module else f"{self.holder.__module__}.{self.holder.__qualname__}"
        return f"{inside or self.holder.__name__}.{self.name}"


@dataclass(frozen=True)
class Setting:
    """Something that torch holds for a whole process, and a model's constructor may set."""

    said: str
    get: Callable[[], Any]
    put: Callable[[Any], None]

    @property
    def value(self) -> Any:
        """What it is now."""
        return self.get()

    def __str__(self) -> str:
        return self.said


def _rounding() -> tuple[bool, torch.dtype]:
    return torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")


def _round(how: tuple[bool, torch.dtype]) -> None:
    torch.set_autocast_enabled("cpu", how[0])
    torch.set_autocast_dtype("cpu", how[1])


SETTINGS = (
    Setting("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
    Setting("torch's autocast", _rounding, _round),
)


@dataclass(frozen=True)
class Look:
    """The user's world at one moment: a copy of each value and what it holds; of others' names what they stand for."""

    held: dict[tuple[int, str], tuple[Place, Any, bytes]]
    bound: list[tuple[Holder, dict[str, Any]]]
    settings: tuple[Any, ...]
    holders: list[type | ModuleType]
    cached: dict[int, int]

    @classmethod
    def at(cls, packages: Sequence[str]) -> Look:
        """The world of these packages as it is now."""
        held, memo = {}, dict[int, Any]()
        for place in [*_places(packages), *_hooks_of_all()]:
            text = walked(place.value)
            if len(text) <= LARGEST:
                held[id(place.holder), place.name] = place, copied_or_itself(place.value, memo), text
        bound = [(holder, dict(vars(holder))) for holder in [*_others(packages), *_holders(packages)]]
        sizes = {id(function): function.cache_info().currsize for _, function in caches(packages)}
        return cls(held, bound, tuple(each.value for each in SETTINGS), _holders(packages), sizes)

    def emptied(self, packages: Sequence[str]) -> list[str]:
        """Empty the cached functions that kept nothing yet, and return which have been filled since."""
        filled = []
        for name, function in caches(packages):
            if function.cache_info().currsize and not self.cached.get(id(function)):
                function.cache_clear()
                filled.append(name)
        return filled

    def changed(self, packages: Sequence[str]) -> World:
        """What has changed since, but for what has been imported since.

        Raises ConfigError where no trial can have its own of it (a function's default).
        """
        before, now = self.held, {(id(place.holder), place.name): place for place in _places(packages)}
        known = {id(holder) for holder in self.holders}
        new = [World.Part(each, MISSING) for key, each in now.items() if key not in before and id(each.holder) in known]
        old = []
        for place, value, text in before.values():
            if place.value is not MISSING and walked(place.value) == text:
                continue
            if value is place.value or walked(value) != text:
                said = f"training changes what {place} holds, which all trials of a process share"
                raise ConfigError(f"{said} and which cannot be copied", HINT)
            old.append(World.Part(place, value))
        new = [part for part in new if not isinstance(part.place.value, FunctionType | type)]
        return World((*old, *new, *self.rebound(packages), *self._set()))

    def refuse_late(self, packages: Sequence[str]) -> None:
        """Raise ConfigError where training changed something since that it left alone in its first steps: all trials of
        the process had it in common. It is put back."""
        late = self.settled(packages).changed(packages)
        late.restore()
        if late.parts:
            said = f"training changes {late.shown}, and did not in its first steps, so that trials found each other's"
            raise ConfigError(said, HINT)

    def settled(self, packages: Sequence[str]) -> Look:
        """The same, but for what objects of other packages' that cannot be copied found out when they were first used,
        as a logger does and a field of numbers of sympy's."""

        def now(place: Place, value: Any, text: bytes) -> tuple[Place, Any, bytes]:
            return place, value, walked(value) if value is place.value and _is_others(value, packages) else text

        return replace(self, held={key: now(*each) for key, each in self.held.items()})

    def rebound(self, packages: Sequence[str]) -> Iterator[World.Part]:
        """What stands for something else now, in the classes and modules of others; and in the user's, names of
        classes, modules and functions of which nothing else is held."""
        for holder, before in self.bound:
            if _is_of_user(holder, packages):
                yield from _renamed(holder, before, packages)
                continue
            pythons = isinstance(holder, ModuleType) and holder.__name__ in UNSEEN
            for name, value in [*vars(holder).items()]:
                first = before.get(name, MISSING)
                known = (pythons and name in PYTHONS) or (holder, name) == HOOKS_COUNTED
                if value is not first and not known and _is_state(name, value, packages):
                    yield World.Part(Place(holder, name), first)

    def _set(self) -> Iterator[World.Part]:
        for each, before in zip(SETTINGS, self.settings, strict=True):
            if each.value != before:
                yield World.Part(each, before)


@dataclass(frozen=True)
class World:
    """The places that training changes, with what was there before anything was trained."""

    class Part(NamedTuple):
        """A place and its first value."""

        place: Place | Setting
        value: Any

    parts: tuple[Part, ...] = ()

    def fresh(self) -> list[Any]:
        """A trial's own values, as they are before it starts."""
        memo = dict[int, Any]()
        return [copied_or_itself(part.value, memo) for part in self.parts]

    def texts(self) -> dict[str, bytes]:
        """What is held now by those of the user's packages and of torch's classes, by the name of the place."""
        return {str(part.place): walked(part.place.value) for part in self.parts if isinstance(part.place, Place)}

    def values(self) -> dict[str, Any]:
        """What is there now, by the name of the place."""
        return {str(part.place): part.place.value for part in self.parts if isinstance(part.place, Place)}

    def put(self, values: Mapping[str, Any], names: Collection[str]) -> None:
        """Put values back at these places."""
        for part in self.parts:
            if str(part.place) in names:
                part.place.put(values[str(part.place)])

    def without(self, names: frozenset[str]) -> World:
        """The world but for these places."""
        return World(tuple(part for part in self.parts if str(part.place) not in names))

    def joined(self, other: World) -> World:
        """The world with other places too."""
        known = {str(part.place) for part in self.parts}
        return World((*self.parts, *(part for part in other.parts if str(part.place) not in known)))

    def since(self, settled: Mapping[str, bytes]) -> World:
        """The world but for the places that hold what they held then."""
        now = self.texts()
        return self.without(frozenset(name for name, text in settled.items() if now.get(name) == text))

    @property
    def shown(self) -> str:
        """The names of its places."""
        return ", ".join(str(part.place) for part in self.parts)

    def restore(self) -> None:
        """Put everything back as it was at first."""
        for part, value in zip(self.parts, self.fresh(), strict=True):
            part.place.put(value)

    @contextmanager
    def of(self, own: list[Any]) -> Iterator[None]:
        """Put a trial's own values in place, and take back what has become of them."""
        if not self.parts:
            yield
            return
        others = [part.place.value for part in self.parts]
        for part, value in zip(self.parts, own, strict=True):
            part.place.put(value)
        try:
            yield
        finally:
            own[:] = [part.place.value for part in self.parts]
            for part, value in zip(self.parts, others, strict=True):
                part.place.put(value)


@dataclass(frozen=True)
class Shared:
    """What can be no trial's own, at one moment: what cached functions (`functools.lru_cache`) of the user's gave out,
    what modules hold that a first pass imported, and the environment's variables. A value that is new in a cache is no
    change of those that were there."""

    held: list[tuple[str, Callable[[], Any], bytes]]
    late: Look

    @classmethod
    def at(cls, packages: Sequence[str], look: Look) -> Shared:
        """That of these packages as it is now, the first look past."""
        known = {id(holder) for holder in look.holders}
        found: list[tuple[str, Callable[[], Any]]] = [("the environment's variables", lambda: os.environ)]
        for name, function in caches(packages):
            values = _cached_by(function)
            found += [(f"what {name} keeps in its cache", lambda value=value: value) for value in values]  # type: ignore[misc]
        for place in _places(packages):
            if id(place.holder) not in known and not _is_cache(place.value):
                found.append((f"what {place} holds", lambda place=place: place.value))  # type: ignore[misc]
        before = {id(holder) for holder, _ in look.bound}
        late = [(holder, dict(vars(holder))) for holder in _others(packages) if id(holder) not in before]
        return cls([(name, get, walked(get())) for name, get in found], replace(look, bound=late))

    def refuse_changed(self, packages: Sequence[str]) -> None:
        """Raise ConfigError where something of it holds other things now."""
        changed = [name for name, get, text in self.held if walked(get()) != text]
        changed += [str(part.place) for part in self.late.rebound(packages)]
        if changed:
            raise ConfigError(f"training changes {changed[0]}, which all trials of a process share", HINT)


def caches(packages: Sequence[str]) -> list[tuple[str, Any]]:
    """The cached functions of these packages (`functools.lru_cache`), with the name of the place where each is found:
    as such, or in what is there."""
    found = {id(function): (str(place), function) for place in _places(packages) for function in caches_in(place.value)}
    return [*found.values()]


def asked_so_often(packages: Sequence[str]) -> dict[int, int]:
    """How often each cached function was called since it was last emptied, by its id."""
    seen = {id(function): function.cache_info() for _, function in caches(packages)}
    return {each: info.hits + info.misses for each, info in seen.items()}


def cached(packages: Sequence[str]) -> Iterator[tuple[str, Any, Any, Any]]:
    """(place, function, arguments, value) of all that cached functions of these packages keep."""
    for place, function in caches(packages):
        yield from ((place, function, key, value) for key, value in entries_of(function))


def _is_cache(value: Any) -> bool:
    return isinstance(value.__func__ if isinstance(value, staticmethod | classmethod) else value, _lru_cache_wrapper)


def entries_of(function: Any) -> Iterator[tuple[Any, Any]]:
    """Arguments and values in a cache: a dict of them, or one whose links stand beside keys and values."""
    held = [each for each in gc.get_referents(function) if each is not vars(function)]
    for table in (each for each in held if type(each) is dict):
        for key, value in [*table.items()]:
            beside = next((held[i + 1] for i, each in enumerate(held[:-1]) if each is key), value)
            yield key, beside


def _cached_by(function: Any) -> list[Any]:
    """The values in a cache: a dict of them, or a list of keys and values. Those that nobody can change may be left."""
    held = [each for each in gc.get_referents(function) if each is not vars(function)]
    values = [value for each in held for value in (each.values() if isinstance(each, dict) else [each])]
    return [value for value in values if not isinstance(value, type | FunctionType | _lru_cache_wrapper)]


def _holders(packages: Sequence[str]) -> list[type | ModuleType]:
    modules = [each for name, each in [*sys.modules.items()] if name.partition(".")[0] in packages]
    return [*modules, *_classes(packages)]


def _places(packages: Sequence[str]) -> Iterator[Place]:
    for holder in _holders(packages):
        names = [name for name, value in vars(holder).items() if _is_state(name, value, packages)]
        yield from (Place(holder, name) for name in names)


def _classes(packages: Sequence[str]) -> list[type]:
    """The classes of these packages: those within classes and functions too. (8 ms with torch's.)"""
    return [each for each in _below(object, set()) if _within(each.__module__, packages)] if packages else []


def _below(parent: type, seen: set[type]) -> set[type]:
    children: list[type] = type.__subclasses__(parent)
    for child in children:
        if child not in seen:
            seen.add(child)
            _below(child, seen)
    return seen


def _others(packages: Sequence[str]) -> list[Holder]:
    """Layers of torch's and others', tensors, and the modules that the user's modules and functions name, with the
    functions of these that are named."""
    values = [value for holder in _holders(packages) for value in vars(holder).values()]
    names = {name for function in _functions_in(values) for name in named_by(function.__code__)} | UNSEEN
    named = {value.__name__ for value in values if isinstance(value, ModuleType)} | (names & sys.modules.keys())
    for path in sorted(sys.modules):  # parents first
        parent, _, name = path.rpartition(".")
        if parent in named and name in names:
            named.add(path)
    found = [sys.modules.get(path) for path in sorted(named) if not path.startswith(COMPILERS)]
    modules = [each for each in found if isinstance(each, ModuleType) and not _within(each.__name__, packages)]
    within = [value for module in modules for name, value in vars(module).items() if name in names]
    named_classes = [each for each in [*values, *within] if isinstance(each, type)]
    classes = [*TENSORS, *_below(nn.Module, {nn.Module}), *named_classes]
    foreign = [each for each in classes if not _within(each.__module__, packages)]
    methods = [value for each in foreign for name, value in vars(each).items() if name in names]
    called = [each for each in (*values, *within, *methods) if isinstance(each, FunctionType)]
    holders: list[Holder] = [*foreign, *modules, *(f for f in called if not _within(f.__module__, packages))]
    return [*{id(each): each for each in holders}.values()]


def _functions_in(values: Iterable[Any]) -> Iterator[FunctionType]:
    """The functions among these, and those behind what they are decorated with, as a property or a wrapper."""
    waiting, seen = [*values], set[int]()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, FunctionType):
            yield value
            waiting += [vars(value).get("__wrapped__"), *(contents_of(cell) for cell in value.__closure__ or ())]
        elif isinstance(value, staticmethod | classmethod | _lru_cache_wrapper):
            waiting.append(value.__wrapped__)
        elif isinstance(value, property):
            waiting += [value.fget, value.fset, value.fdel]
        elif isinstance(value, functools.partial):
            waiting.append(value.func)


def _hooks_of_all() -> list[Place]:
    """Where hooks for all modules of a process are kept."""
    holder = nn.modules.module
    return [Place(holder, name) for name in vars(holder) if name.startswith("_global_")]


def _renamed(holder: Holder, before: Mapping[str, Any], packages: Sequence[str]) -> Iterator[World.Part]:
    """What stood for a class, a module or a function of others in a user's module or class, and no longer does."""
    for name, first in before.items():
        now = vars(holder).get(name, MISSING)
        special = name.startswith("__") and name.endswith("__")
        if now is not first and now is not MISSING and not special and not _is_state(name, first, packages):
            yield World.Part(Place(holder, name), first)


def _is_of_user(holder: Holder, packages: Sequence[str]) -> bool:
    return _within(holder.__name__ if isinstance(holder, ModuleType) else holder.__module__, packages)


def _is_others(value: Any, packages: Sequence[str]) -> bool:
    """Whether it is an object of a package that nobody declared, and not of Python's, torch's or numpy's."""
    return not _within(type(value).__module__, [*packages, "torch", "numpy", *sys.stdlib_module_names])


def _within(module: Any, packages: Sequence[str]) -> bool:
    return isinstance(module, str) and module.partition(".")[0] in packages


def _is_state(name: str, value: Any, packages: Sequence[str]) -> bool:
    if isinstance(value, FunctionType):
        return _within(value.__module__, packages)
    special = name.startswith("__") and name.endswith("__")
    return not (special or isinstance(value, type | ModuleType | BuiltinFunctionType))

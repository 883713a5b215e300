"""State that all models of a process share: attributes of classes and globals of modules, in the user's packages.

A trial's model may change it and act on it. Each trial then has its own, put in place while its model is built, trained
or measured. Knows neither models nor training.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, NamedTuple

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.engine.digest import walked

LARGEST = 2**24
"""Bytes of a value above which it is taken for data, which nobody changes."""


class MISSING:
    """Stands for nothing at a place."""


class Place(NamedTuple):
    """A name in a class or a module."""

    holder: type | ModuleType
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
        inside = f"{self.holder.__module__}.{self.holder.__qualname__}" if isinstance(self.holder, type) else None
        return f"{inside or self.holder.__name__}.{self.name}"


@dataclass(frozen=True)
class Look:
    """The user's world at one moment: a copy of each value and what it holds."""

    held: dict[tuple[int, str], tuple[Place, Any, bytes]]

    @classmethod
    def at(cls, packages: Sequence[str]) -> Look:
        """The world of these packages as it is now."""
        held = {}
        for place in _places(packages):
            text = walked(place.value)
            if len(text) <= LARGEST:
                held[id(place.holder), place.name] = place, _copied(place.value), text
        return cls(held)

    def changed(self, packages: Sequence[str]) -> World:
        """What has changed since. Raises ConfigError where no trial can have its own of it (a function's default)."""
        before, now = self.held, {(id(place.holder), place.name): place for place in _places(packages)}
        new = [World.Part(place, MISSING) for key, place in now.items() if key not in before]
        old = [
            World.Part(place, value)
            for place, value, text in before.values()
            if place.value is MISSING or walked(place.value) != text
        ]
        for part in old:
            if part.value is part.place.value:
                raise ConfigError(
                    f"training changes what {part.place} holds, which all trials of a process share "
                    "and which cannot be copied",
                    "keep it in the model, as an attribute or a buffer",
                )
        return World((*old, *(part for part in new if not isinstance(part.place.value, FunctionType | type))))


@dataclass(frozen=True)
class World:
    """The places that training changes, with what was there before anything was trained."""

    class Part(NamedTuple):
        """A place and its first value."""

        place: Place
        value: Any

    parts: tuple[Part, ...] = ()

    def fresh(self) -> list[Any]:
        """A trial's own values, as they are before it starts."""
        return [_copied(part.value) for part in self.parts]

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


def _places(packages: Sequence[str]) -> Iterator[Place]:
    for module in [each for name, each in [*sys.modules.items()] if name.partition(".")[0] in packages]:
        holders: list[type | ModuleType] = [module]
        holders += [
            each for each in vars(module).values() if isinstance(each, type) and each.__module__ == module.__name__
        ]
        for holder in holders:
            names = [name for name, value in vars(holder).items() if _is_state(name, value, packages)]
            yield from (Place(holder, name) for name in names)


def _is_state(name: str, value: Any, packages: Sequence[str]) -> bool:
    if isinstance(value, FunctionType):
        return value.__module__.partition(".")[0] in packages
    return not (name.startswith("__") or isinstance(value, type | ModuleType | BuiltinFunctionType))


def _copied(value: Any) -> Any:
    try:
        return value if value is MISSING else copy.deepcopy(value)
    except Exception:  # what cannot be copied is not changed, or is found to be
        return value


def _inside(holder: type, module: ModuleType) -> bool:
    return holder.__module__ == module.__name__

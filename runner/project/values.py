"""YAML's nodes as plain values, strictly: what its versions, or a person, read in two ways is refused, with the line.

| written             | read as                                                              |
|---------------------|----------------------------------------------------------------------|
| 12, 1_000, -3       | an integer; 010, 0x1f, 0b1 and 1:30 are refused                       |
| .5, 1., 1e-3        | a number; inf, nan and what a float cannot hold are refused           |
| true, false         | true or false; yes, no, on and off are refused                        |
| null, ~, nothing    | null; None is refused                                                 |
| anything else       | text, dates too; quotes make text of anything                         |
| optimizer.lr: 1     | optimizer: {lr: 1}, but where a study names its axes                  |
| twice, no text, !!x | a key given twice, a key that is no text, any tag: refused            |
| a: {b: {c: …}}      | sections within sections, 100 levels deep at most                     |
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from thalweg.runner.base.errors import ConfigError

KEYED = ("axes", "derive", "replicate")
"""Sections whose keys are dotted names of other keys."""
ZIPS = "zip"
"""A section of named sections of axes."""

_TAG = "tag:yaml.org,2002:"
_DIGITS = r"[0-9]+(?:_[0-9]+)*"
_EXPONENT = r"(?:[eE][-+]?[0-9]+)"
_INTEGER = rf"[-+]?{_DIGITS}"
_FLOAT = rf"[-+]?(?:{_DIGITS}(?:\.(?:{_DIGITS})?{_EXPONENT}?|{_EXPONENT})|\.{_DIGITS}{_EXPONENT}?)"
_FORMS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", _INTEGER, list("-+0123456789")),
    ("float", rf"{_FLOAT}|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", list("-+0123456789.")),
    ("merge", "<<", ["<"]),
)
_TWO_WAYS = (
    (r"yes|on", "true, or put it in quotes"),
    (r"no|off", "false, or put it in quotes"),
    (r"(?-i:None)", "null, or put it in quotes"),
    (r"[-+]?(?:\.?inf|\.?nan|infinity)", "a finite number, or put it in quotes"),
    (r"[-+]?0[0-9_]+", "the number without zeros in front, or put it in quotes"),
    (
        rf"(?!(?:{_INTEGER}|{_FLOAT})\Z)[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:e[-+]?[0-9]+)?",
        "each _ between two digits, or put it in quotes",
    ),
    (r"[-+]?0[xob][0-9a-f_]+", "the number in decimals, or put it in quotes"),
    (r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?", "the number in decimals, or put it in quotes"),
)
"""What YAML 1.1, YAML 1.2 and the command line read differently -> what to write instead."""

_MAX_DIGITS = 300

_UNWRITABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


DEEPEST = 100
"""Levels of nodes within nodes that a file may have."""


class Loader(yaml.SafeLoader):  # type: ignore[misc]
    """PyYAML's safe loader with our forms of scalars, refusing tags while it composes."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (as PyYAML has it)

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        """Refuse a tag, which the nodes no longer tell from what was resolved; raise RecursionError beyond DEEPEST."""
        event = self.peek_event()
        tag = getattr(event, "tag", None)
        if tag:
            said = tag.replace(_TAG, "!!")
            raise yaml.MarkedYAMLError(problem=f"the tag {said} means nothing here", problem_mark=event.start_mark)
        if self.depth == DEEPEST:  # Python's own limit is raised by libraries: compiling with torch does
            raise RecursionError
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


for _name, _pattern, _first in _FORMS:
    Loader.add_implicit_resolver(_TAG + _name, re.compile(rf"(?:{_pattern})\Z"), _first)


def plain(loader: Loader, node: yaml.Node | None, file: Path, changes: bool = False) -> Any:
    """Return the values of a composed tree; None for one that holds nothing.

    changes: they are laid over those of other files, where `???`, a value to be given later, would be passed over.
    """
    if node is None:
        return None
    builds_on_others = isinstance(node, yaml.MappingNode) and "defaults" in [name.value for name, _ in node.value]
    return _Reading(loader, file, changes or builds_on_others).value(node, "")


@dataclass(frozen=True)
class _Reading:
    """One file's nodes, on their way to values."""

    loader: Loader
    file: Path
    changes: bool

    def value(self, node: yaml.Node, key: str) -> Any:
        """The value of a node. key: the last key on the way to it."""
        if isinstance(node, yaml.MappingNode):
            return self._section(node, key)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, key) for item in node.value]
        return self._scalar(node, key)

    def _section(self, node: yaml.MappingNode, key: str) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, value in self._items(node):
            path = [name.value] if key in (*KEYED, "defaults") else _path(name.value)
            if "" in path:
                raise self._refusal(name, f"the key {name.value!r} has an empty part", "write section.key")
            within = KEYED[0] if key == ZIPS else path[-1]  # a zip holds axes
            self._put(made, path, self.value(value, within), name)
        return made

    def _put(self, made: dict[str, Any], path: Sequence[str], new: Any, name: yaml.Node) -> None:
        """Set a value at a path, into sections that are there or made; what is there already stays."""
        *sections, last = path
        for section in sections:
            made = made.setdefault(section, {})
            if not isinstance(made, dict):
                raise self._twice(name)
        if last not in made:
            made[last] = new
        elif isinstance(made[last], dict) and isinstance(new, dict):
            for inner, value in new.items():
                self._put(made[last], [inner], value, name)
        else:
            raise self._twice(name)

    def _items(self, node: yaml.MappingNode) -> list[tuple[yaml.Node, yaml.Node]]:
        """The keys and values of a section, those under `<<` merged in; each key is text, and there once."""
        written = set()
        for name in (name for name, _ in node.value if isinstance(name, yaml.ScalarNode)):
            if name.value in written:
                raise self._twice(name)
            written.add(name.value)
        self.loader.flatten_mapping(node)
        for name, _ in node.value:
            self._refuse_key(name)
        return list({name.value: (name, value) for name, value in node.value}.values())

    def _refuse_key(self, name: yaml.Node) -> None:
        if not isinstance(name, yaml.ScalarNode):
            raise self._refusal(name, "a key is a list or a section; expected a name")
        if name.tag != f"{_TAG}str" or _instead(name):
            hint = "put it in quotes if that is its name" if name.value else None
            raise self._refusal(name, f"the key {name.value or 'is empty'} is not text; expected a name", hint)
        if _UNWRITABLE.search(name.value):
            raise self._refusal(name, f"the key {name.value!r} holds characters that are not text", "remove them")

    def _scalar(self, node: yaml.ScalarNode, key: str) -> Any:
        at = f"{key} is " if key else "there is "
        instead = _instead(node)
        if instead:
            raise self._refusal(node, f"{at}{node.value}, which can be read in two ways", f"write {instead}")
        kind = node.tag.removeprefix(_TAG)
        if kind in ("int", "float"):
            return self._number(node, at, kind)
        if kind in ("bool", "null"):
            return {"bool": node.value.lower() == "true", "null": None}[kind]
        if _UNWRITABLE.search(node.value):
            raise self._refusal(node, f"{at}{node.value[:60]!r}, with characters that are not text", "remove them")
        if node.value == "???" and self.changes:
            raise self._refusal(
                node, f"{at}???, and what other files say would count", "write a value, or leave the line out"
            )
        return node.value

    def _number(self, node: yaml.ScalarNode, at: str, kind: str) -> int | float:
        digits = node.value.replace("_", "")
        if kind == "int" and len(digits) < _MAX_DIGITS:
            return int(digits)
        value = float(digits)
        if not math.isfinite(value) or (value == 0 and re.search("[1-9]", re.split("[eE]", digits)[0])):
            raise self._refusal(node, f"{at}{node.value[:60]}, which no number here can hold", "write a nearer number")
        if kind == "int":
            raise self._refusal(node, f"{at}an integer of {len(digits)} digits", "write fewer")
        return value

    def _twice(self, name: yaml.Node) -> ConfigError:
        return self._refusal(name, f"the key {name.value} is given twice", "leave one of them out")

    def _refusal(self, node: yaml.Node, what: str, hint: str | None = None) -> ConfigError:
        return ConfigError(f"{self.file}, line {node.start_mark.line + 1}: {what}", hint)


def _path(name: str) -> list[str]:
    """The sections and the key that a dotted key leads through; names in `axes` and its like stay whole."""
    parts = name.split(".")
    at = next((i for i, part in enumerate(parts[:-1]) if part in KEYED), len(parts) - 1)
    return [*parts[: at + 1], ".".join(parts[at + 1 :])] if at < len(parts) - 1 else parts


def _instead(node: yaml.ScalarNode) -> str | None:
    """What to write in place of an unquoted scalar that can be read in two ways; None for any other."""
    if node.style is not None:
        return None
    return next((write for pattern, write in _TWO_WAYS if re.fullmatch(f"(?i:{pattern})", node.value)), None)

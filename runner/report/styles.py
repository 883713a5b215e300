"""What picture.css says of an element of a picture, for whoever draws it without a browser: on light paper, at rest.

Knows the few kinds of selectors that the file has; states such as :hover are a browser's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

INHERITED = ("visibility", "stroke", "stroke-width", "fill", "opacity")

Style = Mapping[str, str]


@dataclass(frozen=True)
class Element:
    """An element's name and its classes."""

    name: str
    classes: frozenset[str]


@dataclass(frozen=True)
class _Rule:
    """A selector, outermost part first, each a name (or none) and classes; and what it declares."""

    parts: tuple[tuple[str, frozenset[str]], ...]
    declared: tuple[tuple[str, str], ...]

    @property
    def weight(self) -> tuple[int, int]:
        return sum(len(classes) for _, classes in self.parts), sum(bool(name) for name, _ in self.parts)

    def holds(self, chain: Sequence[Element]) -> bool:
        """Whether it is about the last of a chain of nested elements."""
        *outer, last = self.parts
        if not _fits(last, chain[-1]):
            return False
        above = iter(chain[:-1])
        return all(any(_fits(part, element) for element in above) for part in outer)


def style(chain: Sequence[Element], given: Style) -> dict[str, str]:
    """Return what holds for the last of a chain. given: its own attributes, which the file's rules beat."""
    found = dict(given)
    for rule in sorted((rule for rule in _rules() if rule.holds(chain)), key=lambda rule: rule.weight):
        found |= rule.declared
    return found


def _fits(part: tuple[str, frozenset[str]], element: Element) -> bool:
    name, classes = part
    return name in ("", element.name) and classes <= element.classes


@cache
def _rules() -> tuple[_Rule, ...]:
    colours = dict(re.findall(r"(--[\w-]+):\s*(#\w+)", _asset("page.css").partition("}")[0]))
    made = []
    for selectors, body in re.findall(r"([^{}]+)\{([^}]*)\}", _asset("picture.css")):
        stated = (line.partition(":") for line in body.split(";") if ":" in line)
        declared = tuple((name.strip(), _resolved(value.strip(), colours)) for name, _, value in stated)
        made += [_Rule(_parts(each), declared) for each in selectors.split(",") if not re.search(r"[:\[]", each)]
    return tuple(made)


def _parts(selector: str) -> tuple[tuple[str, frozenset[str]], ...]:
    split = (part.split(".") for part in selector.split())
    return tuple((name, frozenset(classes)) for name, *classes in split)


def _resolved(value: str, colours: Mapping[str, str]) -> str:
    return re.sub(r"var\((--[\w-]+)\)", lambda found: colours[found[1]], value)


def _asset(file: str) -> str:
    return files("thalweg.runner.report").joinpath(file).read_text(encoding="utf-8")

"""HTML and SVG as text that escapes by construction: whatever is not Markup already is made inert. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from thalweg.runner.show.inert import clean

VOID = frozenset({"meta", "br", "input", "hr"})


class Markup(str):
    """Text that is HTML. Made by the functions of this module, or from a literal of ours."""

    __slots__ = ()


def text(value: object) -> Markup:
    """Return any value as inert HTML text; Markup stays as it is."""
    return value if isinstance(value, Markup) else Markup(escape(clean(value)))


def tag(element: str, *children: object, **attributes: object) -> Markup:
    """Return an element. Attributes that are None or False are left out; `class_` is class, data_x is data-x."""
    named = "".join(
        _attribute(name, value) for name, value in attributes.items() if not (value is None or value is False)
    )
    if element in VOID:
        return Markup(f"<{element}{named}>")
    return Markup(f"<{element}{named}>{''.join(map(text, children))}</{element}>")


def join(*parts: object) -> Markup:
    """Return parts beside each other."""
    return Markup("".join(map(text, parts)))


def name(value: object) -> Markup:
    """Return a name that a user gave, isolated so that right-to-left letters leave their surroundings alone."""
    return tag("bdi", value)


def data(content: Mapping[str, Any]) -> Markup:
    """Return JSON for a script element: no character in it can end the element."""
    packed = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return Markup(packed.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def px(value: float) -> str:
    """Return a coordinate with one decimal at most."""
    return f"{value:.1f}".removesuffix(".0")


def _attribute(name: str, value: object) -> str:
    name = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    shown = px(value) if isinstance(value, float) else escape(clean(value))
    return f' {name}="{shown}"'

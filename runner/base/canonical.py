"""Canonical JSON and tagged hashes: the one text form from which every id is made.

Changing anything here changes every id in every store. It knows nothing of trials or studies.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
"""Made once: a study of 10,000 trials needs as many texts and more."""

Scalar = bool | int | float | str | None
"""What a configuration leaf or an axis value can be (besides lists of these)."""


_LEAVES = frozenset({str, int, float, bool, type(None)})
"""Types of most values, known without asking whether they are dataclasses."""


def canonical_json(value: Any) -> str:
    """Return the one JSON text of `value`: keys sorted, no spaces, floats by their shortest repr, -0.0 as 0.0.

    Raises ValueError on NaN and infinities, which no configuration may hold.
    """
    return _ENCODER.encode(_plain(value))


def tagged_hash(tag: str, value: Any) -> str:
    """SHA-256 of the tag, a newline and the canonical JSON of `value`, as 64 hex digits.

    The tag keeps hashes of different kinds of things apart: equal content, different tag, different hash.
    """
    return hashlib.sha256(f"{tag}\n{canonical_json(value)}".encode()).hexdigest()


def tagged_hash_of_parts(tag: str, parts: Mapping[str, str]) -> str:
    """`tagged_hash` of a dict whose keys are identifiers, and whose values are canonical JSON already."""
    text = ",".join([f'"{name}":{parts[name]}' for name in sorted(parts)])
    return hashlib.sha256(f"{tag}\n{{{text}}}".encode()).hexdigest()


class Texts:
    """Canonical JSON of what configurations share, written once for each object.

    A study's trials share most of their sections, and writing these anew for each took two thirds of a plan.
    """

    def __init__(self, plain: Callable[[Any], Any]) -> None:
        self._plain = plain
        self._written: dict[int, tuple[Any, str]] = {}  # the object too, so that its number stays its own

    def of(self, part: Any) -> str:
        """The text of a part; equal to `canonical_json` of what it is as plain values."""
        if type(part) in _LEAVES:
            return canonical_json(part)
        known = self._written.get(id(part))
        if known is None:
            if len(self._written) >= _MOST_TEXTS:
                self._written.clear()
            known = self._written[id(part)] = (part, canonical_json(self._plain(part)))
        return known[1]


_MOST_TEXTS = 10_000


def identity_hash(tag: str, config: Any) -> str:
    """Return `tagged_hash(tag, identity_dict(config))`."""
    parts = {
        name: _IDENTITY.of(value)
        for name, value, metadata in _items(config)
        if "introduced_as" not in metadata or value != metadata["introduced_as"]
    }
    return tagged_hash_of_parts(tag, parts)


def structure_hash(tag: str, config: Any) -> str:
    """Return `tagged_hash(tag, structure_dict(config))`."""
    parts = {}
    for name, value, metadata in _items(config):
        if not metadata.get("per_trial"):
            text = _STRUCTURE.of(value)
            if "introduced_as" not in metadata or text != _STRUCTURE.of(metadata["introduced_as"]):
                parts[name] = text
    return tagged_hash_of_parts(tag, parts)


def as_dict(config: Any) -> dict[str, Any]:
    """Return a configuration dataclass as nested plain dicts, in field order, every field present.

    A field marked `spread` holds pairs of names and values, which stand in its place.
    """
    return {name: _config_value(value) for name, value, _ in _items(config)}


def identity_dict(config: Any) -> dict[str, Any]:
    """Like `as_dict`, without the fields that still have their introductory default.

    A field added to a schema after its first release says so in its metadata, `introduced_as=VALUE`: the value
    that means "as before the field existed". While it has that value it stays out of the hash, and old ids hold.
    """
    plain = {}
    for name, value, metadata in _items(config):
        if "introduced_as" in metadata and value == metadata["introduced_as"]:
            continue
        is_leaf = type(value) in _LEAVES
        plain[name] = value if is_leaf else identity_dict(value) if is_dataclass(value) else _config_value(value)
    return plain


def introductory(schema: Any) -> dict[str, Any]:
    """Return the plain values of the fields of a configuration dataclass that were added after its first release."""
    return {
        name: _config_value(metadata["introduced_as"])
        for name, metadata in _fields(schema)
        if "introduced_as" in metadata
    }


def structure_dict(config: Any) -> dict[str, Any]:
    """Like `identity_dict`, without the fields marked `per_trial`: what trials of one fused program must share."""
    plain = {}
    for name, value, metadata in _items(config):
        if metadata.get("per_trial"):
            continue
        value = _structure(value)
        if "introduced_as" not in metadata or value != _structure(metadata["introduced_as"]):
            plain[name] = value
    return plain


_IDENTITY = Texts(lambda part: identity_dict(part) if is_dataclass(part) else _config_value(part))
_STRUCTURE = Texts(lambda part: _structure(part))


def _items(config: Any) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """Yield name, value and metadata of each field."""
    for name, metadata in _fields(config.__class__):
        value = getattr(config, name)
        if metadata.get("spread"):
            yield from ((own, inner, _NONE) for own, inner in value)
        else:
            yield name, value, metadata


_NONE: Mapping[str, Any] = {}


@cache
def _fields(schema: Any) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    return tuple((f.name, f.metadata) for f in fields(schema))


def _structure(value: Any) -> Any:
    return structure_dict(value) if is_dataclass(value) else _config_value(value)


def _config_value(value: Any) -> Any:
    if type(value) in _LEAVES:
        return value
    if is_dataclass(value):
        return as_dict(value)
    return [_config_value(item) for item in value] if isinstance(value, tuple) else value


def _plain(value: Any) -> Any:
    if value is None or type(value) in (str, int, bool):
        return value
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} cannot be part of a configuration")
        return value + 0.0  # -0.0 becomes 0.0
    return value

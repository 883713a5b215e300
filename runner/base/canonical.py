"""Canonical JSON and tagged hashes: the one text form from which every id is made.

Changing anything here changes every id in every store. It knows nothing of trials or studies.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache, partial
from json.encoder import encode_basestring_ascii
from operator import attrgetter
from typing import Any, NamedTuple

Scalar = bool | int | float | str | None
"""What a configuration leaf or an axis value can be (besides lists of these)."""


_LEAVES = frozenset({str, int, float, bool, type(None)})
"""Types of most values, known without asking whether they are dataclasses."""


def canonical_json(value: Any) -> str:
    """Return the one JSON text of `value`: keys sorted, no spaces, floats by their shortest repr, -0.0 as 0.0.

    Raises ValueError on NaN and infinities, which no configuration may hold.
    """
    if value is None or value is True or value is False:
        return _WORDS[value]
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} cannot be part of a configuration")
        return float.__repr__(float(value) + 0.0)  # -0.0 becomes 0.0
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, dict):
        texts = {str(name): canonical_json(each) for name, each in value.items()}
        return f"{{{','.join([f'{encode_basestring_ascii(name)}:{texts[name]}' for name in sorted(texts)])}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join([canonical_json(each) for each in value])}]"
    raise TypeError(f"{value!r} has no canonical text")


_WORDS = {None: "null", True: "true", False: "false"}


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
    """What is written of parts of configurations, once for each object.

    A study's trials share most of their sections, and writing these anew for each took two thirds of a plan.
    """

    def __init__(self, write: Callable[[Any], str]) -> None:
        self._write = write
        self._written: dict[Hashable, tuple[Any, str]] = {}  # the object too, so that its number stays its own

    def of(self, part: Any) -> str:
        """The text of a part."""
        kind = type(part)
        key = (kind, part) if kind in _LEAVES else id(part)
        known = self._written.get(key)
        if known is None:
            if len(self._written) >= _MOST_TEXTS:
                self._written.clear()
            known = self._written[key] = (part, self._write(part))
        return known[1]


_MOST_TEXTS = 10_000


def identity_hash(tag: str, config: Any) -> str:
    """Return `tagged_hash(tag, identity_dict(config))`, of a schema none of whose own fields is spread."""
    entries = [text for name, texts in _entries(config.__class__) if (text := texts.of(getattr(config, name)))]
    return hashlib.sha256(f"{tag}\n{{{','.join(entries)}}}".encode()).hexdigest()


@cache
def _entries(schema: Any) -> list[tuple[str, Texts]]:
    """The fields of a schema in the order of their names, each with what identities say of it."""
    assert not any(each.spread for each in _fields(schema))
    return [(each.name, Texts(partial(_entry, each))) for each in sorted(_fields(schema))]


def _entry(field: _Field, value: Any) -> str:
    """Name and value of a field as identities have them; nothing where it is as it was introduced."""
    if field.introduced_as is not _NEVER and value == field.introduced_as:
        return ""
    return f'"{field.name}":{canonical_json(_identity(value))}'


def structure_hash(tag: str, config: Any) -> str:
    """Return `tagged_hash(tag, structure_dict(config))`."""
    key = (tag, *map(_shared, _values_shared(config.__class__)(config)))
    known = _HASHES.get(key)
    if known is None:
        if len(_HASHES) >= _MOST_TEXTS:
            _HASHES.clear()
        known = _HASHES[key] = (config, tagged_hash_of_parts(tag, _structure_texts(config)))
    return known[1]


_HASHES: dict[Hashable, tuple[Any, str]] = {}
"""What a structure follows from -> a configuration that has these very parts, and the hash."""


def _shared(part: Any) -> Hashable:
    """What the structure of a part follows from: the object, but where it holds values of a trial's own, all others."""
    kind: Any = type(part)
    if kind in _LEAVES:
        return kind, part
    if not _owns(kind):
        return id(part)
    values = _values_shared(kind)(part)
    kinds = [*map(type, values)]
    return (kind, *values, *kinds) if _LEAVES.issuperset(kinds) else id(part)


@cache
def _owns(schema: Any) -> bool:
    """Whether it has values of a trial's own."""
    return any(each.per_trial for each in _fields(schema))


@cache
def _values_shared(schema: Any) -> Callable[[Any], Sequence[Any]]:
    """What gives the values of a configuration that are no trial's own."""
    names = [each.name for each in _fields(schema) if not each.per_trial]
    return attrgetter(*names) if len(names) > 1 else lambda config: [getattr(config, name) for name in names]


def _structure_texts(config: Any) -> dict[str, str]:
    parts = {}
    for name, value, per_trial, introduced in _items(config):
        if not per_trial:
            text = _STRUCTURE.of(value)
            if introduced is _NEVER or text != _STRUCTURE.of(introduced):
                parts[name] = text
    return parts


def as_dict(config: Any) -> dict[str, Any]:
    """Return a configuration dataclass as nested plain dicts, in field order, every field present.

    A field marked `spread` holds pairs of names and values, which stand in its place.
    """
    return {name: _config_value(value) for name, value, _, _ in _items(config)}


def identity_dict(config: Any) -> dict[str, Any]:
    """Like `as_dict`, without the fields that still have their introductory default.

    A field added to a schema after its first release says so in its metadata, `introduced_as=VALUE`: the value
    that means "as before the field existed". While it has that value it stays out of the hash, and old ids hold.
    """
    plain = {}
    for name, value, _, introduced in _items(config):
        if introduced is not _NEVER and value == introduced:
            continue
        plain[name] = _identity(value)
    return plain


def _identity(value: Any) -> Any:
    return value if type(value) in _LEAVES else identity_dict(value) if is_dataclass(value) else _config_value(value)


def introductory(schema: Any) -> dict[str, Any]:
    """Return the plain values of the fields of a configuration dataclass that were added after its first release."""
    return {
        each.name: _config_value(each.introduced_as) for each in _fields(schema) if each.introduced_as is not _NEVER
    }


def structure_dict(config: Any) -> dict[str, Any]:
    """Like `identity_dict`, without the fields marked `per_trial`: what trials of one fused program must share."""
    plain = {}
    for name, value, per_trial, introduced in _items(config):
        if per_trial:
            continue
        value = _structure(value)
        if introduced is _NEVER or value != _structure(introduced):
            plain[name] = value
    return plain


_STRUCTURE = Texts(lambda part: canonical_json(_structure(part)))


def _items(config: Any) -> Iterator[tuple[str, Any, bool, Any]]:
    """Yield of each field its name, its value, whether that is a trial's own, and the value it was introduced with."""
    for name, per_trial, introduced, spread in _fields(config.__class__):
        value = getattr(config, name)
        if spread:
            yield from ((own, inner, False, _NEVER) for own, inner in value)
        else:
            yield name, value, per_trial, introduced


class _Field(NamedTuple):
    """What a schema's metadata says of a field."""

    name: str
    per_trial: bool
    introduced_as: Any
    spread: bool


_NEVER = object()
"""What a field was introduced with that was there from the first."""


@cache
def _fields(schema: Any) -> tuple[_Field, ...]:
    return tuple(
        _Field(
            f.name,
            f.metadata.get("per_trial", False),
            f.metadata.get("introduced_as", _NEVER),
            f.metadata.get("spread", False),
        )
        for f in (fields(schema) if is_dataclass(schema) else ())
    )


def _structure(value: Any) -> Any:
    return structure_dict(value) if is_dataclass(value) else _config_value(value)


def _config_value(value: Any) -> Any:
    if type(value) in _LEAVES:
        return value
    if is_dataclass(value):
        return as_dict(value)
    return [_config_value(item) for item in value] if isinstance(value, tuple) else value

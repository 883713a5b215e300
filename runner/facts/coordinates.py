"""Where a trial lies along an axis, whether its own declaration named the axis or a later one did. Pure.

A study may be declared several times, each with other axes; a trial keeps those that it was declared with. What lacks
one has its value in its configuration: a number or text as it is, a list as its JSON text, a section as the name of
the option that it is of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from thalweg.runner.base.canonical import Scalar, canonical_json
from thalweg.runner.facts.row import Row, lookup
from thalweg.runner.study.target import KEY


def has(config: Mapping[str, Any], key: str) -> bool:
    """Whether there is a dotted key, whatever it holds."""
    above, _, last = key.rpartition(".")
    section = lookup(config, above) if above else config
    return isinstance(section, Mapping) and last in section


def coordinate(config: Mapping[str, Any], key: str) -> Scalar:
    """Return the value of a key as an axis has it; None if there is none."""
    value = lookup(config, key)
    if isinstance(value, Mapping):
        return _name(value)
    return canonical_json(value) if isinstance(value, list | tuple) else value


def option(section: object) -> str | None:
    """Return the name of the option that a section is of; None for what is no section."""
    return _name(section) if isinstance(section, Mapping) else None


def placed(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of a study, each with a coordinate on every axis of its block; those outside as they are.

    Vars that a declaration did not have stay unknown.
    """
    blocks: dict[str, list[Row]] = {}
    for row in rows:
        if not row.outside:
            blocks.setdefault(row.block, []).append(row)
    blocks = {name: members for name, members in blocks.items() if len({tuple(row.axes) for row in members}) > 1}
    keys = {name: dict.fromkeys(key for row in members for key in row.axes) for name, members in blocks.items()}
    options = {name: _options(members) for name, members in blocks.items()}
    return [
        row if row.outside or row.block not in blocks else _placed(row, list(keys[row.block]), options[row.block])
        for row in rows
    ]


Options = dict[str, list[tuple[Mapping[str, Any], str]]]
"""Group -> the section of a trial and the option that its declaration named."""


def _options(rows: Sequence[Row]) -> Options:
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for row in rows:
        for key, option in row.axes.items():
            section = row.config.get(key)
            if isinstance(section, Mapping):
                found.setdefault((key, str(option)), section)
    named: Options = {}
    for (key, option), section in found.items():
        named.setdefault(key, []).append((section, option))
    return named


def _placed(row: Row, keys: Sequence[str], options: Options) -> Row:
    axes = {}
    for key in keys:
        section = row.config.get(key)
        if key in row.axes:
            axes[key] = row.axes[key]
        elif isinstance(section, Mapping):
            axes[key] = _option(section, options.get(key, ()), {each.removeprefix(f"{key}.") for each in keys})
        elif has(row.config, key):
            axes[key] = coordinate(row.config, key)
    return replace(row, axes=axes)


def _option(section: Mapping[str, Any], known: Sequence[tuple[Mapping[str, Any], str]], varied: set[str]) -> str:
    """The option that a section is of: that of its name; of several such, the one that agrees in what does not vary."""
    alike = [(other, option) for other, option in known if _name(other) == _name(section)]
    if len(alike) > 1:
        alike = [(other, option) for other, option in alike if _fixed(other, varied) == _fixed(section, varied)]
    return alike[0][1] if len(alike) == 1 else _name(section)


def _name(section: Mapping[str, Any]) -> str:
    return str(section.get("name", section.get(KEY)))


def _fixed(section: Mapping[str, Any], varied: set[str]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key not in varied}

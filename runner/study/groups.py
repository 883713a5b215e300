"""`groups.NAME.…` in plain configurations: sections whose names are free, which no schema can list.

Which parameters a group holds is known by `optim.groups`, what its values may be by `keys`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from thalweg.optim.schema import OPTIMIZERS, ParameterGroup

SECTION = "groups"
FIELDS = tuple(f.name for f in fields(ParameterGroup))
OWN = "optimizer"
"""The field that holds an optimizer of a group's own."""
OWN_FIELDS = tuple(dict.fromkeys(f.name for schema in OPTIMIZERS.values() for f in fields(schema)))
_KEY = re.compile(rf"{SECTION}\.([^\W\d]\w*)\.({'|'.join(FIELDS)}|{OWN}\.(?:{'|'.join(OWN_FIELDS)}))")


def in_groups(key: str) -> bool:
    """Whether a key is of the section, well spelled or not."""
    return key.partition(".")[0] == SECTION


def field_of(key: str) -> str | None:
    """Which field of a group a dotted key is, such as `lr` of `groups.head.lr`, or `optimizer.lr`; None for another."""
    found = _KEY.fullmatch(key)
    return found[2] if found else None


def with_defaults(group: Mapping[str, Any]) -> dict[str, Any]:
    """A plain group with the fields that it leaves out, but for its pattern."""
    defaults = {f.name: f.default for f in fields(ParameterGroup) if f.default is not MISSING}
    return defaults | dict(group)

"""A hint that works when it is pasted into a shell: an override whose values are lists of text."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MEANT_OTHERWISE = {"nan", "inf", "null", "true", "false", "infinity"}
"""Words, in small letters, that are no text to Hydra."""


def pasted(key: str, values: Iterable[str]) -> str:
    """Return `key=[values]` as it is typed in a shell, each value as text."""
    return shlex.quote(f"{key}=[{','.join(_quoted(value) for value in values)}]")


def _quoted(value: str) -> str:
    if PLAIN.fullmatch(value) and value.lower() not in MEANT_OTHERWISE:
        return value
    written = re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + "\\${", value)  # no interpolation
    written = re.sub(r'(\\*)("|\Z)', lambda found: found[1] * 2 + ("\\" if found[2] else "") + found[2], written)
    return f'"{written}"'

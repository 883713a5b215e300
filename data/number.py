"""What text is a number in a table: decimal digits, a point, an exponent. Knows no file.

Python's own syntax is wider: it takes `3_4` for 34, digits of any script, and `nan` and `inf` for numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

PLAIN = frozenset("0123456789+-.eE ")
"""Of these characters Python makes the same numbers, and no others."""


def numbers_of(cells: Sequence[Any], comma: bool = False) -> list[float | None]:
    """Return the number of each cell, as `number` does; three times as fast where all are plain text."""
    try:
        if not comma and PLAIN.issuperset("".join(cells)):
            return list(map(float, cells))
    except (TypeError, ValueError):  # some are no text, or no number
        pass
    return [number(cell, comma) for cell in cells]


def number(cell: Any, comma: bool = False) -> float | None:
    """Return the number that a cell holds, None if it holds none. comma: that is the sign before a fraction."""
    if isinstance(cell, str):
        text = cell.strip()
        if comma:
            text = text.translate({ord(","): ".", ord("."): ","})
        return float(text) if NUMBER.fullmatch(text) else None
    if not isinstance(cell, int | float | Decimal):
        return None
    try:
        return float(cell)
    except (OverflowError, ValueError):  # an integer beyond 1e308, a signalling NaN
        return None

"""What text is a number in a table: decimal digits, a point, an exponent. Knows no file.

Python's own syntax is wider: it takes `3_4` for 34, digits of any script, and `nan` and `inf` for numbers.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


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

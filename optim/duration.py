"""Lengths of training that people write, `10ep` or `5%`, as whole optimizer steps. Pure Python; knows no schedule."""

from __future__ import annotations

import math
import re
from fractions import Fraction

PATTERN = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ep|%)")


def unit_of(text: str) -> str | None:
    """Return "ep" or "%" of a duration, None for any other text."""
    match = PATTERN.fullmatch(text.strip())
    return match[2] if match else None


def in_steps(text: str, per_unit: Fraction | float) -> int:
    """Return a duration in steps, rounded up; per_unit: the steps of an epoch, or of the whole run for a share.

    Exact in decimals: 5% of 600 is 30. Raises ValueError for text that is no duration.
    """
    match = PATTERN.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a duration; write epochs (2ep) or a share of the run (5%)")
    share = Fraction(match[1]) / (100 if match[2] == "%" else 1)
    return math.ceil(share * Fraction(per_unit))

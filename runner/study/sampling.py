"""Points at random, or spread evenly, over ranges: the same declaration asks for the same points, anywhere and always.

A point is a function of the method, the seed, its number and the axis: more points keep those there are, and another
axis or block moves none. How far along its range it lies is a fraction, of SHA-256 or of Sobol's sequence; the value
there is computed in decimals and rounded once, to six digits, so that no machine or library has a say in a trial's id:
floats are asked first, and count only where a thousand times their error would not change a digit.

Sobol's sequence, with the direction numbers of Joe & Kuo (2008, new-joe-kuo-6.21201), in the order of Gray codes, as
scipy and torch have it; an exclusive or with one number an axis moves it off the corner and keeps its evenness. An axis
has the dimension of its place among the sampled keys in the order of the alphabet.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from functools import cache, cached_property
from typing import Literal

from thalweg.runner.base.errors import ConfigError
from thalweg.runner.study.ranges import parse_number

FORMS = "a..b:log or a..b:lin"

_DIGITS = Context(prec=6)
_WORK = Context(prec=30)
_SPREAD = re.compile(r"\s*([^:\s]+?)\s*\.\.\s*([^:\s]+)\s*:\s*(log|lin)\s*")
_BITS = 32
_DIRECTIONS = (  # dimension 2 onwards: degree and coefficients of the polynomial, first direction numbers
    (1, 0, (1,)),
    (2, 1, (1, 3)),
    (3, 1, (1, 3, 1)),
    (3, 2, (1, 1, 1)),
    (4, 1, (1, 1, 3, 3)),
    (4, 4, (1, 3, 5, 13)),
    (5, 2, (1, 1, 5, 5, 17)),
    (5, 4, (1, 1, 5, 5, 5)),
    (5, 7, (1, 1, 7, 11, 19)),
    (5, 11, (1, 1, 5, 1, 1)),
    (5, 13, (1, 1, 1, 3, 11)),
    (5, 14, (1, 3, 5, 5, 31)),
    (6, 1, (1, 3, 3, 9, 7, 49)),
    (6, 13, (1, 1, 1, 15, 21, 21)),
    (6, 16, (1, 3, 1, 13, 27, 49)),
    (6, 19, (1, 1, 1, 15, 7, 5)),
    (6, 22, (1, 3, 1, 15, 13, 25)),
    (6, 25, (1, 1, 5, 5, 19, 61)),
    (7, 1, (1, 3, 7, 11, 23, 15, 103)),
    (7, 4, (1, 3, 7, 13, 13, 15, 69)),
)
MOST_AXES = len(_DIRECTIONS) + 1


@dataclass(frozen=True)
class Sample:
    """How many points, and by what method."""

    n: int
    method: Literal["random", "sobol", "tpe"]
    seed: int
    batch: int = 0  # of tpe: points that are asked for at once


@dataclass(frozen=True)
class Spread:
    """A range that points are drawn from: evenly, or evenly in the logarithm."""

    low: Fraction
    high: Fraction
    log: bool

    def at(self, share: Fraction, whole: bool) -> int | float:
        """Return what lies this share of the way from low to high; of whole numbers each has as much of the way."""
        value = self._whole(float(share)) if whole else self._fine(float(share))
        return self._exactly(share, whole) if value is None else value

    def _exactly(self, share: Fraction, whole: bool) -> int | float:
        low, high = self._ends(whole)
        if self.log:
            bottom, top = _ln(low), _ln(high)
            reach = _WORK.multiply(_WORK.subtract(top, bottom), _decimal(share))
            point = Fraction(_WORK.exp(_WORK.add(bottom, reach)))
        else:
            point = low + share * (high - low)
        return self._within(_nearest(point)) if whole else shortened(point, self)

    def _fine(self, share: float) -> float | None:
        """What floats make of a share; None where that lies so near to a neighbour that they may not tell."""
        least, most = self._about(share, self._floats)
        low, high = float(self.low), float(self.high)
        text = f"{least:.5e}"
        return value if text == f"{most:.5e}" and low <= (value := float(text)) <= high else None

    def _whole(self, share: float) -> int | None:
        least, most = (math.floor(each + 0.5) for each in self._about(share, self._floats_of_whole))
        return self._within(least) if least == most else None

    def _about(self, share: float, ends: tuple[float, float]) -> tuple[float, float]:
        """Two numbers between which a point lies, many times further apart than floats are wrong."""
        low, high = ends
        point = low + share * (high - low)
        error = 1e-12 * max(abs(low), abs(high))
        if self.log:
            point = math.exp(point)
            error = (error + 1e-12) * point
        return point - error, point + error

    def _ends(self, whole: bool) -> tuple[Fraction, Fraction]:
        return (self.low - Fraction(1, 2), self.high + Fraction(1, 2)) if whole else (self.low, self.high)

    def _within(self, number: int) -> int:
        return min(max(number, int(self.low)), int(self.high))

    @cached_property
    def _floats(self) -> tuple[float, float]:
        return self._as_floats(whole=False)

    @cached_property
    def _floats_of_whole(self) -> tuple[float, float]:
        return self._as_floats(whole=True)

    def _as_floats(self, whole: bool) -> tuple[float, float]:
        low, high = self._ends(whole)
        return (float(_ln(low)), float(_ln(high))) if self.log else (float(low), float(high))


def shortened(point: Fraction, spread: Spread) -> float:
    """Return a point of a range in six digits."""
    rounded = Fraction(_DIGITS.divide(Decimal(point.numerator), Decimal(point.denominator)))
    return float(min(max(rounded, spread.low), spread.high))


def parse_spread(text: str) -> Spread | None:
    """Read `1e-4..1:log` or `0..1:lin`; None for anything else. Raises ConfigError for ends that span nothing."""
    match = _SPREAD.fullmatch(text)
    low, high = (parse_number(match[1]), parse_number(match[2])) if match else (None, None)
    if not match or low is None or high is None:
        return None
    if wrong := next((end for end, number in zip(match.groups(), (low, high), strict=False) if _is_far(number)), None):
        raise ConfigError(f"{text} ends at {wrong}, which no trial can have", "take ends between 1e-300 and 1e300")
    if low >= high:
        raise ConfigError(
            f"{text} spans nothing, because {match[1]} is not below {match[2]}", "put the smaller end first"
        )
    if match[3] == "log" and low <= 0:
        raise ConfigError(f"{text} is even in the logarithm, but starts at {match[1]}", "start above 0, or write :lin")
    return Spread(low, high, match[3] == "log")


def _is_far(number: Fraction) -> bool:
    """Whether a number is too large or too small for floats to be exact to six digits."""
    return number != 0 and not Fraction(1, 10**300) <= abs(number) <= 10**300


def shares(sample: Sample, keys: Sequence[str]) -> dict[str, list[Fraction]]:
    """Return for each key where its points lie between 0 and 1, both excluded."""
    if sample.method == "random":
        return {key: [_random(sample.seed, key, i) for i in range(sample.n)] for key in keys}
    if len(keys) > MOST_AXES:
        raise ConfigError(f"sobol samples {MOST_AXES} axes at most; these are {len(keys)}", "write method: random")
    return {key: _sobol(at, sample, key) for at, key in enumerate(sorted(keys))}


def drawn(sample: Sample, spreads: Mapping[str, tuple[Spread, bool]]) -> tuple[tuple[int | float, ...], ...]:
    """Return the points of a sample, equal ones once; a range and whether its numbers are whole, for each key."""
    at = shares(sample, tuple(spreads))
    columns = [[spread.at(share, whole) for share in at[key]] for key, (spread, whole) in spreads.items()]
    return tuple(dict.fromkeys(zip(*columns, strict=True)))


def _random(seed: int, key: str, number: int) -> Fraction:
    digest = hashlib.sha256(f"thalweg.sample.v1\n{seed}\n{key}\n{number}".encode()).digest()
    return Fraction(2 * (int.from_bytes(digest[:8], "big") >> 11) + 1, 2**54)


def _sobol(dimension: int, sample: Sample, key: str) -> list[Fraction]:
    digest = hashlib.sha256(f"thalweg.sobol.v1\n{sample.seed}\n{key}".encode()).digest()
    shift = int.from_bytes(digest[: _BITS // 8], "big")
    return [Fraction(2 * (point ^ shift) + 1, 2 ** (_BITS + 1)) for point in sobol(dimension, sample.n)]


def sobol(dimension: int, n: int) -> list[int]:
    """Return the first n points of one dimension, counted from 0, as multiples of 2^-32; the first is 0."""
    points, directions = [0], _directions(dimension)
    for i in range(1, n):
        points.append(points[-1] ^ directions[(i & -i).bit_length() - 1])
    return points[:n]


@cache
def _directions(dimension: int) -> tuple[int, ...]:
    if dimension == 0:
        return tuple(1 << (_BITS - 1 - i) for i in range(_BITS))
    degree, polynomial, first = _DIRECTIONS[dimension - 1]
    made = [m << (_BITS - 1 - i) for i, m in enumerate(first)]
    for i in range(degree, _BITS):
        new = made[i - degree] ^ (made[i - degree] >> degree)
        for k in range(1, degree):
            new ^= made[i - k] if polynomial >> (degree - 1 - k) & 1 else 0
        made.append(new)
    return tuple(made)


def _decimal(value: Fraction) -> Decimal:
    return _WORK.divide(Decimal(value.numerator), Decimal(value.denominator))


@cache
def _ln(value: Fraction) -> Decimal:
    return _WORK.ln(_decimal(value))


def _nearest(value: Fraction) -> int:
    return int((value + Fraction(1, 2)) // 1)

"""Ranges such as `1/256..8:x2`: exact points, rounded once. Pure arithmetic; it knows no keys and no Hydra.

    a..b         integers, both ends in              0..2            0, 1, 2
    a..b:xF      times F, from a up to b             1/256..8:x2     12 points
    a..b:+S      plus S, from a up to b              0..1:+0.25      5 points
    a..b:N/dec   N points a decade, from a           1e-4..1:2/dec   9 points
    a..b:Nlog    N points in all, equal ratios       1e-5..1e-1:9log
    a..b:Nlin    N points in all, equal steps        0..1:11lin

Ends, factors and steps are decimals (`0.1`, `1e-4`) or fractions (`1/256`). Steps come first, so a range that is
widened keeps its old points, bit for bit. Points are integers where all of a range are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

from thalweg.runner.base.errors import ConfigError

MAX_VALUES = 1_000_000
"""More values than this on one axis are a typing error."""

FORMS = "a..b:x2, a..b:2/dec, a..b:+0.1, a..b:9log, a..b:9lin, or a..b for integers"

_DECIMAL = r"[+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?"
_NUMBER = rf"{_DECIMAL}(?:/{_DECIMAL})?"
_RANGE = re.compile(rf"({_NUMBER})\s*\.\.\s*({_NUMBER})(?:\s*:\s*(\S.*))?")
_NEAR = re.compile(r"[+-]?\.?\d[^\s:]*\s*\.\.\s*[+-]?\.*\d.*", re.DOTALL)
_POWER = re.compile(r"(\d{1,3})\s*(?:\^|\*\*)\s*([+-]?\d{1,3})")
_WORK = Context(prec=80)  # accumulated over a million factors the error stays below 1e-70 ...
_KEEP = Context(prec=40)  # ... so that 40 digits are right, and points with few digits are met exactly


@dataclass(frozen=True)
class Points:
    """The values of one range. `count` is known before a single value is made."""

    text: str
    count: int
    exact: Callable[[], Iterable[Fraction | Decimal | int]]

    def values(self) -> list[int] | list[float]:
        """Return the points, each rounded once to a float; integers if all of them are."""
        if all(point == int(point) for point in self.exact()):
            return [int(point) for point in self.exact()]
        return [float(point) for point in self.exact()]


def parse_number(text: str) -> Fraction | None:
    """Return the exact value of `0.1`, `1e-4` or `1/256`; None if the text is none of these."""
    text = text.strip()
    if len(text) > 60 or not re.fullmatch(_NUMBER, text):
        return None
    top, _, bottom = text.partition("/")
    divisor = Fraction(bottom or 1)
    return Fraction(top) / divisor if divisor else None


def as_number(text: Any) -> Any:
    """Return the number that a text is; anything else as it is."""
    number = parse_number(text) if isinstance(text, str) else None
    return text if number is None else rounded(_finite(text, number))


def exact(value: float | int | str) -> Fraction:
    """Return a number as people write it: the fraction its shortest repr stands for, so 0.1 is 1/10."""
    return Fraction(value) if isinstance(value, int) else Fraction(str(value))


def rounded(value: Fraction) -> int | float:
    """Return an integer where the value is one, else the nearest float."""
    return int(value) if value.denominator == 1 else float(value)


def looks_like_range(text: str) -> bool:
    """Whether a text was meant as a range or a power, well spelled or not: `..` between numbers, not in a path."""
    return _NEAR.fullmatch(text.strip()) is not None or _POWER.fullmatch(text.strip()) is not None


def parse_range(text: str) -> Points:
    """Read a range. Raises ConfigError for a near miss, naming the right spelling, and for an empty range."""
    text = text.strip()
    match = None if "..." in text or len(text) > 200 else _RANGE.fullmatch(text)
    ends = (parse_number(match[1]), parse_number(match[2])) if match else (None, None)
    if not match or ends[0] is None or ends[1] is None:
        raise _not_a_range(text)
    low, high = _finite(text, ends[0]), _finite(text, ends[1])
    if low > high:
        raise ConfigError(
            f"range {text} has 0 values, because {match[1]} is above {match[2]}", "put the smaller end first"
        )
    return _points(text, low, high, match[3])


def half_open(start: float, stop: float, step: float) -> Points:
    """Hydra's `range(start, stop, step)` in exact decimals: `range(0.1, 0.4, 0.1)` is 0.1, 0.2, 0.3."""
    low, end, by = (exact(v if isinstance(v, int) else f"{v:.15g}") for v in (start, stop, step))
    text = f"range({rounded(low)},{rounded(end)},{rounded(by)})"
    if by == 0:
        raise ConfigError(f"{text} has a step of 0", "give a step other than 0")
    count = max(0, -((low - end) // by))
    return Points(text, count, lambda: _linear(low, by, count))


def numeric_values(key: str, items: Sequence[Any], also: Callable[[Any], bool] = lambda item: False) -> list[Any]:
    """Return the values of a numeric axis, in order, equal ones once.

    items: numbers, texts (a number or a range), Points, and what `also` accepts, which stays as it is. Raises
    ConfigError for anything else, for no values, and, before making any, for more than MAX_VALUES.
    """
    parts = [_part(key, item, also) for item in items]
    count = sum(part.count if isinstance(part, Points) else 1 for part in parts)
    check_count(key, count)
    made: dict[Any, None] = {}
    for part in parts:
        made.update(dict.fromkeys(part.values() if isinstance(part, Points) else [part]))
    return list(made)


def check_count(key: str, count: int) -> None:
    """Refuse an axis without values, and one with too many."""
    if count == 0:
        raise ConfigError(f"axis {key} has 0 values; give at least one, e.g. {key}=0.1,0.3")
    if count > MAX_VALUES:
        raise ConfigError(
            f"axis {key} has {count:,} values, more than {MAX_VALUES:,}", "take a larger step or nearer ends"
        )


def _part(key: str, item: Any, also: Callable[[Any], bool]) -> Any:
    if isinstance(item, Points) or (item is None and also(item)):
        return item
    if isinstance(item, str):
        value = parse_number(item)
        if value is not None:
            return rounded(_finite(item, value))
        if item.strip().lower() in ("nan", "inf", "-inf", "+inf"):
            return float(item)  # left to the schema, which says what it expects
        if also(item):
            return item
        if ".." in item or looks_like_range(item):
            try:
                return parse_range(item)
            except ConfigError as error:
                raise ConfigError(f"{key}: {error.message}", error.hint) from None
        raise ConfigError(f"{key} is {item!r}, which is neither a number nor a range", f"write a number, or {FORMS}")
    if isinstance(item, bool) or not isinstance(item, int | float):
        seen = "null" if item is None else repr(item)
        raise ConfigError(f"{key} is {seen}, which is not a number", f"write a number, or {FORMS}")
    return item


def _points(text: str, low: Fraction, high: Fraction, step: str | None) -> Points:
    if step is None:
        if low.denominator != 1 or high.denominator != 1:
            raise ConfigError(
                f"range {text} has no step and its ends are not integers", f"write {text}:x2 or {text}:9log"
            )
        return Points(text, int(high - low) + 1, lambda: _linear(low, Fraction(1), int(high - low) + 1))
    if step[0] in "x+":
        by = parse_number(step[1:])
        if by is not None:
            return _stepped(text, low, high, step[0], by)
    match = re.fullmatch(r"(\d{1,12})(/dec|log|lin)", step)
    if not match:
        raise _not_a_range(text)
    return _counted(text, low, high, int(match[1]), match[2])


def _stepped(text: str, low: Fraction, high: Fraction, kind: str, by: Fraction) -> Points:
    if kind == "+":
        if by <= 0:
            raise ConfigError(f"range {text} adds {by}, but must add more than 0")
        count = int((high - low) / by) + 1
        return Points(text, count, lambda: _linear(low, by, count))
    if by <= 1:
        raise ConfigError(f"range {text} multiplies by {by}, but must multiply by more than 1")
    _positive(text, low)
    ratio = _decimal(by)
    return _geometric(text, low, ratio, _steps_within(low, high, ratio) + 1)


def _counted(text: str, low: Fraction, high: Fraction, n: int, kind: str) -> Points:
    if n < (1 if kind == "/dec" else 2):
        raise ConfigError(
            f"range {text} asks for {n} point{'s' * (n != 1)}", f"ask for at least {1 if kind == '/dec' else 2}"
        )
    if kind == "lin":
        return Points(text, n, lambda: _linear(low, (high - low) / (n - 1), n))
    _positive(text, low)
    if kind == "/dec":
        ratio = _WORK.power(Decimal(10), _decimal(Fraction(1, n)))
        return _geometric(text, low, ratio, _steps_within(low, high, ratio) + 1)
    return _geometric(text, low, _WORK.power(_decimal(high / low), _decimal(Fraction(1, n - 1))), n)


def _geometric(text: str, low: Fraction, ratio: Decimal, count: int) -> Points:
    def points() -> Iterator[Decimal]:
        point = _decimal(low)
        for _ in range(count):
            yield _KEEP.plus(point)
            point = _WORK.multiply(point, ratio)

    return Points(text, count, points)


def _linear(low: Fraction, by: Fraction, count: int) -> Iterable[Fraction | int]:
    if by and low.denominator == 1 == by.denominator:
        return range(int(low), int(low + count * by), int(by))
    return (low + i * by for i in range(count))


def _steps_within(low: Fraction, high: Fraction, ratio: Decimal) -> int:
    """Return the largest n with low·ratio^n ≤ high, where a hit within 1e-30 is a hit."""
    n = _WORK.divide(_WORK.ln(_decimal(high / low)), _WORK.ln(ratio))
    return int(_WORK.add(n, Decimal("1e-30")))


def _decimal(value: Fraction) -> Decimal:
    return _WORK.divide(Decimal(value.numerator), Decimal(value.denominator))


def _finite(text: str, value: Fraction) -> Fraction:
    size = abs(value)
    if size and not Fraction(1, 10**300) <= size <= 10**300:
        raise ConfigError(f"{text} holds a number whose size is not between 1e-300 and 1e300")
    return value


def _positive(text: str, low: Fraction) -> None:
    if low <= 0:
        raise ConfigError(
            f"range {text} multiplies, but starts at {rounded(low)}",
            "start above 0; add 0 as a value: 0,1e-4..1:x10",
        )


def _not_a_range(text: str) -> ConfigError:
    power = _POWER.fullmatch(text)
    if power and (spelled := _spell_power(int(power[1]), int(power[2]))):
        return ConfigError(f"{text} is not a number here", f"write {spelled}")
    right = [spelling for spelling in _respell(text) if _is_range(spelling)]
    return ConfigError(f"{text} is not a range", f"write {' or '.join(right) if right else FORMS}")


def _is_range(text: str) -> bool:
    match = None if "..." in text else _RANGE.fullmatch(text)
    return bool(match and (not match[3] or re.fullmatch(rf"[x+]{_NUMBER}|\d+(/dec|log|lin)", match[3])))


def _spell_power(base: int, exponent: int) -> str | None:
    if base < 1 or abs(exponent) * base.bit_length() > 100:
        return None
    return f"1/{base**-exponent}" if exponent < 0 else str(base**exponent)


def _respell(text: str) -> Iterable[str]:
    text = _POWER.sub(lambda m: _spell_power(int(m[1]), int(m[2])) or m[0], re.sub(r"\.{3,}", "..", text))
    ends, _, step = text.partition(":")
    step = re.sub(r"\s+", "", step.lower())
    number = re.search(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?(?:/\d+)?", step)
    if not step:
        return [ends]
    if not number:
        return []
    if step == number[0] and step.isdecimal():
        return [f"{ends}:{step}log", f"{ends}:{step}lin"]
    count = re.search(r"\d+", step)
    for mark, spelling in (("dec", "/dec"), ("log", "log"), ("geo", "log"), ("lin", "lin")):
        if mark in step and count:
            return [f"{ends}:{count[0]}{spelling}"]
    return [f"{ends}:{'+' if '+' in step else 'x'}{number[0]}"]

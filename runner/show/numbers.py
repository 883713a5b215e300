"""Numbers as people read them: few digits, few characters, powers of two as fractions. Pure text."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Self, TypeGuard

from thalweg.runner.base.canonical import Scalar

MINUTE, HOUR, DAY = 60, 3600, 86400


class Epochs(int):
    """A number of steps that is shown as the epochs it was given in."""

    text: str

    def __new__(cls, steps: int, text: str) -> Self:
        """Make one of both."""
        made = super().__new__(cls, steps)
        made.text = text
        return made

    def __str__(self) -> str:
        return self.text

    def __getnewargs__(self) -> tuple[int, str]:  # type: ignore[override]  # int's own has one
        return int(self), self.text


def figure(value: float, digits: int = 3, width: int = 99) -> str:
    """Return `value` with that many significant digits, or fewer where `width` characters demand it.

    The zero before the point goes before any digit does: 0.644, and .644 in four characters. Powers of ten below
    1e-3 and from 1e4: 6.2e-4. Not finite: inf, -inf, nan.
    """
    if not math.isfinite(value):
        return str(value)
    plain = value == 0 or 1e-3 <= abs(value) < 1e4
    forms = (_fixed, _bare, _powered) if plain else (_powered, _fixed, _bare)
    for kept in range(digits, 0, -1):
        for form in forms:
            text = form(value, kept)
            if len(text) <= width:
                return text
    return _powered(value, 1)


def short(value: float, digits: int = 3, width: int = 99) -> str:
    """Like `figure`, without the zeros that say nothing: 0.5, 2e-5, 30."""
    text = _plain(figure(value, digits))
    return text if len(text) <= width else _plain(figure(value, digits, width))


def _plain(text: str) -> str:
    """A figure without the zeros at its end that say nothing."""
    mantissa, e, exponent = text.partition("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".") or "0"
    return mantissa + e + exponent


def rate(value: float) -> str:
    """Return a power of two as 1/256 or 4, anything else as `short` does."""
    if value > 0 and math.isfinite(value):
        mantissa, exponent = math.frexp(value)
        if mantissa == 0.5 and -19 <= exponent <= 14:
            return str(2 ** (exponent - 1)) if exponent > 0 else f"1/{2 ** (1 - exponent)}"
    return short(value)


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a configuration value can lie on a numeric axis."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def labels(values: Iterable[Scalar], *, fractions: bool = True, width: int = 99) -> dict[Scalar, str]:
    """Name each value of one axis. Powers of two are fractions where allowed and every value but 0 is one.

    Others have three digits, or as many as tell different values apart.
    """
    values = list(values)
    digits = _digits({float(v) for v in values if is_number(v) and not isinstance(v, int)}, width)
    numbers = {float(v) for v in values if is_number(v) and v != 0}
    binary = fractions and len(numbers) > 1 and all(v > 0 and math.frexp(v)[0] == 0.5 for v in numbers)
    named: dict[Scalar, str] = {}
    for value in values:
        if isinstance(value, Epochs):
            named[value] = str(value)
        elif not is_number(value):
            written = "null" if value is None else str(value)
            named[value] = written.lower() if isinstance(value, bool) else written
        elif binary:
            named[value] = rate(float(value))
        else:
            named[value] = str(value) if isinstance(value, int) else short(float(value), digits, width)
    return named


def _digits(values: set[float], width: int) -> int:
    most = min(17, max(3, width))  # more have no room
    known = (n for n in range(3, most + 1) if len({short(v, n, width) for v in values}) == len(values))
    return next(known, 3)


def duration(seconds: float) -> str:
    """Return a span of time in its two largest units: 3.2 s, 54 s, 2 min 10 s, 3 h 05 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE:02d} s"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE:02d} min"
    return f"{whole // DAY} d {whole % DAY // HOUR:02d} h"


def count(number: int, noun: str) -> str:
    """Return a number and its noun: 1 trial, 2,592 trials."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def size(number: int) -> str:
    """Return a number of bytes as people say it: 820 bytes, 14 MB."""
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:,.0f} {unit}"
        number = round(number / 1000)
    return f"{number:,} GB"


def as_good(near: int, others: int) -> str:
    """How many of the other usable cells are as good as the best one."""
    if others == 0:
        return "no other cell is usable"
    if near == 0 and others == 1:
        return "the other usable cell is not as good"
    if near == 0:
        return f"none of the {others:,} other usable cells is as good"
    verb = "is" if near == 1 else "are"
    return f"{near:,} of the {count(others, 'other usable cell')} {verb} as good, within the noise between seeds"


def leaf(key: str) -> str:
    """The last part of a key in the words of a sentence; of a parameter group, its name too: head.lr."""
    last = key.removeprefix("groups.") if key.startswith("groups.") else key.rpartition(".")[2]
    return last.replace("weight_decay", "weight decay")


SPOKEN = {"lr": "learning rate", "lr_x_wd": "lr·wd", "lr2_x_wd": "lr²·wd", "wd_over_lr": "wd/lr"}


def spoken(key: str) -> str:
    """A key as it stands in a sentence: learning rate for optimizer.lr, lr·wd for lr_x_wd."""
    last = leaf(key)
    return SPOKEN.get(last, last)


def brief(key: str) -> str:
    """The last part of a key as a heading: wd for weight decay."""
    return leaf(key).replace("weight decay", "wd")


def _fixed(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:.{places}f}"
    rounded = abs(float(text))
    if places and rounded and digits - 1 - math.floor(math.log10(rounded)) < places:  # 0.9996 became 1.000
        text = f"{value:.{places - 1}f}"
    return text


def _bare(value: float, digits: int) -> str:
    """As `_fixed`, without the zero before the point."""
    text = _fixed(value, digits)
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def _powered(value: float, digits: int) -> str:
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    return f"{mantissa}e{int(exponent)}"

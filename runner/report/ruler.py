"""One axis of a picture: where its values lie in pixels, logarithmic or linear, and which ticks it carries. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from thalweg.runner.base.canonical import Scalar
from thalweg.runner.show.numbers import Epochs, is_number, labels, short

STRIP = 16.0
"""Pixels that the value 0 takes on a logarithmic axis, beside the others."""
GAP = 5.0
FAR_BELOW = 4.0
"""The least value is a control if its gap to the next is this many times the widest of the others, in logarithms."""
WIDE_RANGE = 8.0
"""A ratio of largest to smallest value from which an axis of positive values is drawn logarithmically."""


class Ruler:
    """Maps the numbers of an axis to pixels from `start` to `end` (which may be the smaller).

    A logarithmic ruler keeps 0 in a strip of its own at the start: it is no limit of small values. So it keeps a
    control, the least value where it lies far below the others. Ticks are the axis' own values, or with `round_ticks`
    round ones. Shares that come ever closer to 1, as 0.9, 0.99 and 0.999 do, lie by the logarithm of what is left.

    aside: what stands in that strip; None where nothing does. names: of 0, 1, 2 and so on, in place of numbers.
    """

    def __init__(
        self,
        values: Iterable[float],
        start: float,
        end: float,
        *,
        pad: float = 0.5,
        round_ticks: bool = False,
        names: Sequence[str] = (),
    ) -> None:
        numbers = sorted(set(values))
        positive = [value for value in numbers if value > 0]
        self._own = [] if round_ticks else numbers
        self._names = names
        self.log = not names and len(positive) > 1 and numbers[0] >= 0 and positive[-1] / positive[0] >= WIDE_RANGE
        self.near_one = not self.log and not round_ticks and _near_one(numbers)
        self.aside = _aside(numbers) if self.log and (numbers[0] == 0 or not round_ticks) else None
        self._way = math.copysign(1.0, end - start)
        self.base = start
        self.zero = start + self._way * STRIP / 2
        self.start = start if self.aside is None else start + self._way * (STRIP + GAP)
        self.end = end
        scaled = [self._scaled(value) for value in numbers if value != self.aside] or [0.0]
        step = min((b - a for a, b in pairwise(scaled)), default=1.0) if pad else 0.0
        self.low, self.high = scaled[0] - step * pad, scaled[-1] + step * pad
        if self.high == self.low:
            self.low, self.high = self.low - 0.5, self.high + 0.5

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        if self.aside is not None and value <= self.aside:
            return self.zero
        return self.start + (self._scaled(value) - self.low) / (self.high - self.low) * (self.end - self.start)

    def spans(self, values: Iterable[float]) -> dict[float, tuple[float, float]]:
        """Return the pixels (from, to) of a cell at each value: halfway to its neighbours among `values`."""
        ordered = sorted(set(values))
        found = {}
        if self.aside is not None and ordered and ordered[0] == self.aside:
            found[ordered.pop(0)] = (self.zero - self._way * STRIP / 2, self.zero + self._way * STRIP / 2)
        places = [self.at(value) for value in ordered]
        if len(places) == 1:
            return found | {ordered[0]: (self.start, self.end)}
        for i, value in enumerate(ordered):
            before = places[i] - places[i - 1] if i else places[1] - places[0]
            after = places[i + 1] - places[i] if i + 1 < len(places) else before
            found[value] = (places[i] - before / 2, places[i] + after / 2)
        return found

    def ticks(self, most: int = 7, *, fractions: bool = True) -> list[tuple[float, str]]:
        """Return (pixel, label) of at most about `most` ticks: the axis' own values, or round ones where many."""
        if self._names:
            return [(self.at(float(i)), name) for i, name in enumerate(self._names)]
        ticks = self._ticks(most, fractions)
        if self.aside is None:
            return ticks
        return [(self.zero, labels(self._own or [0], fractions=fractions)[self.aside]), *ticks]

    def _ticks(self, most: int, fractions: bool) -> list[tuple[float, str]]:
        named = labels(self._own, fractions=fractions)
        binary = any("/" in label for label in named.values())
        own = [value for value in self._own if value != self.aside]
        if 0 < len(own) <= most or binary:
            stride = math.ceil(len(own) / most)
            return [(self.at(value), named[value]) for value in own[::stride]]
        return [(self.at(value), short(value)) for value in self._round(most)]

    def _scaled(self, value: float) -> float:
        if self.near_one:
            return -math.log10(1 - value)
        return math.log10(max(value, 1e-300)) if self.log else value

    def _round(self, most: int) -> list[float]:
        if self.near_one:
            return near_ones(1 - 10**-self.low, 1 - 10**-self.high)
        return decades(10**self.low, 10**self.high, most) if self.log else even(self.low, self.high, most)


def _near_one(values: Sequence[float]) -> bool:
    """Whether what sorted values leave of 1 spans a wide range."""
    return len(values) > 2 and values[0] > 0 and values[-1] < 1 and (1 - values[0]) / (1 - values[-1]) >= WIDE_RANGE


def _aside(values: Sequence[float]) -> float | None:
    """The 0 of sorted values, or a control far below the others."""
    if values[0] == 0:
        return values[0]
    gaps = [math.log(b / a) for a, b in pairwise(values)]
    return values[0] if len(gaps) > 2 and gaps[0] > FAR_BELOW * max(gaps[1:]) else None


def decades(low: float, high: float, most: int) -> list[float]:
    """Return powers of ten between two positive numbers; within one or two decades 1, 2 and 5 times those."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    stride = max(1, math.ceil((last - first + 1) / most))
    if last - first >= 2:
        return [10.0**k for k in range(first, last + 1, stride)]
    fine = [m * 10.0**k for k in range(first - 1, last + 1) for m in (1, 2, 5)]
    kept = [value for value in fine if low <= value <= high]
    return kept if len(kept) > 1 else even(low, high, 4)


def near_ones(low: float, high: float) -> list[float]:
    """Return round numbers between two that come ever closer to 1: 0.5, 0.8, 0.9, 0.95, 0.98, 0.99 and so on."""
    fine = [round(1 - m * 10.0**-k, k) for k in range(1, 13) for m in (5, 2, 1)]
    return [value for value in fine if low <= value <= high]


def even(low: float, high: float, most: int) -> list[float]:
    """Return evenly spaced round numbers between two."""
    rough = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    found = [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]
    digits = max(12, math.ceil(math.log10(max(map(abs, found), default=1.0) / step or 1.0)) + 1)  # that tell them apart
    return [float(f"{value:.{digits}g}") for value in found]


def numbers(values: Iterable[Scalar]) -> Sequence[float]:
    """Return the values that are numbers, as floats; epochs as they are, to be named so."""
    return [value if isinstance(value, Epochs) else float(value) for value in values if is_number(value)]

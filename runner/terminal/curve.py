"""The curves of a trial as pictures of characters: a point a column, the mean of its part of the training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.text import Text

from thalweg.runner.facts.observation import Series
from thalweg.runner.show.numbers import figure
from thalweg.runner.terminal.text import clean

HEIGHT, LABEL = 12, 10
"""Lines of a picture, and the characters of a number beside it."""
DECADES = 10.0
"""Values that span so many times their least are drawn by their logarithms."""


def show_curves(out: Console, series: Mapping[str, Series]) -> None:
    """Print each series as a picture; say so where there is none."""
    if not series:
        out.print(Text("no curve: nothing of it was measured yet"))
    for name, one in sorted(series.items()):
        for line in picture(name, one, out.width):
            out.print(line, no_wrap=True, overflow="ignore", crop=False)


def picture(name: str, series: Series, width: int) -> list[Text]:
    """The lines of a series' picture, none wider than `width`. What is not finite is drawn as × at the top."""
    steps, values = series.steps.tolist(), [float(value) for value in series.values]
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return [Text(clean(f"{name}: no finite value"), "bold")]
    low, high = min(finite), max(finite)
    log = low > 0 and high >= DECADES * low
    columns = _columns(steps, values, max(1, width - LABEL - 1))
    heights = [_height(value, low, high, log) for value in columns]
    scale = ", logarithmic" if log else ""
    lines = [Text(clean(f"{name}{scale}"), "bold")]
    for level in range(HEIGHT - 1, -1, -1):
        marks = "".join(_mark(height, level) for height in heights)
        lines.append(Text(f"{_label(level, low, high, log):>{LABEL}} {marks}".rstrip()))
    first, last = f"{steps[0]:,}", f"{steps[-1]:,}"
    ends = f"{first}{last:>{len(columns) - len(first)}}" if len(columns) > len(first + last) else f"{first} … {last}"
    return [*lines, Text(f"{'step':>{LABEL}} {ends}", "dim")]


def _columns(steps: Sequence[int], values: Sequence[float], most: int) -> list[float | None]:
    """The mean of the values in each column's part of the steps; None where there are none."""
    span = steps[-1] - steps[0] + 1
    wide = min(most, span)
    parts: list[list[float]] = [[] for _ in range(wide)]
    for step, value in zip(steps, values, strict=True):
        parts[(step - steps[0]) * wide // span].append(value)
    return [sum(value / len(part) for value in part) if part else None for part in parts]


def _height(value: float | None, low: float, high: float, log: bool) -> int | None:
    """The level that a value is drawn at; HEIGHT where it is not finite, None where there is none."""
    if value is None:
        return None
    if not math.isfinite(value):
        return HEIGHT
    at, bottom, top = (math.log(each) if log else each / 2 for each in (value, low, high))  # half, to stay finite
    return round((HEIGHT - 1) * ((at - bottom) / (top - bottom))) if top > bottom else 0


def _mark(height: int | None, level: int) -> str:
    if height == HEIGHT and level == HEIGHT - 1:
        return "×"
    return "•" if height == level else " "


def _label(level: int, low: float, high: float, log: bool) -> str:
    """The value of the top, the middle and the bottom line."""
    if level not in (0, HEIGHT // 2, HEIGHT - 1):
        return ""
    share = level / (HEIGHT - 1)
    if high == low:
        return figure(low, 3, LABEL) if level == 0 else ""
    value = math.exp((1 - share) * math.log(low) + share * math.log(high)) if log else (1 - share) * low + share * high
    return figure(value, 3, LABEL)

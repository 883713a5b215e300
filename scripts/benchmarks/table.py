"""What was measured, as Markdown. A document is made of sections, and a part measured alone replaces only its own."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import RTOL, Timing, ratios, spread

HEAD = """# Benchmarks

Made by `scripts/bench`. Every part runs its sides in turn in one go (ABBA) and gives medians (smallest–largest). A
round counts only if the sides see the same losses over the first steps (rtol {rtol:g}) and each has recorded what it
claims. Wall and user + sys are of whole process trees. How to run it: `scripts/bench all --write`, or one part of it.
"""
SIDES = "| side | wall, s | user + sys, s | time |\n|---|---|---|---|"


@dataclass(frozen=True)
class Figure:
    """A figure to reach: at least `least`, or at most `most`. `values` are one a round; none: not measured."""

    what: str
    goal: str
    values: Sequence[float]
    least: float | None = None
    most: float | None = None

    @property
    def row(self) -> str:
        """As a row of a table."""
        if not self.values:
            return f"| {self.what} | {self.goal} | not measured | |"
        middle = statistics.median(self.values)
        reached = (self.least is None or middle >= self.least) and (self.most is None or middle <= self.most)
        verdict = "" if self.least is self.most else "yes" if reached else "**no**"
        return f"| {self.what} | {self.goal} | {spread(self.values, 2)} | {verdict} |"


@dataclass(frozen=True)
class Section:
    """A part's figures to reach, its table, and what must be said beside them."""

    name: str
    title: str
    figures: Sequence[Figure]
    rows: Sequence[str]
    notes: Sequence[str] = field(default_factory=list)
    head: str = SIDES

    def text(self, measured_with: str) -> str:
        """As Markdown, between marks by which it is found again."""
        figures = "\n".join(figure.row for figure in self.figures)
        parts = [f"## {self.title}", measured_with]
        if self.figures:
            parts.append(f"| figure | goal | measured | reached |\n|---|---|---|---|\n{figures}")
        if self.rows:
            parts.append("\n".join([self.head, *self.rows]))
        body = "\n\n".join([*parts, *self.notes])
        return f"<!-- {self.name} -->\n{body}\n<!-- end of {self.name} -->\n"


def document(present: str, sections: Mapping[str, str], order: Sequence[str]) -> str:
    """The document with new sections in place of old ones of their name; others stay."""
    kept = {
        name: found.group() + "\n"
        for name in order
        if (found := re.search(rf"<!-- {name} -->.*?<!-- end of {name} -->", present, re.DOTALL))
    }
    texts = kept | dict(sections)
    return "\n".join([HEAD.format(rtol=RTOL), *(texts[name] for name in order if name in texts)])


def lines_of(taken: Mapping[str, Sequence[Timing]], names: Mapping[str, str], against: str | None) -> list[str]:
    """A row a side: wall, user + sys, and its time in units of the side `against`."""
    rows = []
    for side, timings in taken.items():
        wall, cpu = spread([t.wall for t in timings]), spread([t.cpu for t in timings])
        ratio = "" if against is None else "1" if side == against else spread(ratios(timings, taken[against]), 2, "×")
        rows.append(f"| {names[side]} | {wall} | {cpu} | {ratio} |")
    return rows


def refused(declare: Callable[[], object]) -> str | None:
    """The sentence with which words are refused, or None if they mean something."""
    from thalweg.runner.base.errors import ThalwegError

    try:
        declare()
    except ThalwegError as error:
        return error.message
    return None


def write(path: Path, sections: Mapping[str, str], order: Sequence[str]) -> None:
    """Put sections into the document at `path`."""
    present = path.read_text() if path.exists() else ""
    path.write_text(document(present, sections, order))
